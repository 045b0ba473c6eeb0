//! The thread that windows run in.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    Glance, Outcome,
    kernel::{Command, Kernel, Tools},
    run,
    stopwatch::Stopwatch,
};
use crate::{
    allocators::Execution,
    estimate::band::Band,
    probe::{calibration::Calibration, programs::Programs},
    record::{attached::Scope, budget::Budget, error::SessionError, links::Link},
};

/// Windows under way. Dropping it ends them.
#[derive(Debug)]
pub struct Windows {
    commands: Sender<Command>,
    thread: Option<JoinHandle<Ended>>,
    /// How many windows are over.
    over: Arc<AtomicU64>,
    /// The same, when [`Windows::waits`] was asked last.
    told: u64,
    /// Whether probes have ever gone.
    switching: Arc<AtomicBool>,
    /// See [`Windows::counted`].
    counted: Arc<Stopwatch>,
    /// See [`Windows::overhead`]: the bits of a number.
    overhead: Arc<AtomicU64>,
}

/// What windows leave.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What was done, and counted.
    pub outcome: Outcome,
    /// CPU time of the target, hits, and time for samples.
    pub sums: Glance,
    /// What a hit costs that is not sampled, in nanoseconds.
    pub hit: Band,
}

/// With what to begin.
pub struct Begin {
    /// Begin of the recording.
    pub start: Instant,
    /// Part of the target's CPU time that may be spent; `None` for any.
    pub share: Option<f64>,
    /// What a hit costs.
    pub calibration: Calibration,
    /// Probes, which are in.
    pub links: Vec<Link>,
    /// What the kernel does with the instruction of each probed function, by slot.
    pub kinds: Vec<Execution>,
}

impl Windows {
    /// Begins; counting is on when this returns. `None` where windows of these programs were begun before.
    ///
    /// # Errors
    /// When counting cannot be switched on, or there is no thread to be had.
    pub fn begin(programs: &mut Programs, begin: Begin) -> Result<Option<Self>, SessionError> {
        let Some(meter) = programs.meter.take() else { return Ok(None) };
        let (commands, received) = channel();
        let (over, switching) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (overhead, counted) = (Arc::new(AtomicU64::new(0)), Arc::new(Stopwatch::running(begin.start)));
        let Begin { start, share, calibration, links, kinds } = begin;
        let tools = Tools {
            start,
            program: programs.allocation(),
            settings: programs.maps.settings.clone(),
            meter,
            calibration,
            commands: received,
            over: Arc::clone(&over),
            switching: Arc::clone(&switching),
            counted: Arc::clone(&counted),
            overhead: Arc::clone(&overhead),
        };
        let mut kernel = Kernel::new(tools, links, kinds);
        programs.maps.settings.change(|settings| settings.enabled = 1)?;
        let work = move || {
            hurry();
            let can_return = kernel.can_return();
            let mut budget = Budget::new(share, kernel.band().high / 1e9, can_return);
            let outcome = run(&mut kernel, &mut budget);
            Ended { outcome, sums: kernel.sums(), hit: kernel.band() }
        };
        let thread = thread::Builder::new().name("windows".to_owned()).spawn(work)?;
        Ok(Some(Self { commands, thread: Some(thread), over, told: 0, switching, counted, overhead }))
    }

    /// Takes over probes that are in. `kinds` is of all slots.
    pub fn add(&self, links: Vec<Link>, kinds: Vec<Execution>) {
        // It listens until it is told to stop.
        let _ = self.commands.send(Command::Add { links, kinds });
    }

    /// Takes away the probes of a scope.
    pub fn remove(&self, scope: Scope) {
        let _ = self.commands.send(Command::Remove(scope));
    }

    /// Whether probes come and go, and nothing was counted to the end since this was asked last.
    pub fn waits(&mut self) -> bool {
        let over = self.over.load(Ordering::Relaxed);
        std::mem::replace(&mut self.told, over) == over && self.come_and_go()
    }

    /// Whether probes have ever gone, to come back.
    pub fn come_and_go(&self) -> bool {
        self.switching.load(Ordering::Relaxed)
    }

    /// For how long calls were counted so far.
    pub fn counted(&self) -> Duration {
        self.counted.at(Instant::now())
    }

    /// Part of the target's CPU time that was spent so far, as far as it can be told: 0 before the first epoch is over.
    pub fn overhead(&self) -> f64 {
        f64::from_bits(self.overhead.load(Ordering::Relaxed))
    }

    /// Takes all probes out and waits until no hit is under way any more. `None` where that was done before.
    pub fn stop(&mut self) -> Option<Ended> {
        let _ = self.commands.send(Command::Stop);
        self.thread.take()?.join().ok()
    }
}

impl Drop for Windows {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A window that closes late costs the target: this thread, which sleeps nearly always, comes first when it wakes up.
fn hurry() {
    // The calling thread's (setpriority(2), "C library/kernel differences"). Where it is refused, windows may close late,
    // which is seen and made up for.
    let _ = rustix::process::setpriority_process(None, -15);
}
