//! The thread whose gaps are measured, see gap.c.

use std::{fs, process::Command};

use anyhow::Context as _;

use crate::{
    bench::suite::{piped::Piped, target::folder},
    exec,
};

/// The running program.
pub struct Gap {
    program: Piped,
    scheduling: String,
}

impl Gap {
    /// Compiles and starts it.
    ///
    /// # Errors
    /// When gcc is missing or it does not start.
    pub fn start() -> anyhow::Result<Self> {
        let folder = folder()?;
        let (source, program) = (folder.join("gap.c"), folder.join("gap"));
        fs::write(&source, include_str!("gap.c"))?;
        exec::exec(Command::new("gcc").args(["-O2", "-pthread", "-o"]).args([&program, &source]))?;
        let mut program = Piped::start(Command::new(&program))?;
        Ok(Self { scheduling: program.line()?, program })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// How the thread is scheduled.
    pub fn scheduling(&self) -> &str {
        &self.scheduling
    }

    /// Begins.
    ///
    /// # Errors
    /// When it has ended.
    pub fn go(&mut self) -> anyhow::Result<()> {
        self.program.tell("g")
    }

    /// Ends; the longest gap since, in nanoseconds.
    ///
    /// # Errors
    /// When it has ended.
    pub fn stop(&mut self) -> anyhow::Result<f64> {
        self.program.tell("s")?;
        let line = self.program.line()?;
        line.parse().with_context(|| format!("the program says {line:?}"))
    }
}
