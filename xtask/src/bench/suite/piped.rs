//! A program that we talk to, line by line.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, ensure};

use crate::demo::background::die_with_parent;

/// It runs. Dropping it ends it.
pub struct Piped {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Piped {
    /// Starts it. To be called on the main thread: the kernel ties the child to the thread that starts it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        die_with_parent(&mut command);
        let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        let input = child.stdin.take().context("no pipe to the program")?;
        let output = BufReader::new(child.stdout.take().context("no pipe from the program")?);
        Ok(Self { child, input, output })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Says something to it.
    ///
    /// # Errors
    /// When it has ended.
    pub fn tell(&mut self, words: &str) -> anyhow::Result<()> {
        self.input.write_all(words.as_bytes()).context("the program has ended")
    }

    /// Its next line.
    ///
    /// # Errors
    /// When it has ended.
    pub fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        ensure!(self.output.read_line(&mut line)? > 0, "the program has ended");
        Ok(line.trim().to_owned())
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
