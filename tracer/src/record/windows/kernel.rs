//! The kernel and the traced processes.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use aya::maps::MapError;

use super::{Glance, Reading, World, stopwatch::Stopwatch};
use crate::{
    allocators::Execution,
    estimate::band::Band,
    probe::{
        calibration::Calibration,
        meter::Meter,
        multi::{MultiProgram, Point},
        own::{EXECUTABLE, file_offset, never_called},
        settings::SharedSettings,
        task_clock::TaskClocks,
    },
    record::{attached::Scope, links::Link},
    target::CpuClocks,
};

/// News for windows.
#[derive(Debug)]
pub enum Command {
    /// More probes, which are in.
    Add {
        /// They.
        links: Vec<Link>,
        /// What the kernel does with the instruction of each probed function, by slot.
        kinds: Vec<Execution>,
    },
    /// These are wanted no more.
    Remove(Scope),
    /// The recording is over.
    Stop,
}

/// What windows are made with.
pub struct Tools {
    /// Begin of the recording.
    pub start: Instant,
    /// The allocation program; `None` where the kernel has no multi links.
    pub program: Option<Arc<MultiProgram>>,
    /// Opens and closes.
    pub settings: SharedSettings,
    /// What the program counts.
    pub meter: Meter,
    /// What a hit costs.
    pub calibration: Calibration,
    /// News.
    pub commands: Receiver<Command>,
    /// How many windows are over, for others to know.
    pub over: Arc<AtomicU64>,
    /// Whether probes have ever gone.
    pub switching: Arc<AtomicBool>,
    /// For how long calls were counted, likewise.
    pub counted: Arc<Stopwatch>,
    /// Part of the target's CPU time that was spent so far, for others to know: the bits of a number.
    pub overhead: Arc<AtomicU64>,
}

/// The kernel and the traced processes.
pub struct Kernel {
    tools: Tools,
    links: Vec<Link>,
    kinds: Vec<Execution>,
    clocks: CpuClocks,
    watch: Option<TaskClocks>,
    /// Probes are in while clocks are started, which must not take long: see [`TaskClocks::of_caller`].
    quick_watch: Option<TaskClocks>,
    /// CPU time when the watch began, for where it cannot be exact.
    watched_from: Duration,
    /// What is closed waits for the kernel in threads of its own.
    going: Vec<JoinHandle<()>>,
    attached: bool,
    stopped: bool,
    /// CPU time, hits and time for samples before the recording began.
    before: Glance,
    glance: Glance,
    reading: Reading,
    /// [`Meter::others`] before the recording began.
    others_before: u64,
    /// Calls by what the kernel does with the instruction: emulated or not.
    by_kind: [u64; 2],
}

/// How long breakpoints are waited for to go at most. Usually a tenth of a millisecond to twelve.
const PATIENCE: Duration = Duration::from_millis(200);
/// Between two looks at one of them.
const LOOK: Duration = Duration::from_micros(100);
/// CPU seconds that the target is given the benefit of, before it has used so much: a burst at the begin says little.
const ENOUGH_CPU: f64 = 2.0;
/// Threads that may wait for the kernel at once.
const MAX_GOING: usize = 16;

impl Kernel {
    /// With probes that are in.
    pub fn new(tools: Tools, links: Vec<Link>, kinds: Vec<Execution>) -> Self {
        let mut kernel = Self {
            tools,
            links,
            kinds,
            clocks: CpuClocks::default(),
            watch: None,
            quick_watch: None,
            watched_from: Duration::ZERO,
            going: Vec::new(),
            attached: true,
            stopped: false,
            before: Glance::default(),
            glance: Glance::default(),
            reading: Reading::default(),
            others_before: 0,
            by_kind: [0; 2],
        };
        kernel.follow();
        kernel.others_before = kernel.tools.meter.others().unwrap_or(0);
        kernel.before = kernel.look();
        kernel
    }

    /// Whether probes can come back.
    pub fn can_return(&self) -> bool {
        self.tools.program.is_some()
    }

    /// Hits and CPU time since the recording began.
    pub fn sums(&self) -> Glance {
        self.glance
    }

    /// What a hit costs that is not sampled, by the kinds of hits there were.
    pub fn band(&self) -> Band {
        let Calibration { emulated, stepped } = self.tools.calibration;
        let [of_emulated, of_stepped] = self.by_kind.map(|calls| calls as f64);
        if of_emulated + of_stepped == 0.0 {
            let any_stepped = self.kinds.contains(&Execution::Stepped);
            return if any_stepped { stepped } else { emulated };
        }
        let part = of_stepped / (of_emulated + of_stepped);
        let mix = |of: fn(&Band) -> f64| (1.0 - part) * of(&emulated) + part * of(&stepped);
        Band { low: mix(|band| band.low), mid: mix(|band| band.mid), high: mix(|band| band.high) }
    }

    /// Part of the target's CPU time that was spent so far. 0 while nothing is known of the kinds of hits.
    fn overhead(&self) -> f64 {
        if self.by_kind == [0; 2] {
            return 0.0;
        }
        let Glance { cpu, hits, sampling } = self.glance;
        (hits as f64 * self.band().mid / 1e9 + sampling) / cpu.max(ENOUGH_CPU)
    }

    /// Takes in processes that were forked, and lets go those that have ended.
    fn follow(&mut self) {
        if let Ok(followed) = self.tools.meter.followed() {
            self.clocks.follow(&followed);
        }
    }

