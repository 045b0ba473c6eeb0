//! Running processes: deleted and replaced files, run-time code, namespaces, the vdso.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout};

use super::*;
use crate::target::{MappingKind, Process};

/// Prints what the program says and waits until its standard input closes.
const TALKER: &str = r#"
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>
__attribute__((noinline)) void *here(void) {
    return __builtin_return_address(0);
}
__attribute__((noinline)) void *caller(void) {
    void *address = here();
    __asm__ volatile("" ::: "memory");
    return address;
}
int main(void) {
    void *jit = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("%p %p %d\n", caller(), jit, (int)getpid());
    fflush(stdout);
    getchar();
    return 0;
}
"#;

/// A running program, ended on drop.
struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn new(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// The next line of numbers.
    fn numbers(&mut self) -> Vec<u64> {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let number = |word: &str| match word.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).unwrap(),
            None => word.parse().unwrap(),
        };
        line.split_whitespace().map(number).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The frame that the walk in the kernel would record for a process address.
fn frame(modules: &mut Modules, process: u32, address: u64) -> Frame {
    let scan = modules.scan(process).unwrap();
    let mapping = scan.mappings.iter().find(|mapping| (mapping.start..mapping.end).contains(&address));
    let mapping = mapping.unwrap_or_else(|| panic!("{address:#x} is not mapped"));
    match mapping.module {
        0 => Frame(address),
        module => Frame(u64::from(module) << 48 | address.wrapping_sub(mapping.bias)),
    }
}

fn talker(workshop: &Workshop, flags: &str) -> PathBuf {
    workshop.write("talker.c", TALKER);
    workshop.run(&format!("gcc {flags} talker.c -o talker"));
    workshop.path("talker")
}

#[test]
fn addresses_of_a_process_lead_to_lines_whatever_the_layout() {
    let workshop = Workshop::new();
    for flags in ["-O1 -g", "-O1 -g -no-pie", "-O1 -g -static", "-O1 -g -static-pie", "-O1 -g -Wl,-z,noseparate-code"] {
        let mut running = Running::new(&mut Command::new(talker(&workshop, flags)));
        let address = running.numbers()[0];
        let mut modules = Modules::new();
        let mut frames = Frames::default();
        // A return address; the call is before it.
        frames.location(1, frame(&mut modules, running.child.id(), address - 1));
        let named = symbolize(&frames, &modules, &HeldSources::default(), Settings::default());
        assert_eq!(named.lines(0), ["caller talker.c:10"], "{flags}");
    }
}

#[test]
fn a_deleted_executable_is_still_read() {
    let workshop = Workshop::new();
    let path = talker(&workshop, "-O1 -g");
    let mut running = Running::new(&mut Command::new(&path));
    let address = running.numbers()[0];
    let mut modules = Modules::new();
    fs::remove_file(&path).unwrap();
    // Another program takes the path.
    fs::write(&path, "not the one that runs").unwrap();
    let mut frames = Frames::default();
    frames.location(1, frame(&mut modules, running.child.id(), address - 1));
    drop(running);
    let named = symbolize(&frames, &modules, &HeldSources::default(), Settings::default());
    assert_eq!(named.lines(0), ["caller talker.c:10"]);
    assert_eq!(named.modules[0].path, path.to_str().unwrap());
}

#[test]
fn the_vdso_has_names() {
    let workshop = Workshop::new();
    let mut running = Running::new(&mut Command::new(talker(&workshop, "-O1")));
    running.numbers();
    let mut modules = Modules::new();
    let scan = modules.scan(running.child.id()).unwrap();
    let vdso = scan.mappings.iter().find(|mapping| mapping.kind == MappingKind::Vdso).unwrap();
    let mut bytes = vec![0; (vdso.end - vdso.start) as usize];
    let memory = fs::File::open(format!("/proc/{}/mem", running.child.id())).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&memory, &mut bytes, vdso.start).unwrap();
    fs::write(workshop.path("vdso.so"), bytes).unwrap();
    let table = workshop.run("nm -D --print-size vdso.so");
    let line = table.lines().find(|line| line.contains("__vdso_clock_gettime")).unwrap();
    let address = u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap();
    let mut frames = Frames::default();
    frames.location(1, Frame(u64::from(vdso.module) << 48 | address));
    let named = symbolize(&frames, &modules, &HeldSources::default(), Settings::default());
    // The function has a weak alias.
    assert_eq!(named.names(0), ["clock_gettime"]);
    assert_eq!(named.modules[0].path, "[vdso]");
}

