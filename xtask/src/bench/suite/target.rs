//! The program that is measured, see target.c.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use super::{piped::Piped, tools::Inside};
use crate::{exec, workspace};

/// A running target. Dropping it ends it.
pub struct Target(Piped);

/// Pairs before those that are measured: they bring caches and page tables up to date after attaching.
pub const WARM_UP: u32 = 100;
/// Pairs that are measured.
pub const PAIRS: u32 = 2000;

/// What is to be done between two readings of the thread's clock.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Functions on the stack, besides those that are always there.
    pub depth: u32,
    /// Pairs of malloc and free.
    pub pairs: u32,
    /// Steps of other work for each pair.
    pub work: u32,
}

/// Whether functions keep frame pointers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramePointers {
    /// They do.
    Kept,
    /// They do not: as compilers have it by default.
    Omitted,
}

impl Target {
    /// Compiles and starts it. To be called on the main thread: the kernel ties the child to the thread that starts it.
    ///
    /// # Errors
    /// When gcc is missing or it does not start.
    pub fn start(frame_pointers: FramePointers) -> anyhow::Result<Self> {
        Piped::start(Command::new(compile(frame_pointers)?)).map(Self)
    }

    /// The same with a tool inside.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_inside(frame_pointers: FramePointers, tool: &Inside) -> anyhow::Result<Self> {
        let mut command = Command::new(compile(frame_pointers)?);
        command.env("LD_PRELOAD", &tool.preload).envs(tool.variables.iter().map(|(name, value)| (name, value)));
        Piped::start(command).map(Self)
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// CPU time of its thread for a pair, in nanoseconds.
    ///
    /// # Errors
    /// When it has ended.
    pub fn run(&mut self, load: Load) -> anyhow::Result<f64> {
        self.0.tell(&format!("{} {} {}\n", load.depth, load.pairs, load.work))?;
        let line = self.0.line()?;
        let time: u64 = line.parse().with_context(|| format!("the target says {line:?}"))?;
        ensure!(load.pairs > 0, "no pairs to measure");
        Ok(time as f64 / f64::from(load.pairs))
    }

    /// CPU time for a pair at this depth, in nanoseconds, measured after a warm-up.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn cost(&mut self, depth: u32) -> anyhow::Result<f64> {
        self.run(Load { depth, pairs: WARM_UP, work: 0 })?;
        self.run(Load { depth, pairs: PAIRS, work: 0 })
    }
}

/// Compiles the program; returns where it is.
fn compile(frame_pointers: FramePointers) -> anyhow::Result<PathBuf> {
    let (name, flag) = match frame_pointers {
        FramePointers::Kept => ("target-frame-pointers", "-fno-omit-frame-pointer"),
        FramePointers::Omitted => ("target", "-fomit-frame-pointer"),
    };
    let folder = folder()?;
    let (source, program) = (folder.join("target.c"), folder.join(name));
    fs::write(&source, include_str!("target.c"))?;
    // Replaced, not written over: another may be running.
    let new = folder.join(format!("{name}.new"));
    exec::exec(Command::new("gcc").args(["-O2", "-g", flag, "-o"]).args([&new, &source]))?;
    fs::rename(&new, &program)?;
    Ok(program)
}

/// Where benchmarks keep programs and recordings.
///
/// # Errors
/// When it cannot be made.
pub fn folder() -> anyhow::Result<PathBuf> {
    let folder = workspace::target_dir()?.join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// Whether a program is on the path.
pub fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| is_file(&folder.join(program))))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}
