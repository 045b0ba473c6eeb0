//! Kernels that lack something, as far as one that has it can be made to look like them: system calls are refused by a filter, and
//! files hidden in a mount namespace. The command `tracer` ends with 1 and one line that names the cause.

use std::{
    ffi::{CString, c_ulong},
    fs, io,
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
    ptr,
};

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, sock_filter,
};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    ending::Run,
    programs::{Build, Compiler, Program},
    recording::alone,
};

/// `BPF_LINK_CREATE` (include/uapi/linux/bpf.h).
const LINK_CREATE: u32 = 28;
const UPROBES: &str = "/sys/bus/event_source/devices/uprobe";
const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// What a kernel is made to lack.
#[derive(Default)]
struct Without {
    filter: Vec<sock_filter>,
    mounts: Vec<Mount>,
}

struct Mount {
    source: CString,
    target: CString,
    /// A file system to mount; `None` = the source itself is shown there.
    new: Option<(CString, CString)>,
}

fn text(text: impl AsRef<Path>) -> CString {
    CString::new(text.as_ref().as_os_str().as_bytes()).unwrap()
}

/// An instruction of a filter: what to do, where to go on if so and if not, and its operand.
fn instruction(code: u32, so: u8, not: u8, operand: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: so, jf: not, k: operand }
}

impl Without {
    /// Refuses a system call, or only those with this first argument.
    fn call(mut self, number: libc::c_long, first: Option<u32>, error: i32) -> Self {
        // Offsets in `struct seccomp_data` (include/uapi/linux/seccomp.h).
        const NUMBER: u32 = 0;
        const FIRST: u32 = 16;
        let load = |offset| instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset);
        let unless = |value, skip| instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, skip, value);
        let refuse = instruction(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | error as u32);
        let number = number as u32;
        match first {
            None => self.filter.extend([load(NUMBER), unless(number, 1), refuse]),
            Some(first) => {
                self.filter.extend([load(NUMBER), unless(number, 3), load(FIRST), unless(first, 1), refuse]);
            }
        }
        self
    }

    /// Shows a file or folder in the place of another.
    fn file(mut self, place: &str, shown: impl AsRef<Path>) -> Self {
        self.mounts.push(Mount { source: text(shown), target: text(place), new: None });
        self
    }

    /// Mounts an empty file system of this size.
    fn room(mut self, place: impl AsRef<Path>, bytes: u32) -> Self {
        let new = Some((text("tmpfs"), text(format!("size={bytes}"))));
        self.mounts.push(Mount { source: text("tmpfs"), target: text(place), new });
        self
    }

    /// Takes all that from a command.
    fn apply(mut self, command: &mut Command) {
        self.filter.push(instruction(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW));
        // SAFETY: between fork and exec nothing but system calls is made, on memory that was there before.
        unsafe { command.pre_exec(move || self.enter()) };
    }

    fn enter(&self) -> io::Result<()> {
        let done = |result| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        // SAFETY: no memory is passed.
        done(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
        mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE, None)?;
        for Mount { source, target, new } in &self.mounts {
            let kind = new.as_ref().map(|(kind, _)| kind.as_c_str());
            let options = new.as_ref().map(|(_, options)| options.as_c_str());
            mount(Some(source), target, kind, if new.is_some() { 0 } else { libc::MS_BIND }, options)?;
        }
        let program = libc::sock_fprog { len: self.filter.len() as u16, filter: self.filter.as_ptr().cast_mut() };
        // SAFETY: a filter of as many instructions as it says, which the kernel copies.
        done(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) })
    }
}

