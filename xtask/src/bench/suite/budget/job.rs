//! Programs that do the same piece of work again and again, in one process.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};

use crate::bench::suite::{
    cpu_clock::cpu_time,
    piped::Piped,
    programs::inputs::{FILTER, records},
    target::{FramePointers, Load, Target, is_installed},
};

/// A program at work. Dropping it ends it.
pub enum Job {
    /// Pairs of malloc and free.
    Loop(Target),
    /// A program that reads a piece of work from its input, all of it, before it answers with a line.
    Fed(Piped, String),
}

/// What a piece of work takes, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// CPU time of the process.
    pub cpu: f64,
    /// Time by the clock.
    pub wall: f64,
}

/// About a millisecond without tools.
const LOOP: Load = Load { depth: 5, pairs: 100_000, work: 0 };
/// Players that jq reads at once: some ten milliseconds.
const PLAYERS: u32 = 500;
/// A table is filled, asked and emptied.
const SQL: &str = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000) \
    insert into player select i, 'player ' || (i * 7919 % 10007), i % 997, i % 100 from n; \
    update player set name = name || '!' where team < 50; \
    create temp table counted as select sum(length(upper(name) || team)) as total from player where score > 100; \
    drop table counted; delete from player; select 'done';\n";

impl Job {
    /// The loop.
    ///
    /// # Errors
    /// When gcc is missing.
    pub fn malloc_loop() -> anyhow::Result<Self> {
        Target::start(FramePointers::Omitted).map(Self::Loop)
    }

    /// sqlite3 on a table in memory.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn sqlite() -> anyhow::Result<Self> {
        let mut command = Command::new("sqlite3");
        command.args(["-batch", ":memory:"]);
        let mut program = start(command)?;
        program.tell("create table player (id integer primary key, name text, score real, team integer);\n")?;
        Ok(Self::Fed(program, SQL.into()))
    }

    /// jq on a list of players.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn jq() -> anyhow::Result<Self> {
        let mut command = Command::new("jq");
        command.args(["--unbuffered", "-c", FILTER]);
        Ok(Self::Fed(start(command)?, records(PLAYERS)))
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        match self {
            Self::Loop(target) => target.pid(),
            Self::Fed(program, _) => program.pid(),
        }
    }

    /// Has it work for so long.
    ///
    /// # Errors
    /// When it has ended.
    pub fn work(&mut self, time: Duration) -> anyhow::Result<Cost> {
        let (start, before, mut pieces) = (Instant::now(), cpu_time(self.pid())?, 0.0);
        while start.elapsed() < time {
            match self {
                Self::Loop(target) => target.run(LOOP).map(drop),
                Self::Fed(program, piece) => program.tell(piece).and_then(|()| program.line().map(drop)),
            }?;
            pieces += 1.0;
        }
        ensure!(pieces > 0.0, "no time to work in");
        let wall = start.elapsed().as_nanos() as f64;
        Ok(Cost { cpu: (cpu_time(self.pid())? - before) / pieces, wall: wall / pieces })
    }
}

/// Starts a program that is fed.
fn start(command: Command) -> anyhow::Result<Piped> {
    let name = command.get_program().to_string_lossy();
    if !is_installed(&name) {
        bail!("{name} is not installed");
    }
    Piped::start(command)
}
