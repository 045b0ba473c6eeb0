//! The programs under `programs/`: compiled as a test asks for them, run with a line-by-line dialogue.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::SystemTime,
};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernel/programs");
const OUTPUT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/kernel-programs");

/// A compiler of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compiler {
    Gcc,
    Gxx,
    Clang,
    Clangxx,
    MuslGcc,
    Rustc,
}

impl Compiler {
    fn command(self) -> &'static str {
        match self {
            Self::Gcc => "gcc",
            Self::Gxx => "g++",
            Self::Clang => "clang",
            Self::Clangxx => "clang++",
            Self::MuslGcc => "musl-gcc",
            Self::Rustc => "rustc",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Gcc => "gcc",
            Self::Gxx => "g++",
            Self::Clang | Self::Clangxx => "clang",
            Self::MuslGcc => "musl-tools",
            Self::Rustc => "rustc",
        }
    }

    fn standard_flags(self) -> &'static [&'static str] {
        match self {
            Self::Gcc | Self::Clang | Self::MuslGcc => &["-g", "-std=gnu17", "-Wall", "-Wextra", "-pthread"],
            Self::Gxx | Self::Clangxx => &["-g", "-std=gnu++17", "-Wall", "-Wextra", "-pthread"],
            Self::Rustc => &["--edition=2024", "-g"],
        }
    }
}

/// How a program comes to record its own stacks, see `programs/truth_shim.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shim {
    /// It does not, or the shim is preloaded when it runs.
    Separate,
    /// The shim is linked in: for static programs.
    Linked,
}

/// A program: its source and how it is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    pub compiler: Compiler,
    pub source: &'static str,
    pub flags: &'static [&'static str],
    pub shim: Shim,
}

impl std::fmt::Display for Build {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.source, self.compiler.command(), self.flags.join(" "))
    }
}

impl Build {
    /// A build without the shim.
    pub const fn new(compiler: Compiler, source: &'static str, flags: &'static [&'static str]) -> Self {
        Self { compiler, source, flags, shim: Shim::Separate }
    }

    /// A build with the shim inside.
    pub const fn with_shim(compiler: Compiler, source: &'static str, flags: &'static [&'static str]) -> Self {
        Self { compiler, source, flags, shim: Shim::Linked }
    }

    /// Compiles, unless that was done since the sources changed. The path of the program.
    pub fn compile(&self) -> PathBuf {
        let mut name = self.to_string().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let mut arguments: Vec<String> = self.compiler.standard_flags().iter().map(ToString::to_string).collect();
        arguments.push(source(self.source));
        if self.shim == Shim::Linked {
            name += "-shim";
            let object = match self.compiler {
                Compiler::MuslGcc => shim_object(Compiler::MuslGcc),
                _ => shim_object(Compiler::Gcc),
            };
            arguments.push(object.to_string_lossy().into_owned());
            arguments.push("-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc".to_owned());
        }
        arguments.extend(self.flags.iter().map(ToString::to_string));
        compile(self.compiler, &name, arguments)
    }
}

/// Compiles every form of the shim, so that programs can be compiled side by side.
pub fn prepare_shims() {
    shim_library();
    shim_object(Compiler::Gcc);
    shim_object(Compiler::MuslGcc);
}

/// The shim as a library to preload.
pub fn shim_library() -> PathBuf {
    let arguments = ["-O2", "-Wall", "-Wextra", "-fPIC", "-shared"].map(String::from);
    compile(Compiler::Gcc, "truth_shim.so", [&arguments[..], &[source("truth_shim.c")]].concat())
}

fn shim_object(compiler: Compiler) -> PathBuf {
    let arguments = ["-O2", "-Wall", "-Wextra", "-c", "-DTRUTH_WRAP"].map(String::from);
    let name = format!("truth_shim-{}.o", compiler.command());
    compile(compiler, &name, [&arguments[..], &[source("truth_shim.c")]].concat())
}

/// The path of a file under `programs/`.
pub fn source(name: &str) -> String {
    format!("{SOURCES}/{name}")
}

/// Compiles to `name` in the output directory. A file beside the output holds the command line that made it.
fn compile(compiler: Compiler, name: &str, mut arguments: Vec<String>) -> PathBuf {
    let output = Path::new(OUTPUT).join(name);
    let record = Path::new(OUTPUT).join(format!("{name}.command"));
    let command_line = format!("{} {}", compiler.command(), arguments.join(" "));
    let is_current = fs::read_to_string(&record).is_ok_and(|old| old == command_line)
        && modified(&output).zip(newest_source()).is_some_and(|(output, sources)| output > sources);
    if is_current {
        return output;
    }
    fs::create_dir_all(OUTPUT).expect("the output directory can be made");
    // Under another name first: a half-written program must not pass for a whole one.
    let unfinished = Path::new(OUTPUT).join(format!("{name}.new"));
    arguments.extend(["-o".to_owned(), unfinished.to_string_lossy().into_owned()]);
    let result = Command::new(compiler.command()).args(&arguments).output().unwrap_or_else(|error| {
        panic!("cannot run {}: {error}. Install it: apt-get install {}", compiler.command(), compiler.package())
    });
    let messages = String::from_utf8_lossy(&result.stderr);
    assert!(result.status.success(), "{command_line}\n{messages}");
    assert!(!messages.contains("warning:"), "{command_line}\n{messages}");
    fs::rename(&unfinished, &output).expect("the program can be renamed");
    fs::write(&record, command_line).expect("its command line can be written");
    output
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

fn newest_source() -> Option<SystemTime> {
    fs::read_dir(SOURCES).ok()?.flatten().filter_map(|entry| modified(&entry.path())).max()
}

/// A running program. Killed when dropped.
pub struct Program {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Program {
    /// Starts `path` and waits until it says `ready`. `truth` is the file for the preloaded or linked shim.
    pub fn start(path: &Path, arguments: &[&str], truth: Option<(&Path, Shim)>) -> Self {
        let mut command = Command::new(path);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some((file, shim)) = truth {
            command.env("TRUTH_FILE", file);
            if shim == Shim::Separate {
                command.env("LD_PRELOAD", shim_library());
            }
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let input = child.stdin.take().expect("stdin is a pipe");
        let output = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut program = Self { child, input, output };
        assert_eq!(program.line(), "ready", "{}", path.display());
        program
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it says.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("its output can be read");
        if line.is_empty() {
            panic!("the program ended early: {:?}", self.child.wait());
        }
        line.trim_end().to_owned()
    }

    /// Lets it go on to its next stop.
    pub fn go(&mut self) {
        self.input.write_all(b"\n").expect("the program reads its input");
    }

    /// Waits for a clean end.
    pub fn finish(mut self) {
        self.go();
        let status = self.child.wait().expect("the program can be waited for");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Fails where it has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
