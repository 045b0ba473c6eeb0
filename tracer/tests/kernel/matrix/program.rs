//! Programs that allocate on demand and say what they did; `programs/matrix/matrix.h` has the dialogue.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// The sources.
pub const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernel/programs/matrix");
/// Where programs are built.
pub const BUILT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/matrix");

/// Compiles sources to `name` by a command line, and gives the program's path.
pub fn compile(name: &str, compiler: &str, arguments: &[&str]) -> PathBuf {
    std::fs::create_dir_all(BUILT).expect("the directory for programs can be made");
    let program = Path::new(BUILT).join(name);
    build(Command::new(compiler).args(arguments).arg("-o").arg(&program).current_dir(SOURCES));
    program
}

/// Compiles C or C++ as the matrix has it.
pub fn compile_c(name: &str, compiler: &str, arguments: &[&str]) -> PathBuf {
    compile(name, compiler, &[&["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"], arguments].concat())
}

/// Runs a command that builds something.
pub fn build(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; cargo xtask setup installs it"));
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Calls of one kind and size by one thread.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    pub thread: u32,
    pub kind: String,
    pub size: u64,
    pub calls: u64,
}

/// What a program says that it did.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    pub counts: Vec<Count>,
    /// Bytes and blocks that it was given and has not released.
    pub held: Option<(u64, u64)>,
    /// Other lines.
    pub remarks: Vec<String>,
}

/// A program that waits for its turn. Killed when dropped.
pub struct Program {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Program {
    /// Starts a program and waits until it is ready.
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let input = child.stdin.take().expect("it is a pipe");
        let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut program = Self { child, input, output };
        assert_eq!(program.line(), "ready", "{command:?}");
        program
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it says.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line of text");
        assert!(!line.is_empty(), "the program ended: {:?}", self.child.wait());
        line.trim_end().to_owned()
    }

    /// Lets it go on to its next stop.
    pub fn go(&mut self) {
        self.input.write_all(b"\n").expect("it reads its input");
    }

    /// Lets it allocate.
    pub fn work(&mut self) -> Truth {
        self.go();
        let mut truth = Truth::default();
        loop {
            let line = self.line();
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["done"] => return truth,
                ["count", thread, kind, size, calls] => truth.counts.push(Count {
                    thread: thread.parse().expect("a thread id"),
                    kind: (*kind).to_owned(),
                    size: size.parse().expect("a size"),
                    calls: calls.parse().expect("a number of calls"),
                }),
                ["held", bytes, blocks] => {
                    truth.held = Some((bytes.parse().expect("bytes"), blocks.parse().expect("blocks")));
                }
                _ => truth.remarks.push(line),
            }
        }
    }

    /// Lets it end.
    pub fn end(&mut self) {
        self.go();
        let status = self.child.wait().expect("a child of ours");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