    /// Sums since the programs were loaded; what cannot be read is as it was.
    fn look(&mut self) -> Glance {
        let cpu = self.clocks.now().as_secs_f64();
        match self.tools.meter.traps() {
            Ok(traps) => Glance { cpu, hits: traps.hits, sampling: traps.sampling_ns as f64 / 1e9 },
            Err(_) => Glance { cpu, ..self.glance },
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Add { links, kinds } => {
                self.kinds = kinds;
                self.links.extend(links);
                if !self.attached {
                    self.close_all();
                }
            }
            Command::Remove(scope) => {
                let (gone, stay) = std::mem::take(&mut self.links).into_iter().partition(|link| link.scope == scope);
                self.links = stay;
                let gone: Vec<Link> = gone;
                gone.into_iter().for_each(|link| self.close(link.probes));
            }
            Command::Stop => self.stopped = true,
        }
    }

    /// Lets go in a thread: it takes tens of milliseconds until the kernel has seen the last hit end. Where there is no
    /// thread to be had, here.
    fn close<T: Send + 'static>(&mut self, probes: T) {
        self.going.retain(|going| !going.is_finished());
        if self.going.len() < MAX_GOING {
            let closing = thread::Builder::new().name("detach".to_owned()).spawn(move || drop(probes));
            self.going.extend(closing);
        }
    }

    fn close_all(&mut self) {
        for index in 0..self.links.len() {
            if let Some(probes) = self.links.get_mut(index).and_then(|link| link.probes.take()) {
                self.close(probes);
            }
        }
    }

    fn count_by_kind(&mut self) -> Result<Reading, MapError> {
        let (mut reading, mut by_kind) = (Reading::default(), [0; 2]);
        for (slot, kind) in (0..).zip(&self.kinds) {
            let calls = self.tools.meter.calls(slot)?;
            reading.calls += calls.calls;
            reading.bytes = reading.bytes.wrapping_add(calls.bytes);
            by_kind[usize::from(*kind == Execution::Stepped)] += calls.calls;
        }
        reading.hits = reading.calls + self.tools.meter.others()?.saturating_sub(self.others_before);
        self.by_kind = by_kind;
        Ok(reading)
    }
}

impl World for Kernel {
    fn now(&self) -> f64 {
        self.tools.start.elapsed().as_secs_f64()
    }

    fn wait(&mut self, until: f64) -> bool {
        while !self.stopped {
            let left = Duration::from_secs_f64((until - self.now()).clamp(0.0, 1e6));
            match self.tools.commands.recv_timeout(left) {
                Ok(command) => self.obey(command),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => self.stopped = true,
            }
        }
        false
    }

    fn random(&mut self) -> f64 {
        let mut bytes = [0; 8];
        // Never refused for so few bytes (getrandom(2)).
        let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        (u64::from_ne_bytes(bytes) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Putting a uprobe in or out takes a lock (`dup_mmap_sem`, kernel/events/uprobes.c) whose writers wait for a grace
    /// period, unless another one had it just before (kernel/rcu/sync.c). A probe on nothing, in tracer itself, waits in
    /// place of those in the target: these come and go in a quarter of a millisecond then, instead of eight.
    fn prepare(&mut self) {
        let Some(program) = self.tools.program.clone() else { return };
        if self.quick_watch.is_none() {
            self.quick_watch = TaskClocks::of_caller();
        }
        let Ok(file_offset) = file_offset(never_called as extern "C" fn() as usize) else { return };
        let points = [Point { file_offset, cookie: 0 }];
        // Whatever becomes of it, it is in nobody but tracer.
        if let Ok(link) = program.attach_here(Path::new(EXECUTABLE), &points, std::process::id()) {
            self.close(link);
        }
    }

    fn attach(&mut self) {
        if let Some(program) = self.tools.program.clone() {
            self.links.iter_mut().for_each(|link| link.attach(&program));
            self.attached = true;
        }
    }

    fn detach(&mut self) -> f64 {
        self.tools.switching.store(true, Ordering::Relaxed);
        self.attached = false;
        self.close_all();
        let begin = Instant::now();
        loop {
            self.going.retain(|going| !going.is_finished());
            let are_in = self.links.iter().any(|link| link.is_in() == Some(true));
            let unseen = self.links.iter().any(|link| link.is_in().is_none());
            // Where none can be looked at, they are gone when the kernel says so.
            if self.going.is_empty() || !are_in && !unseen || begin.elapsed() > PATIENCE {
                return self.now();
            }
            thread::sleep(LOOK);
        }
    }

    fn count(&mut self, on: bool) {
        // It cannot fail for a map that is there.
        let _ = self.tools.settings.change(|settings| settings.enabled = u32::from(on));
        self.tools.counted.run(on, Instant::now());
    }

    fn glance(&mut self) -> Glance {
        let now = self.look();
        self.glance = Glance {
            cpu: now.cpu - self.before.cpu,
            hits: now.hits.saturating_sub(self.before.hits),
            sampling: now.sampling - self.before.sampling,
        };
        self.tools.overhead.store(self.overhead().to_bits(), Ordering::Relaxed);
        self.glance
    }

    fn read(&mut self) -> Reading {
        self.follow();
        if let Ok(reading) = self.count_by_kind() {
            self.reading = reading;
        }
        self.tools.over.fetch_add(1, Ordering::Relaxed);
        self.reading
    }

    fn hit(&self) -> Band {
        self.band()
    }

    fn settle(&mut self) {
        for going in self.going.drain(..) {
            // It only drops.
            let _ = going.join();
        }
    }

    fn start_watch(&mut self) {
        self.watched_from = self.clocks.now();
        self.watch = TaskClocks::start(self.clocks.processes());
    }

    fn watched(&mut self) -> f64 {
        match self.watch.take() {
            Some(watch) => watch.passed() as f64 / 1e9,
            None => self.clocks.now().saturating_sub(self.watched_from).as_secs_f64(),
        }
    }
}
