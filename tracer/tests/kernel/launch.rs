//! Programs that tracer starts, and several processes at once: exact counts, from the first allocation to the last.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use tracer::{
    record::{interval::IntervalSetting, request::Request, session::Session},
    recording::about::Ended,
    target::Process,
};

/// Allocates before `main`, in it, and ends without a moment's rest. With an argument it first waits for a byte on stdin; with
/// two it also says that it got so far.
const PROGRAM: &str = r#"
#include <stdlib.h>
#include <unistd.h>
static void *volatile sink;
__attribute__((constructor)) static void before_main(void) { sink = malloc(777777); }
int main(int count, char **words) {
    char byte;
    if (count > 1 && read(0, &byte, 1) != 1) return 1;
    for (int i = 0; i < 1000; i++) sink = malloc(20000);
    for (int i = 0; i < 10; i++) sink = calloc(3, 100000);
    if (count > 2 && write(1, "went on\n", 8) != 8) return 1;
    _exit(7);
}
"#;

/// Size classes of 777777, 20000 and 300000 bytes, and what a run of the program asks of them: calls and bytes. Shells and
/// the C library's start ask for less.
const TRUTH: [(u64, u64, u64); 3] = [(20, 1, 777_777), (15, 1000, 20_000_000), (19, 10, 3_000_000)];

fn compile(folder: &Path, name: &str, options: &[&str]) -> Option<PathBuf> {
    let source = folder.join("program.c");
    fs::write(&source, PROGRAM).unwrap();
    let made = Command::new("gcc").args(options).arg(&source).arg("-o").arg(folder.join(name)).output().ok()?;
    if !made.status.success() {
        eprintln!("skipped: gcc {options:?}: {}", String::from_utf8_lossy(&made.stderr));
        return None;
    }
    Some(folder.join(name))
}

fn tracer(folder: &TempDir, arguments: &[&str], command: &[&str]) -> Command {
    let mut tracer = Command::new(env!("CARGO_BIN_EXE_tracer"));
    tracer.current_dir(folder).env_remove("SUDO_UID").env_remove("SUDO_GID").env_remove("SUDO_USER");
    tracer.args(arguments).arg("--").args(command);
    tracer
}

/// Traces a command and gives what the recording says about itself.
fn trace(folder: &TempDir, command: &[&str]) -> Value {
    let output = tracer(folder, &["--interval", "1", "-o", "x.json", "--force"], command).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&fs::read(folder.path().join("x.json")).unwrap()).unwrap();
    json["about"].clone()
}

/// Calls and bytes of a size class, over all functions.
fn counted(about: &Value, class: u64) -> (u64, u64) {
    let classes =
        about["counters"].as_array().unwrap().iter().flat_map(|counter| counter["classes"].as_array().unwrap());
    classes
        .filter(|entry| entry["class"] == class)
        .map(|entry| (entry["calls"].as_u64().unwrap(), entry["bytes"].as_u64().unwrap()))
        .fold((0, 0), |(calls, bytes), (c, b)| (calls + c, bytes + b))
}

fn assert_exact(about: &Value) {
    for (class, calls, bytes) in TRUTH {
        assert_eq!(counted(about, class), (calls, bytes), "class {class}: {about}");
    }
    let losses = about["losses"].as_object().unwrap();
    assert!(losses.values().all(|lost| lost == 0), "{losses:?}");
    assert_eq!(about["ended"], "target-exited");
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} did not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_dynamic_program_is_counted_from_its_first_allocation_to_its_last() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = compile(folder.path(), "dynamic", &[]) else { return };
    for _ in 0..5 {
        let about = trace(&folder, &[program.to_str().unwrap()]);
        assert_exact(&about);
        assert_eq!(about["process"]["name"], "dynamic");
        let calls: u64 = (0..64).map(|class| counted(&about, class).0).sum();
        assert_eq!(calls, 1011, "nothing but the program's own calls: {about}");
    }
}

#[test]
fn so_is_a_static_one() {
    let folder = tempfile::tempdir().unwrap();
    for (name, options) in [("static", &["-static"][..]), ("static-pie", &["-static-pie"])] {
        let Some(program) = compile(folder.path(), name, options) else { continue };
        assert_exact(&trace(&folder, &[program.to_str().unwrap()]));
    }
}

#[test]
fn a_program_behind_others_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = compile(folder.path(), "inner", &[]) else { return };
    let program = program.to_str().unwrap();
    let script = format!("exec env X=1 {program}");
    for command in [&["env", "X=1", program][..], &["sh", "-c", &script]] {
        let about = trace(&folder, command);
        assert_exact(&about);
        assert_eq!(about["process"]["name"], "inner");
    }
}

