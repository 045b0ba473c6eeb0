//! The program `programs/storm.c`: allocates as fast as it can, in bursts, and knows how much it allocated.

use crate::programs::{Build, Compiler, Program};

const PROGRAM: Build = Build::new(Compiler::Gcc, "storm.c", &["-O2"]);

/// See the module.
pub struct Storm {
    program: Program,
    has_end: bool,
}

/// What it allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truth {
    pub calls: u64,
    pub bytes: u64,
}

/// How it works: milliseconds at work and at rest, at rest first.
#[derive(Clone, Copy)]
pub struct Rhythm {
    pub on_ms: u64,
    pub off_ms: u64,
}

impl Rhythm {
    /// It never rests.
    pub const STEADY: Self = Self { on_ms: 0, off_ms: 0 };
}

impl Storm {
    /// One that goes on until [`Self::stop`].
    pub fn endless(threads: u32, rhythm: Rhythm) -> Self {
        Self { program: start(threads, 0, rhythm), has_end: false }
    }

    /// One whose threads make so many allocations each: a multiple of 256.
    pub fn of(threads: u32, calls: u64) -> Self {
        Self { program: start(threads, calls, Rhythm::STEADY), has_end: true }
    }

    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Lets it begin.
    pub fn go(&mut self) {
        self.program.go();
    }

    /// Waits until it is over; tells it to stop, if it needs to be told.
    pub fn stop(&mut self) -> Truth {
        if !self.has_end {
            self.program.go();
        }
        let said = self.program.line();
        let (calls, bytes) = said.split_once(' ').expect("it says two numbers");
        let number = |text: &str| text.parse().unwrap_or_else(|error| panic!("{error}: {said}"));
        Truth { calls: number(calls), bytes: number(bytes) }
    }

    /// Waits for a clean end.
    pub fn finish(self) {
        self.program.finish();
    }
}

fn start(threads: u32, calls: u64, Rhythm { on_ms, off_ms }: Rhythm) -> Program {
    let arguments = [u64::from(threads), calls, on_ms, off_ms].map(|number| number.to_string());
    Program::start(&PROGRAM.compile(), &arguments.each_ref().map(String::as_str), None)
}
