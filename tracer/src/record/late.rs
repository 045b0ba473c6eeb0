//! Allocators that come while a recording is under way: with a library that is loaded, or with another program.
//!
//! They are looked for in a thread of their own, because reading the symbols of a large file takes longer than the ring
//! buffer can wait. A module is considered once; what was decided about the others stays, and so do their counters.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::task::{JoinError, JoinHandle};

use super::{
    discover::{Found, Input, Probed, Wanted, in_link_order, inputs},
    search::search,
};
use crate::target::{Modules, Scan};

/// Searches that wait at most: a program that loads libraries faster than they can be read is not to fill our memory.
const MAX_WAITING: usize = 64;
/// Notes at most, for the same reason.
const MAX_NOTES: usize = 50;

/// See the module.
#[derive(Debug, Default)]
pub struct Late {
    wanted: Arc<Wanted>,
    /// Modules that were looked at, or wait for it.
    considered: BTreeSet<u16>,
    waiting: VecDeque<Search>,
    /// With the number of modules that it looks at.
    running: Option<(usize, JoinHandle<Outcome>)>,
    notes: Vec<String>,
    /// Notes beyond [`MAX_NOTES`].
    unnoted: u64,
    /// Modules that were not looked at because too many waited.
    dropped: u64,
}

/// What to look for, and where.
#[derive(Debug)]
struct Search {
    wanted: Arc<Wanted>,
    arrival: Arrival,
    /// Modules in link order, and behind them those that allocate elsewhere: calls of theirs are handed on calls.
    inputs: Vec<Input>,
}

/// New modules of a process.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The process.
    pub process: u32,
    /// The modules' numbers.
    pub modules: Vec<u16>,
    /// Since the start of the recording.
    pub at: Duration,
    /// Path of the program, where it is a new one that the loader adds nothing to.
    program_alone: Option<String>,
}

/// What a search found.
#[derive(Debug)]
pub struct Outcome {
    /// The modules that were looked at.
    pub arrival: Arrival,
    /// What was found in the whole process.
    pub found: Found,
}

impl Late {
    /// Looks for this.
    pub fn new(wanted: Arc<Wanted>) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// These modules were looked at by others: they need not be looked at here.
    pub fn consider(&mut self, modules: &Modules) {
        self.considered.extend(modules.iter().map(|module| module.number));
    }

    /// Takes note of a scan; looks for allocators in modules that were never considered. `points` are those probed so far.
    pub fn scanned(&mut self, modules: &Modules, process: u32, scan: &Scan, at: Duration, points: &[Probed]) {
        let new: Vec<u16> = scan.new_modules.iter().copied().filter(|module| self.considered.insert(*module)).collect();
        if new.is_empty() {
            return;
        }
        if self.waiting.len() == MAX_WAITING {
            self.dropped += new.len() as u64;
            return;
        }
        let mut order = in_link_order(modules, scan);
        let has_loader = order.iter().any(|&number| modules.get(number).is_some_and(|module| module.is_interpreter));
        let program = order.first().filter(|first| !has_loader && new.contains(first));
        let program_alone = program.and_then(|&number| Some(modules.get(number)?.path.clone()));
        let elsewhere: BTreeSet<u16> = points.iter().map(|point| point.module).collect();
        order.extend(
            elsewhere.into_iter().filter(|module| !scan.mappings.iter().any(|mapping| mapping.module == *module)),
        );
        let arrival = Arrival { process, modules: new, at, program_alone };
        let wanted = Arc::clone(&self.wanted);
        self.waiting.push_back(Search { wanted, arrival, inputs: inputs(modules, &order) });
    }

    /// Waits for the end of a search; for ever while there is none. May be dropped and called again.
    ///
    /// # Errors
    /// The search panicked.
    pub async fn next(&mut self) -> Result<Outcome, JoinError> {
        if self.running.is_none() {
            let search = self.waiting.pop_front();
            self.running =
                search.map(|search| (search.arrival.modules.len(), tokio::task::spawn_blocking(|| search.run())));
        }
        let Some((_, running)) = &mut self.running else { return std::future::pending().await };
        let outcome = running.await;
        self.running = None;
        outcome
    }

    /// Adds a note for people.
    pub fn note(&mut self, note: String) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(note);
        } else {
            self.unnoted += 1;
        }
    }

    /// Says what became of the functions that were found in one module.
    pub fn note_module(&mut self, arrival: &Arrival, path: &str, family: &str, result: Result<Duration, String>) {
        let name = path.rsplit('/').next().unwrap_or(path);
        let (process, seconds) = (arrival.process, arrival.at.as_secs_f64());
        let loaded = format!("{name} ({family}) was loaded {seconds:.2} s into the recording by process {process}");
        self.note(match result {
            Ok(since) => format!("{loaded}; counted from {:.2} s on", since.as_secs_f64()),
            Err(error) => format!("{loaded}; not counted: {error}"),
        });
    }

    /// Says that a process runs a program without a known allocator. Of a program with a loader that cannot be said: its
    /// libraries may not be there yet.
    pub fn note_none(&mut self, arrival: &Arrival) {
        if let Some(path) = &arrival.program_alone {
            self.note(format!("process {} runs {path}, in which no allocator was found: not counted", arrival.process));
        }
    }

    /// The notes.
    pub fn finish(mut self) -> Vec<String> {
        // Nobody waits for searches that are not over: nothing would be counted any more.
        let running = self.running.map_or(0, |(modules, _)| modules);
        let waiting: usize = self.waiting.iter().map(|search| search.arrival.modules.len()).sum();
        let left = self.dropped + (running + waiting) as u64;
        if self.unnoted > 0 {
            self.notes.push(format!("and {} more of this kind", self.unnoted));
        }
        if left > 0 {
            self.notes.push(format!("{left} modules came too fast or too late to be searched for allocators: what theirs hand out is not counted"));
        }
        self.notes
    }
}

impl Search {
    fn run(self) -> Outcome {
        let Self { wanted, arrival, inputs } = self;
        let mut found = search(&inputs, arrival.process, &wanted);
        found.probed.retain(|point| arrival.modules.contains(&point.module));
        Outcome { arrival, found }
    }
}
