//! A run: attach, follow, collect, detach.

use std::{
    io,
    num::NonZeroU32,
    os::fd::AsRawFd,
    time::{Duration, Instant, SystemTime},
};

use aya::maps::{MapData, MapError, RingBuf};
use tokio::io::{Interest, unix::AsyncFd};
use tracer_ebpf::abi::{
    allocation::MAX_FUNCTIONS,
    sample::Frame,
    settings::{Loss, ReturnProbeOffsets, Settings},
};

use super::{
    decode::{Record, decode},
    discover::Probed,
    interval::{IntervalControl, IntervalSetting},
    late::{Late, Outcome},
    processes::{ProcessError, Processes},
    samples::{SampleParts, Samples},
};
use crate::{
    probe::{
        counters::{self, ClassCounters},
        kernel_types::KernelTypes,
        multi::Point,
        programs::{LoadError, Options, Programs},
        uprobes::{AttachError, Probes},
        value::Value,
    },
    recording::about::{Ended, Losses},
    target::{Modules, Process},
};

/// What to record.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// For how long; `None` = until stopped.
    pub duration: Option<Duration>,
    /// How densely.
    pub interval: IntervalSetting,
    /// Whether processes that the target makes from now on are traced too.
    pub children: bool,
    /// Frames of a stack at most.
    pub max_frames: u32,
    /// Ring buffer size in bytes: a power of two, at least a page.
    pub ring_bytes: u32,
    /// Kernel memory for unwind tables, in bytes at most.
    pub table_bytes: u64,
}

/// Why a run could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The kernel side.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The probes.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A map.
    #[error("BPF map: {0}")]
    Map(#[from] MapError),
    /// The process's mappings or tables.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The event loop.
    #[error("waiting for events: {0}")]
    Wait(#[from] io::Error),
}

/// What the terminal may show while a run is under way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Since the start.
    pub elapsed: Duration,
    /// Samples so far.
    pub samples: u64,
    /// Exact bytes so far.
    pub bytes: u64,
    /// Samples lost so far.
    pub lost: u64,
}

/// A run under way.
pub struct Session {
    programs: Programs,
    probes: Vec<Probes>,
    points: Vec<Probed>,
    processes: Processes,
    late: Late,
    scope: Option<NonZeroU32>,
    samples: Samples,
    control: IntervalControl,
    settings: Settings,
    request: Request,
    undecodable: u64,
    started: SystemTime,
    start: Instant,
    start_ns: u64,
    bytes_seen: u64,
    observed: Instant,
}

/// What a run leaves, before names are given to addresses.
pub struct RawRecording {
    /// Samples, stacks, thread names.
    pub parts: SampleParts,
    /// Modules by number, their files open.
    pub modules: Modules,
    /// Probed functions by slot.
    pub points: Vec<Probed>,
    /// Their exact counters by slot.
    pub counters: Vec<ClassCounters>,
    /// What was lost.
    pub losses: Losses,
    /// What else happened, for people.
    pub notes: Vec<String>,
    /// Wall-clock start.
    pub started: SystemTime,
    /// CLOCK_MONOTONIC at the start, nanoseconds.
    pub start_ns: u64,
    /// Length.
    pub duration: Duration,
    /// Why it ended.
    pub ended: Ended,
}

/// How often the ring buffer is looked at when nobody wakes us, and the counters are read.
const LOOK: Duration = Duration::from_millis(100);
/// The same during the first [`SETTLING`]: until the interval fits the target's rate.
const LOOK_AT_FIRST: Duration = Duration::from_millis(10);
/// See [`LOOK_AT_FIRST`].
const SETTLING: Duration = Duration::from_millis(100);
/// Records taken before anything else gets its turn.
const BATCH: usize = 8192;

impl Session {
    /// Loads, prepares tables and attaches to the process. Counting has begun when this returns.
    ///
    /// # Errors
    /// See [`SessionError`]; nothing stays attached then.
    pub fn start(
        target: &Process,
        modules: Modules,
        points: Vec<Probed>,
        request: Request,
    ) -> Result<Self, SessionError> {
        let control = IntervalControl::new(request.interval, request.duration);
        let settings = Settings {
            interval: control.interval(),
            max_frames: request.max_frames,
            enabled: 0,
            wakeup_bytes: u64::from(request.ring_bytes) / 4,
            follow_children: u32::from(request.children),
            return_probes: return_probe_offsets(),
        };
        let mut programs = Programs::load(&Options { settings, ring_bytes: request.ring_bytes })?;
        let late = Late::new(&modules);
        let mut processes = Processes::new(modules, request.table_bytes);
        processes.follow(&mut programs.maps, target.pid)?;
        let scope = if request.children { None } else { NonZeroU32::new(target.pid) };
        let probes = attach(&mut programs, &processes, &points, 0, scope)?;
        // Once more, now that the kernel follows the process: what was unmapped while the first copy was made is gone from this one.
        processes.install(&mut programs.maps, target.pid)?;
        let now = Instant::now();
        let mut session = Self {
            programs,
            probes,
            points,
            processes,
            late,
            scope,
            samples: Samples::default(),
            control,
            settings,
            request,
            undecodable: 0,
            started: SystemTime::now(),
            start: now,
            start_ns: monotonic_ns(),
            bytes_seen: 0,
            observed: now,
        };
        session.enable(true)?;
        Ok(session)
    }