fn mount(
    source: Option<&std::ffi::CStr>,
    target: &std::ffi::CStr,
    kind: Option<&std::ffi::CStr>,
    flags: c_ulong,
    options: Option<&std::ffi::CStr>,
) -> io::Result<()> {
    let pointer = |text: Option<&std::ffi::CStr>| text.map_or(ptr::null(), std::ffi::CStr::as_ptr);
    // SAFETY: strings that end, or none where the kernel looks at none.
    match unsafe { libc::mount(pointer(source), target.as_ptr(), pointer(kind), flags, pointer(options).cast()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Runs tracer where something is missing: exit code, stdout and stderr.
fn tracer(arguments: &[&str], without: Without) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command.current_dir(&folder).args(arguments).stdin(Stdio::null());
    without.apply(&mut command);
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Every kind of recording is refused with one line that begins so, and the doctor says the same.
fn assert_refused(program: &Program, verbs: &[&str], reason: &str, without: impl Fn() -> Without) {
    let pid = program.pid().to_string();
    for verb in verbs {
        let verb: Vec<&str> = verb.split(' ').collect();
        let target = if verb.contains(&"--") { &[][..] } else { &["--pid", &pid][..] };
        let (code, _, said) = tracer(&[&verb[..], target].concat(), without());
        assert_eq!(code, Some(1), "{verb:?}: {said}");
        let said = said.strip_suffix('\n').unwrap();
        let refusal = format!("tracer: it cannot be recorded here without {reason}");
        assert!(said.starts_with(&refusal) && !said.contains('\n'), "{verb:?}: {said}");
    }
    let (code, found, said) = tracer(&["doctor"], without());
    assert_eq!(code, Some(1), "{found}{said}");
    assert!(found.contains(&format!("PROBLEM: {reason}")), "{found}{said}");
}

fn program() -> Program {
    let build = Build::new(Compiler::Gcc, "allocate.c", &["-O2"]);
    Program::start(&build.compile(), &["1", "2", "1"], None)
}

/// One that is not refused comes to an end too, and the test with it.
const ALLOCATIONS: &str = "record --duration 1s";
const A_PROGRAM: &str = "record --duration 1s -- true";
const EVERYTHING: &[&str] = &[
    ALLOCATIONS,
    "record --duration 1s --live",
    "cpu --duration 1s",
    "record --duration 1s --event page-faults",
    A_PROGRAM,
];

#[test]
fn a_kernel_without_bpf() {
    let Some(_guard) = alone() else { return };
    let reason = "BPF programs: this kernel has no BPF (CONFIG_BPF_SYSCALL)";
    assert_refused(&program(), EVERYTHING, reason, || Without::default().call(libc::SYS_bpf, None, libc::ENOSYS));
}

#[test]
fn a_kernel_without_uprobes() {
    let Some(_guard) = alone() else { return };
    let empty = tempfile::tempdir().unwrap();
    let without = || {
        let without = Without::default().file(UPROBES, &empty);
        without.call(libc::SYS_bpf, Some(LINK_CREATE), libc::EINVAL)
    };
    assert_refused(&program(), &[ALLOCATIONS, A_PROGRAM], "uprobes by perf event: ", without);
}

/// Lockdown lets nobody into tracefs (EPERM) and leaves it empty where it was there from the begin.
#[test]
fn a_kernel_that_is_locked_down() {
    let Some(_guard) = alone() else { return };
    let security = TempDir::new().unwrap();
    fs::write(security.path().join("lockdown"), "none integrity [confidentiality]\n").unwrap();
    let reason = "a kernel that is not locked down: it is locked down for confidentiality";
    for error in [libc::EPERM, libc::ENODEV] {
        let without = || {
            let without = Without::default().file("/sys/kernel/security", &security);
            without.call(libc::SYS_fsopen, None, error)
        };
        assert_refused(&program(), EVERYTHING, reason, without);
    }
}

#[test]
fn a_kernel_without_tracefs() {
    let Some(_guard) = alone() else { return };
    let reason = "tracepoints, to follow mappings and processes: tracefs cannot be opened";
    assert_refused(&program(), EVERYTHING, reason, || Without::default().call(libc::SYS_fsopen, None, libc::ENODEV));
}

/// What is in that file alone, for the kernel itself still knows its types: allocations and CPU time are recorded without.
#[test]
fn a_kernel_that_does_not_show_its_types() {
    let Some(_guard) = alone() else { return };
    let without = || Without::default().file(TYPES, "/dev/null");
    let (_, found, said) = tracer(&["doctor"], without());
    assert!(
        found.contains("note: kernel type information") && found.contains("CONFIG_DEBUG_INFO_BTF"),
        "{found}{said}"
    );

    let (code, _, said) =
        tracer(&["record", "--event", "brk", "--duration", "1s", "--pid", &program().pid().to_string()], without());
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.starts_with("tracer: --event brk needs the kernel's type information") && said.lines().count() == 1,
        "{said}"
    );

    let mut program = program();
    let mut run = Run::start_with(program.pid(), "--interval 1 -o x.folded", |command| without().apply(command));
    program.go();
    program.line();
    run.signal(Signal::INT);
    let (code, said) = run.wait();
    program.finish();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("lost      nothing\n") && said.contains("stacks    100 % complete"), "{said}");
    assert!(fs::read_to_string(run.path("x.folded")).unwrap().contains(";one_round;"));

    let mut busy = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    let (code, _, said) =
        tracer(&["cpu", "--pid", &busy.id().to_string(), "--duration", "1s", "-o", "x.folded"], without());
    busy.kill().unwrap();
    busy.wait().unwrap();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("on CPU") && said.contains("lost      nothing\n"), "{said}");
}

/// The recording is written first, and stays, where there is no room for a picture.
#[test]
fn a_disk_without_room_for_the_picture() {
    let Some(_guard) = alone() else { return };
    let small = tempfile::tempdir().unwrap();
    let picture = small.path().join("x.svg");
    let mut program = program();
    let arguments = format!("--interval 1 -o {} -o x.pb.gz", picture.display());
    let room = Without::default().room(&small, 4096);
    let mut run = Run::start_with(program.pid(), &arguments, |command| room.apply(command));
    program.go();
    program.line();
    run.signal(Signal::INT);
    let (code, said) = run.wait();
    program.finish();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.ends_with(&format!(
            "wrote x.pb.gz\ntracer: {}: it cannot be written: No space left on device (os error 28)\n",
            picture.display()
        )),
        "{said}"
    );
    let file = fs::File::open(run.path("x.pb.gz")).unwrap();
    let recording = tracer::recording::pprof::read(file, &tracer::recording::pprof::Limits::default()).unwrap();
    assert!(!recording.samples.is_empty());
}
