//! A tracer that is killed leaves nothing behind: the target's code is as its file has it, and the target goes on.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use object::{Object as _, ObjectSegment as _, ObjectSymbol as _};

use crate::{
    programs::{Build, Compiler, Program},
    recording::alone,
};

/// How long probes may take to come and to go on a busy machine before the test gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often to look.
pub const LOOK: Duration = Duration::from_millis(5);
/// Of every function that is compared.
const CODE_BYTES: usize = 64;

/// The code of a process's allocation functions.
pub struct Code {
    memory: File,
    functions: [Function; 5],
}

/// The code of a function: where in memory, and what it is in the file.
struct Function {
    process_address: u64,
    file_bytes: [u8; CODE_BYTES],
}

#[test]
fn a_killed_tracer_leaves_the_code_as_it_was() {
    let Some(_guard) = alone() else { return };
    kill_while_it_runs(&[]);
    // Calls are under way whose return address is the kernel's.
    kill_while_it_runs(&["--live", "--interval", "1"]);
}

fn kill_while_it_runs(arguments: &[&str]) {
    let path = Build::new(Compiler::Gcc, "dl_loop.c", &["-O2"]).compile();
    let plugin = Build::new(Compiler::Gcc, "plugin.c", &["-O2", "-fPIC", "-shared", "-DFRAME=200"]).compile();
    let plugin = plugin.to_string_lossy();
    // Allocates for a second once it is let go: while its code is put back.
    let mut program = Program::start(&path, &[&plugin, &plugin, "1", "1", "300"], None);
    let code = Code::of(program.pid());
    assert_eq!(code.changed(), 0, "something else has changed the code: is another tracer at work?");

    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut tracer = Tracer::start(program.pid(), arguments, directory.path());
    wait_until("the probes are there", LOOK, || {
        tracer.assert_runs();
        code.changed() > 0
    });
    program.go();
    tracer.kill();
    wait_until("the probes are gone", LOOK, || code.changed() == 0);
    // It says what it did, and ends as if nothing had been.
    program.line();
    program.finish();
}

/// Killed when dropped.
pub struct Tracer(Child);

impl Tracer {
    /// Starts one that writes to `directory`.
    pub fn start(pid: u32, arguments: &[&str], directory: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
        command
            .args(["--pid", &pid.to_string(), "--quiet"])
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null());
        Self(command.spawn().expect("tracer starts"))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// The exit code of one that ends by itself.
    pub fn wait(&mut self) -> Option<i32> {
        self.0.wait().expect("tracer can be waited for").code()
    }

    /// Fails where it has ended.
    pub fn assert_runs(&mut self) {
        assert!(self.0.try_wait().expect("tracer can be waited for").is_none(), "tracer has ended");
    }

    /// SIGKILL. It has ended when this returns.
    pub fn kill(&mut self) {
        self.0.kill().expect("tracer can be killed");
        self.0.wait().expect("tracer can be waited for");
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Fails where it has ended, which is as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits, for long.
pub fn wait_until(what: &str, look: Duration, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(look);
    }
}

impl Code {
    /// That of a process with a C library of its own.
    pub fn of(pid: u32) -> Self {
        let functions = ["malloc", "calloc", "realloc", "posix_memalign", "free"].map(|name| function(pid, name));
        let memory = File::open(format!("/proc/{pid}/mem")).expect("the program's memory can be read");
        Self { memory, functions }
    }

    /// How many functions are not as in their file.
    pub fn changed(&self) -> usize {
        let is_changed = |function: &&Function| {
            let mut bytes = [0; CODE_BYTES];
            let read = self.memory.read_exact_at(&mut bytes, function.process_address);
            read.expect("the program's code can be read");
            bytes != function.file_bytes
        };
        self.functions.iter().filter(is_changed).count()
    }
}

/// Finds a function of the program's C library.
fn function(pid: u32, name: &str) -> Function {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("the program runs");
    let line = maps.lines().find(|line| line.contains("/libc.so")).expect("the program has a C library");
    let base =
        line.split('-').next().and_then(|start| u64::from_str_radix(start, 16).ok()).expect("a mapping has a start");
    let path = line.split_ascii_whitespace().last().expect("the mapping has a path");
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let file = object::File::parse(bytes.as_slice()).expect("the C library is an ELF file");
    let symbol = file.dynamic_symbols().find(|symbol| symbol.is_definition() && symbol.name() == Ok(name));
    let address = symbol.unwrap_or_else(|| panic!("{path} has no {name}")).address();
    let segment = file.segments().find(|s| (s.address()..s.address() + s.size()).contains(&address));
    let segment = segment.expect("a function is in a segment");
    let offset = segment.file_range().0 + address - segment.address();
    let file_bytes = bytes[offset as usize..][..CODE_BYTES].try_into().expect("the length is right");
    Function { process_address: base + address, file_bytes }
}
