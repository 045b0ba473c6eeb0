//! What tracer says when it cannot do what it was asked for: the cause, what to type instead, and the exit code.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;

const NOBODY: u32 = 65534;

fn tracer(folder: &TempDir, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command.current_dir(folder).env_remove("SUDO_UID").env_remove("SUDO_GID").args(arguments.split_whitespace());
    command
}

/// Runs tracer and gives its exit code and what it says.
fn run(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    assert!(stdout.is_empty(), "stdout is for data: {}", String::from_utf8_lossy(&stdout));
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Whether tests that need root can run; says so where they cannot.
fn is_root(test: &str) -> bool {
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        eprintln!("skipped: {test} needs root");
    }
    root
}

/// A child that is ended with the test.
struct Target(Child);

impl Target {
    fn start(program: impl AsRef<Path>, arguments: &[&str]) -> Self {
        Self(Command::new(program.as_ref()).args(arguments).stdout(Stdio::null()).spawn().unwrap())
    }

    /// Ready when this returns: its loader is done.
    fn sleeping() -> Self {
        let target = Self::start("sleep", &["60"]);
        let state = || fs::read_to_string(format!("/proc/{}/stat", target.pid())).unwrap_or_default();
        let maps = || fs::read_to_string(format!("/proc/{}/maps", target.pid())).unwrap_or_default();
        while !(state().contains(") S ") && maps().contains("libc")) {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        target
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A copy of tracer that any user may run.
fn tracer_for_all(folder: &TempDir) -> PathBuf {
    let copy = folder.path().join("tracer");
    fs::set_permissions(folder, Permissions::from_mode(0o777)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_tracer"), &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    copy
}

#[test]
fn without_root_it_says_what_to_type() {
    let (folder, target) = (folder(), Target::sleeping());
    let copy = tracer_for_all(&folder);
    let (path, pid) = (copy.to_str().unwrap(), target.pid().to_string());
    for (arguments, typed) in [
        (&["--pid", &pid][..], format!("--pid {pid}")),
        (&["cpu", "--pid", &pid, "-F", "49", "-o", "a b.svg"], format!("cpu --pid {pid} -F 49 -o 'a b.svg'")),
        (&["--children", "--", "sh", "-c", "ls; ls"], "--children -- sh -c 'ls; ls'".to_owned()),
    ] {
        let mut command = Command::new(&copy);
        command.current_dir(&folder).args(arguments);
        if is_root("dropping privileges") {
            command.uid(NOBODY).gid(NOBODY);
        }
        let (code, said) = run(command);
        assert_eq!(code, Some(1), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("CAP_SYS_PTRACE and CAP_SYS_ADMIN"), "{said}");
        assert!(said.ends_with(&format!(": run `sudo {path} {typed}`\n")), "{said}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "it left a file");
}

#[test]
fn a_process_id_that_does_not_exist_is_named() {
    let mut ended = Target::sleeping();
    ended.0.kill().unwrap();
    ended.0.wait().unwrap();
    let (code, said) = run(tracer(&folder(), &format!("--pid {}", ended.pid())));
    assert_eq!(code, Some(1));
    assert_eq!(said, format!("tracer: no process has the id {}; `ps -e` lists those that run\n", ended.pid()));
}

#[test]
fn a_name_that_nobody_has_is_answered_with_those_that_run() {
    if !is_root("tracing") {
        return;
    }
    let _target = Target::sleeping();
    let (code, said) = run(tracer(&folder(), "--comm slee"));
    assert_eq!(code, Some(1));
    assert!(said.starts_with("tracer: no process is called slee; there are "), "{said}");
    assert!(said.contains("sleep"), "{said}");
}

#[test]
fn stdout_is_not_shared_with_a_started_program() {
    let (code, said) = run(tracer(&folder(), "-o - -- true"));
    assert_eq!(code, Some(2));
    assert!(said.contains("`-o -` would mix with what the program writes to stdout; name a file"), "{said}");
}

#[test]
fn a_thread_id_leads_to_its_process() {
    let (send, receive) = std::sync::mpsc::channel();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        send.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
        let _ = stopped.recv();
    });
    let (tid, own) = (receive.recv().unwrap(), std::process::id());
    let (code, said) = run(tracer(&folder(), &format!("--pid {tid}")));
    drop(stop);
    thread.join().unwrap();
    assert_eq!(code, Some(1));
    assert_eq!(said, format!("tracer: {tid} is a thread of process {own}; use --pid {own}\n"));
}

#[test]
fn a_kernel_thread_has_nothing_to_trace() {
    if fs::read("/proc/2/comm").ok().as_deref() != Some(b"kthreadd\n") {
        eprintln!("skipped: this pid namespace shows no kernel threads");
        return;
    }
    let (code, said) = run(tracer(&folder(), "--pid 2"));
    assert_eq!(code, Some(1));
    assert_eq!(said, "tracer: 2 (kthreadd) is a kernel thread: it has no user-space allocator\n");
}

#[test]
fn a_program_without_names_is_told_what_was_looked_for() {
    if !is_root("reading the target") {
        return;
    }
    let folder = folder();
    let program = folder.path().join("nameless");
    fs::write(folder.path().join("a.c"), "#include <unistd.h>\nint main(void) { pause(); return 0; }").unwrap();
    let made = Command::new("gcc").args(["-static", "-s", "a.c", "-o", "nameless"]).current_dir(&folder).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("skipped: gcc makes no static programs here");
        return;
    }
    let target = Target::start(&program, &[]);
    let (code, said) = run(tracer(&folder, &format!("--pid {}", target.pid())));
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "no allocator found",
        "nameless is stripped",
        "looked for",
        "glibc",
        "jemalloc",
        "debug file",
        "--symbol my_alloc",
        "--offset nameless+0x4011d6",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(said.lines().count(), 1, "{said}");
    // What it offers can be typed; this program has nothing of that kind, and tracer says so. e_entry is at byte 24.
    let entry = fs::read(&program).unwrap()[24..32].iter().rev().fold(0, |entry, byte| entry << 8 | u64::from(*byte));
    let inside = format!("--offset nameless+{:#x}", entry + 1);
    let begin = format!("this address is inside a function; its first instruction is at {entry:#x}");
    for (offered, answer) in [
        ("--symbol my_alloc", "my_alloc: no function has this name"),
        (&inside, &begin),
        ("--offset nameles+0x4011d6", "the process maps no file of this name; it maps nameless"),
        ("--offset nameless+0x11", "there is no code at this address; the code of this file is at 0x"),
    ] {
        for command in [format!("--pid {} {offered}", target.pid()), format!("doctor --pid {} {offered}", target.pid())]
        {
            let output = tracer(&folder, &command).output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert_eq!(output.status.code(), Some(1), "{command}: {said}");
            assert!(said.contains(answer), "{command}: {said}");
        }
    }
}

#[test]
fn outputs_that_cannot_be_written_are_refused_before_recording() {
    if !is_root("attaching") {
        return;
    }
    let (folder, target) = (folder(), Target::sleeping());
    fs::write(folder.path().join("there.svg"), "mine").unwrap();
    for (output, message) in [
        ("there.svg", "tracer: there.svg: it exists; --force replaces it\n"),
        ("no/x.svg", "tracer: no/x.svg: there is no folder no; create it first\n"),
    ] {
        let (code, said) = run(tracer(&folder, &format!("--pid {} -o {output}", target.pid())));
        assert_eq!((code, said.as_str()), (Some(1), message));
    }
    assert_eq!(fs::read(folder.path().join("there.svg")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "it left a file");
}

/// For root every folder is writable, but those of /proc and of file systems that are mounted read-only.
#[test]
fn a_folder_without_permission_is_named() {
    let folder = folder();
    let copy = tracer_for_all(&folder);
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o555)).unwrap();
    fs::write(folder.path().join("x.pb.gz"), "").unwrap();
    let mut command = Command::new(copy);
    command.current_dir(&folder).args(["render", "x.pb.gz", "-o", "closed/x.svg"]);
    if is_root("dropping privileges") {
        command.uid(NOBODY).gid(NOBODY);
    }
    let (code, said) = run(command);
    assert_eq!(code, Some(1));
    assert_eq!(said, "tracer: closed/x.svg: no permission to write to the folder closed; name a file elsewhere\n");
}

#[test]
fn wrong_usage_says_what_would_be_right() {
    for (arguments, message) in [
        ("--pid 1 -o x.png", "outputs end in .svg, .pb.gz, .folded or .json"),
        ("--pid 1 -o .", "outputs end in .svg, .pb.gz, .folded or .json"),
        ("--pid 1 --interval often", "an interval is auto, or a size from 1 to 4GiB such as 64KiB or 512KiB"),
        ("--pid 1 --interval 0", "an interval is auto, or a size from 1 to 4GiB such as 64KiB or 512KiB"),
        ("--pid 1 --duration 30", "a time is a number and a unit, such as 500ms, 30s or 2m"),
        ("--pid 1 --duration 0s", "a time is a number and a unit, such as 500ms, 30s or 2m"),
        ("--pid 1 --ring-buffer 5MiB", "a power of two from 4KiB to 1GiB"),
        ("--pid 1 --unwind-memory 1KiB", "a size from 1MiB to 256MiB"),
        ("--pid 1 --max-depth 0", "a number from 1 to 1024"),
        ("--pid 1 --max-depth deep", "a number from 1 to 1024"),
        ("--pid 1 --max-samples 7", "a number from 1024 to 67108864"),
        ("--pid 1 --live --live-blocks many", "a number from 1024 to 4194304"),
        ("--pid name", "a process id is a number, such as 1234"),
        ("cpu --pid name", "a process id is a number, such as 1234"),
        ("cpu --pid 1 -F often", "a number from 1 to 10000"),
        ("doctor --pid name", "a process id is a number, such as 1234"),
        ("--pid 1 -o x.speedscope.json", "files that end in .speedscope.json are another program's"),
        ("render x.pb.gz -o x.dhat.json", "files that end in .dhat.json are another program's"),
        ("--duration 30s", "<--pid <PID>|--comm <NAME>|COMMAND>"),
        ("--pid 1 --comm x", "cannot be used with"),
        ("--pid 1 -- ls", "cannot be used with"),
        ("--pid 1 --intervall 1KiB", "'--interval'"),
        ("--pid 1 --symbol f:4", "an argument, counted from 0 (`:0` to `:3`)"),
        ("--pid 1 --offset 0x4011d6", "such as server+0x4011d6"),
        ("--pid 1 --layer stack", "[possible values: heap, objects, mappings]"),
        ("--pid 1 --split file", "[possible values: process, thread]"),
    ] {
        let (code, said) = run(tracer(&folder(), arguments));
        assert_eq!(code, Some(2), "{arguments}: {said}");
        assert!(said.contains(message), "{arguments}: {said}");
    }
}

#[test]
fn help_is_on_stdout_and_names_every_option() {
    let help = |arguments: &str| {
        let output = tracer(&folder(), arguments).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments}");
        String::from_utf8(output.stdout).unwrap()
    };
    for verb in ["record", "render"] {
        assert!(help("--help").contains(verb), "{verb}");
    }
    let record = help("record --help");
    for option in [
        "--pid",
        "--comm",
        "COMMAND",
        "--children",
        "--layer",
        "--symbol",
        "--offset",
        "--split",
        "--duration",
        "--interval",
        "--output",
        "--force",
        "--quiet",
        "--max-depth",
        "--unwind-memory",
        "--ring-buffer",
    ] {
        assert!(record.contains(option), "{option}");
    }
    // Without a verb it is the same help: `tracer --pid` is `tracer record --pid`.
    assert_eq!(help("--pid 1 --help"), record);
    for option in ["--output", "--force", "<RECORDING>"] {
        assert!(help("render --help").contains(option), "{option}");
    }
}

/// SIGKILL cannot be caught: whatever is not in the folder yet stays out of it.
#[test]
fn sigkill_leaves_no_file_behind() {
    if !is_root("attaching") {
        return;
    }
    let (folder, target) = (folder(), Target::sleeping());
    let mut recording = tracer(&folder, &format!("--quiet --pid {} -o x.svg", target.pid()));
    let mut recording = Target(recording.stderr(Stdio::null()).spawn().unwrap());
    let has_outputs = |pid: u32| {
        let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        let own = folder.path().to_string_lossy().into_owned();
        open.flatten().filter_map(|fd| fs::read_link(fd.path()).ok()).any(|path| path.to_string_lossy().contains(&own))
    };
    for _ in 0..1000 {
        if has_outputs(recording.pid()) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(has_outputs(recording.pid()), "it did not get as far as opening its outputs");
    recording.0.kill().unwrap();
    recording.0.wait().unwrap();
    let left: Vec<_> = fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn doctor_looks_at_a_process_and_at_the_kernel() {
    let target = Target::sleeping();
    let output = tracer(&folder(), &format!("doctor --pid {} --json", target.pid())).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let check = |id: &str| {
        let checks = report["kernel"]["checks"].as_array().unwrap();
        checks.iter().find(|check| check["id"] == id).unwrap()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(report["process"]["pid"], target.pid());
    let probed = report["process"]["allocators"]["probed"].as_array().unwrap();
    assert!(probed.iter().any(|function| function["function"] == "malloc"), "{probed:?}");
    if is_root("loading BPF programs") {
        assert_eq!(output.status.code(), Some(0), "{said}");
        for id in ["capabilities", "bpf", "ring-buffer", "bpf-loop", "tracepoints", "programs", "uprobe-perf-event"] {
            assert_eq!(check(id), "works", "{id}");
        }
    }
}

#[test]
fn doctor_without_root_says_what_it_could_not_look_at() {
    let folder = folder();
    let mut command = Command::new(tracer_for_all(&folder));
    command.arg("doctor");
    if is_root("dropping privileges") {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("PROBLEM: CAP_SYS_ADMIN and CAP_SYS_PTRACE"), "{text}");
    assert!(text.contains("not known: ") && text.contains("run it with sudo"), "{text}");
}