    /// Collects until the duration is over, the target ends or `stop` says so.
    ///
    /// # Errors
    /// [`SessionError::Wait`] or [`SessionError::Map`]; what was collected so far stays and can be finished.
    pub async fn run(
        &mut self,
        target: &Process,
        stop: impl Future<Output = ()>,
        mut show: impl FnMut(Progress),
    ) -> Result<Ended, SessionError> {
        let Some(ring) = self.programs.maps.events.take() else { return Ok(Ended::Interrupted) };
        let mut ring = watch(ring)?;
        let ended = watch(target.pidfd().try_clone_to_owned()?)?;
        let deadline = self.request.duration.map(|duration| self.start + duration);
        let mut stop = std::pin::pin!(stop);
        let result = loop {
            let look = if self.start.elapsed() < SETTLING { LOOK_AT_FIRST } else { LOOK };
            let over = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = &mut stop => break Ok(Ended::Interrupted),
                () = over => break Ok(Ended::Duration),
                result = ended.readable() => break result.map(|_| Ended::TargetExited),
                outcome = self.late.next() => match outcome {
                    Ok(outcome) => self.attach_late(outcome),
                    Err(error) => self.late.note(format!("a search for allocators failed: {error}")),
                },
                result = ring.readable_mut() => match result {
                    Ok(mut guard) => {
                        if !self.drain(guard.get_inner_mut()) {
                            guard.clear_ready();
                        }
                    }
                    Err(error) => break Err(error),
                },
                () = tokio::time::sleep(self.processes.next_refresh().map_or(look, |refresh| refresh.min(look))) => {
                    while self.drain(ring.get_mut()) {}
                }
            }
            self.processes.refresh_changed(&mut self.programs.maps)?;
            for (process, scan) in self.processes.arrived() {
                self.late.scanned(self.processes.modules(), process, &scan, self.start.elapsed(), &self.points);
            }
            if self.observed.elapsed() >= look {
                show(self.observe()?);
            }
        };
        self.programs.maps.events = Some(ring.into_inner());
        Ok(result?)
    }

    /// The processes that the kernel side follows now.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn followed(&self) -> Result<Vec<u32>, MapError> {
        self.programs.maps.processes.keys().collect()
    }

    /// Detaches and takes what is left.
    ///
    /// # Errors
    /// [`SessionError::Map`] when the counters cannot be read.
    pub fn finish(mut self, ended: Ended) -> Result<RawRecording, SessionError> {
        let duration = self.start.elapsed();
        self.enable(false)?;
        for probes in std::mem::take(&mut self.probes) {
            self.programs.detach(probes);
        }
        // Detaching waits for hits under way (RCU), so that nothing arrives any more.
        if let Some(mut ring) = self.programs.maps.events.take() {
            while self.drain(&mut ring) {}
        }
        let counters = (0..self.points.len() as u32)
            .map(|slot| counters::function(&self.programs.maps, slot))
            .collect::<Result<_, _>>()?;
        let kernel = counters::losses(&self.programs.maps)?;
        let mut losses = Losses {
            ring_full: counters::loss(&kernel, Loss::RingFull),
            scratch_busy: counters::loss(&kernel, Loss::ScratchBusy),
            events: counters::loss(&kernel, Loss::EventRingFull),
            undecodable: self.undecodable,
            processes: counters::loss(&kernel, Loss::ProcessMapFull),
            ..Losses::default()
        };
        let modules = self.processes.finish(&mut losses);
        Ok(RawRecording {
            parts: self.samples.into_parts(),
            modules,
            points: self.points,
            counters,
            losses,
            notes: self.late.finish(),
            started: self.started,
            start_ns: self.start_ns,
            duration,
            ended,
        })
    }

    /// Attaches to functions of modules that came during the recording. They get counters behind those in use.
    fn attach_late(&mut self, outcome: Outcome) {
        let Outcome { arrival, found } = outcome;
        let Ok(found) = found else { return self.late.note_none(&arrival) };
        for of_module in found.chunk_by(|a, b| a.module == b.module) {
            let Some(first) = of_module.first() else { continue };
            let slot = self.points.len();
            let room = (MAX_FUNCTIONS as usize).saturating_sub(slot);
            self.points.extend(of_module.iter().take(room).cloned());
            let points = self.points.get(slot..).unwrap_or_default();
            let result = if of_module.len() > room {
                Err("there are more functions than counters".to_owned())
            } else {
                attach(&mut self.programs, &self.processes, points, slot, self.scope).map_err(|error| error.to_string())
            };
            let result = result.map(|probes| {
                self.probes.extend(probes);
                self.start.elapsed()
            });
            if result.is_err() {
                self.points.truncate(slot);
            }
            let path = self.processes.modules().get(first.module).map_or("", |module| module.path.as_str());
            self.late.note_module(&arrival, path, first.point.family, result);
        }
    }

    fn enable(&mut self, enabled: bool) -> Result<(), MapError> {
        self.settings.enabled = u32::from(enabled);
        self.programs.maps.settings.set(0, Value(self.settings), 0)
    }

    /// Takes records from the ring buffer; true when there may be more.
    fn drain(&mut self, ring: &mut RingBuf<MapData>) -> bool {
        for _ in 0..BATCH {
            let Some(item) = ring.next() else { return false };
            match decode(&item) {
                Ok(Record::Sample(sample)) => {
                    let leaf = self.points.get(sample.header.function as usize).map_or(Frame(0), leaf);
                    self.samples.push(sample, leaf);
                }
                Ok(Record::Process { change, process, parent }) => self.processes.changed(change, process, parent),
                Err(_) => self.undecodable += 1,
            }
        }
        true
    }

    /// Reads the exact counters and lets the interval follow them.
    fn observe(&mut self) -> Result<Progress, MapError> {
        let mut bytes = 0u64;
        for slot in 0..self.points.len() as u32 {
            for class in counters::function(&self.programs.maps, slot)? {
                bytes = bytes.wrapping_add(class.bytes);
            }
        }
        let now = Instant::now();
        let new = bytes.wrapping_sub(self.bytes_seen);
        if let Some(interval) = self.control.observe(new, now - self.observed) {
            self.settings.interval = interval;
            self.programs.maps.settings.set(0, Value(self.settings), 0)?;
        }
        (self.bytes_seen, self.observed) = (bytes, now);
        let losses = counters::losses(&self.programs.maps)?;
        Ok(Progress {
            elapsed: now - self.start,
            samples: self.samples.len() as u64,
            bytes,
            lost: counters::loss(&losses, Loss::RingFull)
                + counters::loss(&losses, Loss::ScratchBusy)
                + self.undecodable,
        })
    }
}