#[test]
fn run_time_code_is_named_by_the_programs_perf_map() {
    let workshop = Workshop::new();
    let mut running = Running::new(&mut Command::new(talker(&workshop, "-O1")));
    let jit = running.numbers()[1];
    let pid = running.child.id();
    let mut modules = Modules::new();
    let mut sources = HeldSources::default();
    sources.scanned(pid, &modules.scan(pid).unwrap());
    let mut frames = Frames::default();
    for offset in [0, 0x10, 0x20] {
        frames.location(pid, frame(&mut modules, pid, jit + offset));
    }
    let named = symbolize(&frames, &modules, &sources, Settings::default());
    assert_eq!(named.names(0), [format!("[jit]+{jit:#x}")]);
    assert_eq!(named.run_time_code[0].reason, Some(Unresolved::PerfMap(PerfMapProblem::Absent)));

    let map = PathBuf::from(format!("/tmp/perf-{pid}.map"));
    fs::write(&map, format!("{jit:x} 10 LazyCompile:*tick /game.js:3\ngarbage\n{:x} 10 other\n", jit + 0x10)).unwrap();
    drop(running);
    let named = symbolize(&frames, &modules, &sources, Settings::default());
    fs::remove_file(map).unwrap();
    assert_eq!(named.names(0), ["LazyCompile:*tick /game.js:3"]);
    assert_eq!(named.names(1), ["other"]);
    assert_eq!(named.names(2), [format!("[jit]+{:#x}", jit + 0x20)]);
    let report = &named.run_time_code[0];
    assert_eq!((report.unresolved, report.malformed_lines), (1, 1));
    assert_eq!(report.reason, Some(Unresolved::NotInPerfMap));
    assert_eq!(named.locations[0].module, None);
}

#[test]
fn a_container_is_read_through_its_own_namespaces() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: mount and pid namespaces need root");
        return;
    }
    let workshop = Workshop::new();
    let program = talker(&workshop, "-O1 -g");
    workshop.run("objcopy --only-keep-debug talker talker.debug");
    workshop.run("objcopy --strip-all --add-gnu-debuglink=talker.debug talker");
    // In there, and only in there, /tmp is another one and holds the program, its debug file and its perf map.
    let script = format!(
        "set -e
         mount -t tmpfs none /mnt
         cp {} {} /mnt/
         mount --move /mnt /tmp
         cd /tmp
         exec ./talker",
        program.display(),
        workshop.path("talker.debug").display(),
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script]);
    let mut running = Running::new(&mut command);
    let [address, jit, namespace_pid] = running.numbers()[..] else { panic!("the container did not start") };
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.child.id())).unwrap();
    let pid: u32 = children.trim().parse().unwrap();

    let process = Process::open(pid).unwrap();
    assert_eq!(
        (u64::from(process.namespace_pid), process.executable.as_path()),
        (namespace_pid, Path::new("/tmp/talker"))
    );
    assert_ne!(process.mount_namespace, Process::open(std::process::id()).unwrap().mount_namespace);
    fs::write(format!("/proc/{pid}/root/tmp/perf-{namespace_pid}.map"), format!("{jit:x} 10 inside\n")).unwrap();

    let mut modules = Modules::new();
    let mut sources = HeldSources::default();
    sources.scanned(pid, &modules.scan(pid).unwrap());
    let mut frames = Frames::default();
    frames.location(pid, frame(&mut modules, pid, address - 1));
    frames.location(pid, frame(&mut modules, pid, jit));
    let named = symbolize(&frames, &modules, &sources, Settings::default());
    assert_eq!(named.lines(0), ["caller talker.c:10"]);
    assert_eq!(named.names(1), ["inside"]);
    assert_eq!(named.module_reports[0].debug_file.as_deref(), Some(Path::new("/tmp/talker.debug")));

    // The perf map outlives the process and its namespaces.
    drop(running);
    while !process.has_ended() {
        std::thread::yield_now();
    }
    assert_eq!(symbolize(&frames, &modules, &sources, Settings::default()).names(1), ["inside"]);
}