#[test]
fn streams_and_exit_codes_keep_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tracer(&folder, &["--quiet", "-o", "x.folded"], &["sh", "-c", "cat; echo said >&2; exit 9"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"through").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "tracer did what it was asked for");
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"through"[..], &b"said\n"[..]));
}

#[test]
fn with_sudo_the_program_is_not_root() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tracer(&folder, &["-o", "x.folded"], &["sh", "-c", "id -u; id -G"]);
    let output = command.env("SUDO_UID", "1234").env("SUDO_GID", "1235").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1234\n1235\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("sh runs as user 1234, who called sudo"));
    assert_eq!(fs::metadata(folder.path().join("x.folded")).unwrap().uid(), 1234);
}

#[test]
fn a_program_that_cannot_be_traced_does_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let source = r#"
        #include <fcntl.h>
        int main(void) { open("it-ran", O_CREAT | O_WRONLY, 0644); return 0; }
    "#;
    fs::write(folder.path().join("a.c"), source).unwrap();
    let gcc = Command::new("gcc").args(["-static", "-s", "a.c", "-o", "nameless"]).current_dir(&folder).status();
    if !gcc.is_ok_and(|status| status.success()) {
        eprintln!("skipped: gcc makes no static programs here");
        return;
    }
    for (command, message) in
        [("./nameless", "no allocator found"), ("./missing", "cannot start ./missing: No such file")]
    {
        let output = tracer(&folder, &["-o", "x.folded"], &[command]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(message), "{said}");
        assert_eq!(said.matches("No such file").count(), usize::from(command == "./missing"), "{said}");
    }
    assert!(!folder.path().join("it-ran").exists() && !folder.path().join("x.folded").exists());
}

/// Whatever state the child is in when tracer is killed: it goes on. A program that runs itself again and again is stopped by
/// tracer most of the time.
#[test]
fn the_program_outlives_a_killed_tracer() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let script = "#!/bin/sh\necho $$ > pid.new; mv pid.new pid\n[ -e enough ] && exec sleep 600\nexec ./again\n";
    fs::write(file("again"), script).unwrap();
    fs::set_permissions(file("again"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut seen = 0;
    for round in 0..24 {
        let _ = (fs::remove_file(file("pid")), fs::remove_file(file("enough")));
        let mut tracer = tracer(&folder, &["--quiet", "--force", "-o", "x.folded"], &["./again"]);
        // A program that stays must not hold on to the test's own streams.
        let mut tracer = tracer.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Killed before the program runs, which then does not, or when it has run for a while.
        if round % 8 != 0 {
            until("the program", || file("pid").exists());
        }
        std::thread::sleep(Duration::from_millis(17 * round));
        tracer.kill().unwrap();
        tracer.wait().unwrap();
        fs::write(file("enough"), "").unwrap();
        if round % 8 == 0 {
            // Killed before it let the program go: then that ends by itself.
            std::thread::sleep(Duration::from_millis(300));
        }
        let Ok(pid) = fs::read_to_string(file("pid")) else { continue };
        seen += 1;
        let pid: i32 = pid.trim().parse().unwrap();
        let asleep = || {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            comm == "sleep\n" && fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default().contains(") S ")
        };
        until("going on", asleep);
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL)
            .unwrap();
    }
    assert!(seen >= 21, "only {seen} times");
}