/// Attaches to all points, module by module: in one process, or in every process. The points' counters begin at `slot`.
fn attach(
    programs: &mut Programs,
    processes: &Processes,
    points: &[Probed],
    slot: usize,
    scope: Option<NonZeroU32>,
) -> Result<Vec<Probes>, AttachError> {
    let mut modules: Vec<u16> = points.iter().map(|point| point.module).collect();
    modules.sort_unstable();
    modules.dedup();
    let mut attached = Vec::with_capacity(modules.len());
    for module in modules {
        let Some(path) = processes.attach_path(module) else { continue };
        let here: Vec<Point> = (0..=u8::MAX)
            .skip(slot)
            .zip(points)
            .filter(|(_, point)| point.module == module)
            .filter_map(|(slot, point)| {
                Some(Point { file_offset: point.point.file_offset, cookie: point.point.cookie(slot)?.0 })
            })
            .collect();
        match programs.attach(&path, &here, scope) {
            Ok(probes) => attached.push(probes),
            Err(error) => {
                for probes in attached {
                    programs.detach(probes);
                }
                return Err(error);
            }
        }
    }
    Ok(attached)
}

/// The frame of a probed function, for samples whose walk found none.
fn leaf(point: &Probed) -> Frame {
    Frame(u64::from(point.module) << 48 | point.point.instruction_address() & 0xffff_ffff_ffff)
}

/// Registers an owner of a descriptor with the event loop.
fn watch<T: AsRawFd>(owner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: both types that come here own their descriptor and keep it open until they are dropped.
    unsafe { AsyncFd::register_with_interest(owner, Interest::READABLE) }.map_err(io::Error::from)
}

/// Unknown offsets are zero: stacks then end at the trampoline of another tool's return probe, and say so.
fn return_probe_offsets() -> ReturnProbeOffsets {
    std::fs::read("/sys/kernel/btf/vmlinux")
        .ok()
        .and_then(|blob| KernelTypes::parse(&blob)?.return_probes())
        .unwrap_or_default()
}

/// CLOCK_MONOTONIC, the clock of `bpf_ktime_get_ns`.
fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid place for the result; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
