//! One run of a program, from the moment that a tool is attached.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};

use super::inputs::Program;
use crate::{
    bench::suite::{
        attachment::{Attachment, c_library},
        tools::{Inside, Tool, Tools},
    },
    demo::background::die_with_parent,
    exec,
};

/// The slowest tool makes a run this much longer.
const PATIENCE: Duration = Duration::from_secs(20 * 60);
const POLL: Duration = Duration::from_millis(2);

/// What a run took, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    /// CPU time of the program.
    pub cpu: f64,
    /// Time by the clock.
    pub wall: f64,
}

/// Runs programs.
pub struct Runner {
    folder: PathBuf,
    clock: PathBuf,
}

impl Runner {
    /// Compiles the clock that is preloaded.
    ///
    /// # Errors
    /// When gcc is missing.
    pub fn new(folder: &Path) -> anyhow::Result<Self> {
        let (source, clock) = (folder.join("clock.c"), folder.join("clock.so"));
        fs::write(&source, include_str!("clock.c"))?;
        exec::exec(Command::new("gcc").args(["-O2", "-shared", "-fPIC", "-o"]).args([&clock, &source]))?;
        Ok(Self { folder: folder.to_owned(), clock })
    }

    /// A run that a tool watches, if one is given.
    ///
    /// # Errors
    /// When the program or the tool fails.
    pub fn watched(&self, program: &Program, with: Option<(&Tools, &Tool)>) -> anyhow::Result<Time> {
        let mut running = self.start(program, None)?;
        let watching = match with {
            None => None,
            Some((tools, tool)) => {
                let attachment = running.attachment()?;
                Some(tools.watch(tool, running.0.id(), &attachment)?)
            }
        };
        let time = self.finish(&mut running);
        drop(watching);
        time
    }

    /// A run with something preloaded.
    ///
    /// # Errors
    /// When the program fails.
    pub fn inside(&self, program: &Program, tool: &Inside) -> anyhow::Result<Time> {
        let mut running = self.start(program, Some(tool))?;
        self.finish(&mut running)
    }

    fn start(&self, program: &Program, inside: Option<&Inside>) -> anyhow::Result<Running> {
        for path in [self.go(), self.result()] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        let name = program.path.file_name().context("a program without a name")?;
        let mut preload = self.clock.as_os_str().to_owned();
        let mut command = Command::new(&program.path);
        if let Some(inside) = inside {
            preload.push(":");
            preload.push(&inside.preload);
            command.envs(inside.variables.iter().map(|(name, value)| (name, value)));
        }
        command.args(&program.arguments).env("LD_PRELOAD", preload).env("BENCH_PROGRAM", name);
        command.env("BENCH_GO", self.go()).env("BENCH_CLOCK", self.result());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        die_with_parent(&mut command);
        Ok(Running(command.spawn().with_context(|| format!("cannot run {command:?}"))?))
    }

    fn finish(&self, running: &mut Running) -> anyhow::Result<Time> {
        fs::write(self.go(), "")?;
        let start = Instant::now();
        let status = loop {
            if let Some(status) = running.0.try_wait()? {
                break status;
            }
            if start.elapsed() > PATIENCE {
                bail!("the program did not end in {} min", PATIENCE.as_secs() / 60);
            }
            thread::sleep(POLL);
        };
        ensure!(status.success(), "the program ended with {status}");
        let text = fs::read_to_string(self.result()).context("the program did not say what it took")?;
        let mut numbers = text.split_whitespace().filter_map(|number| number.parse().ok());
        let (Some(cpu), Some(wall)) = (numbers.next(), numbers.next()) else { bail!("the program says {text:?}") };
        Ok(Time { cpu, wall })
    }

    fn go(&self) -> PathBuf {
        self.folder.join("go")
    }

    fn result(&self) -> PathBuf {
        self.folder.join("clock")
    }
}

/// A program that is held, or runs. Dropping it ends it.
struct Running(Child);

impl Running {
    /// Waits until it has been loaded.
    fn attachment(&mut self) -> anyhow::Result<Attachment> {
        loop {
            match Attachment::new(self.0.id(), &c_library()) {
                Ok(attachment) => return Ok(attachment),
                Err(error) => {
                    if let Some(status) = self.0.try_wait()? {
                        bail!("the program ended with {status}: {error:#}");
                    }
                    thread::sleep(POLL);
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