#[test]
fn processes_are_told_apart_by_name_and_number() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = compile(folder.path(), "dynamic", &[]) else { return };
    let script = format!("{0}; {0}; true", program.display());
    let arguments = ["--children", "--split", "process", "--interval", "1", "-o", "x.json"];
    let output = tracer(&folder, &arguments, &["sh", "-c", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let json: Value = serde_json::from_slice(&fs::read(folder.path().join("x.json")).unwrap()).unwrap();
    let parts = json["parts"].as_array().unwrap();
    let of_program = parts.iter().filter(|part| part["part"].as_str().unwrap().starts_with("[dynamic "));
    let bytes: Vec<_> = of_program.map(|part| part["bytes"]["value"].as_u64().unwrap()).collect();
    // What the shell asks for between fork and exec is the same process's.
    assert!(bytes.len() == 2 && bytes.iter().all(|bytes| (23_777_777..23_800_000).contains(bytes)), "{parts:?}");
    assert!(said.contains("By process") && said.contains("[dynamic "), "{said}");
}

/// Ctrl-C, for tracer alone or as a terminal sends it: to the program too, which may not care. Either way the recording is there,
/// and the program goes on to its end without probes.
#[test]
fn an_interrupted_recording_is_written_and_the_program_runs_on() {
    use rustix::process::{Pid, Signal, kill_process, kill_process_group};
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = compile(folder.path(), "dynamic", &[]) else { return };
    let program = program.to_str().unwrap();
    let ignoring = format!("trap '' INT; exec {program} wait say");
    let send_to_one: fn(Pid) = |pid| kill_process(pid, Signal::INT).unwrap();
    let send_to_all: fn(Pid) = |pid| kill_process_group(pid, Signal::INT).unwrap();
    for (command, send) in [(&[program, "wait", "say"][..], send_to_one), (&["sh", "-c", &ignoring], send_to_all)] {
        let mut tracer = tracer(&folder, &["--interval", "1", "-o", "x.json", "--force"], command);
        // Not a pipe: the program holds on to it when tracer has ended.
        let messages = folder.path().join("messages");
        tracer.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&messages).unwrap());
        let mut tracer = Waiting(tracer.spawn().unwrap());
        let (mut input, mut output) = (tracer.0.stdin.take().unwrap(), tracer.0.stdout.take().unwrap());
        let said = || fs::read_to_string(&messages).unwrap();
        until("recording", || said().contains("recording ") && said().contains("; Ctrl-C"));
        // Until it waits for its byte: then all before that was counted.
        let pid: u32 = said().rsplit_once('(').unwrap().1.split_once(')').unwrap().0.parse().unwrap();
        let is_waiting = || {
            fs::read(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == b"dynamic\n")
                && fs::read_to_string(format!("/proc/{pid}/syscall")).is_ok_and(|call| call.starts_with("0 0x0 "))
        };
        until("waiting", is_waiting);
        send(Pid::from_child(&tracer.0));
        assert!(tracer.0.wait().unwrap().success(), "{}", said());
        assert!(said().contains(&format!("(pid {pid}) runs on")), "{}", said());
        let json: Value = serde_json::from_slice(&fs::read(folder.path().join("x.json")).unwrap()).unwrap();
        assert_eq!(json["about"]["ended"], "interrupted");
        assert_eq!(counted(&json["about"], 20), (1, 777_777), "{json}");
        assert_eq!(counted(&json["about"], 15), (0, 0), "{json}");
        assert!(is_waiting());
        input.write_all(b"x").unwrap();
        let mut last_words = String::new();
        output.read_to_string(&mut last_words).unwrap();
        assert_eq!(last_words, "went on\n");
    }
}

struct Waiting(Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn several_processes_are_counted_together() {
    let folder = tempfile::tempdir().unwrap();
    let Some(dynamic) = compile(folder.path(), "dynamic", &[]) else { return };
    let mut programs = vec![dynamic.clone(), dynamic];
    programs.extend(compile(folder.path(), "static", &["-static"]));
    let mut waiting: Vec<Waiting> = programs
        .iter()
        .map(|program| Waiting(Command::new(program).arg("wait").stdin(Stdio::piped()).spawn().unwrap()))
        .collect();
    // Until they wait for their byte, that is: until all libraries are there.
    for program in &waiting {
        let wchan = format!("/proc/{}/syscall", program.0.id());
        until("reading", || fs::read_to_string(&wchan).unwrap_or_default().starts_with("0 0x0 "));
    }
    let request = Request {
        event: None,
        duration: None,
        interval: IntervalSetting::Fixed(0),
        max_overhead: None,
        children: false,
        max_samples: 1 << 20,
        max_frames: 32,
        ring_bytes: 1 << 22,
        table_bytes: 1 << 24,
        live: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let raw = runtime.block_on(async {
        let mut session = Session::new(request).unwrap();
        for program in &waiting {
            let process = Process::open(program.0.id()).unwrap();
            let points = session.discover(&process).unwrap();
            session.add(process, &points).unwrap();
        }
        session.begin().unwrap();
        for program in &mut waiting {
            program.0.stdin.take().unwrap().write_all(b"x").unwrap();
        }
        let ended = session.run(std::future::pending(), |_| {}).await.unwrap();
        assert_eq!(ended, Ended::TargetExited);
        session.finish(ended).unwrap()
    });
    let count = programs.len() as u64;
    let calls: u64 = raw.counters.iter().flatten().map(|class| class.calls).sum();
    let bytes: u64 = raw.counters.iter().flatten().map(|class| class.bytes).sum();
    assert_eq!((calls, bytes), (count * 1010, count * 23_000_000));
    let mut by_process: Vec<u32> = raw.parts.samples.iter().map(|sample| sample.process).collect();
    by_process.sort_unstable();
    by_process.dedup();
    assert_eq!(by_process.len(), programs.len());
    assert_eq!(raw.targets.len(), programs.len());
}
