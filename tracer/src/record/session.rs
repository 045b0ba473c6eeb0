//! A run: attach, follow, collect, detach.

mod collect;
mod finish;
mod heap;

use std::{
    io,
    num::NonZeroU32,
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use aya::maps::MapError;
use tokio::io::{Interest, unix::AsyncFd};
use tracer_ebpf::abi::settings::Settings;

use super::{
    attached::{Attached, Scope},
    child::Child,
    cost::{Calibrating, Own},
    cpu::CpuClocks,
    discover::{DiscoverError, Probed, Wanted, discover},
    error::SessionError,
    interval::IntervalControl,
    late::{Late, Outcome},
    live::{self, Blocks},
    processes::{ProcessError, Processes},
    request::{Progress, Request},
    resident::Resident,
    room::Room,
    samples::Samples,
    searched::Searched,
    thin::Unit,
    windows::handle::{Begin, Windows},
};
use crate::{
    allocators::Role,
    probe::{
        attacher::Attacher,
        kernel_event::KernelEvent,
        kernel_types::KernelTypes,
        programs::{Options, Programs},
    },
    recording::about::Ended,
    symbolize::NameSources,
    target::{Modules, Process},
};

/// A run under way.
pub struct Session {
    pub(super) programs: Programs,
    pub(super) attached: Attached,
    pub(super) processes: Processes,
    wanted: Arc<Wanted>,
    searched: Searched,
    late: Late,
    cpu: CpuClocks,
    /// What a hit costs, while it is being measured.
    calibrating: Calibrating,
    windows: Option<Windows>,
    /// Puts probes in and takes them out.
    attacher: Arc<Attacher>,
    spent: Own,
    /// The program that tracer started.
    pub(super) child: Option<Child>,
    /// How often it was seen to run a program.
    pub(super) executions: u64,
    /// How often it was followed to a new program.
    pub(super) executions_followed: u64,
    /// Events were lost, so that an execution may have gone unseen.
    events_lost: bool,
    targets: Vec<Process>,
    names: Vec<NameSources>,
    samples: Samples,
    /// For samples of blocks that are not in use.
    room: Room,
    /// Sampled blocks, where they are followed.
    blocks: Option<Blocks>,
    resident: Resident,
    control: IntervalControl,
    request: Request,
    undecodable: u64,
    started: SystemTime,
    start: Instant,
    start_ns: u64,
    /// What the interval was last fitted to, and when.
    bytes_seen: u64,
    observed: Instant,
    /// When the counters were last read.
    looked: Instant,
}

/// How often the ring buffer is looked at when nobody wakes us, and the counters are read.
const LOOK: Duration = Duration::from_millis(100);
/// The same during the first [`SETTLING`]: until the interval fits the target's rate.
const LOOK_AT_FIRST: Duration = Duration::from_millis(10);
/// See [`LOOK_AT_FIRST`].
const SETTLING: Duration = Duration::from_millis(100);

impl Session {
    /// Loads. Nothing is attached to any process yet.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn new(request: Request) -> Result<Self, SessionError> {
        let attacher = Arc::new(Attacher::start().map_err(SessionError::Attacher)?);
        let control = request.interval_control();
        // Unknown offsets are zero: stacks then end at the trampoline of another tool's return probe, and say so;
        // the program break is not followed.
        let blob = std::fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default();
        let types = KernelTypes::parse(&blob);
        let settings = Settings {
            interval: control.interval(),
            max_frames: request.max_frames,
            enabled: 0,
            wakeup_bytes: wakeup_bytes(&request),
            follow_children: u32::from(request.children),
            launched: 0,
            tracer: std::process::id(),
            return_probes: types.as_ref().and_then(KernelTypes::return_probes).unwrap_or_default(),
            parents: types.as_ref().and_then(KernelTypes::parents).unwrap_or_default(),
            program_break: types.as_ref().and_then(KernelTypes::program_break).unwrap_or_default(),
        };
        let options = Options { settings, ring_bytes: request.ring_bytes, live: request.live };
        let mut programs = Programs::load_through(&options, &attacher)?;
        let calibrating = match request.event {
            None => Calibrating::begin(&mut programs),
            Some(_) => Calibrating::none(),
        };
        let wanted = Arc::new(Wanted { releases: request.live.is_some(), ..Wanted::default() });
        let unit = if matches!(request.event, Some(KernelEvent::Cpu { .. })) { Unit::Time } else { Unit::Bytes };
        let now = Instant::now();
        Ok(Self {
            programs,
            attached: Attached::default(),
            processes: Processes::new(Modules::new(), request.table_bytes),
            wanted: Arc::clone(&wanted),
            searched: Searched::default(),
            late: Late::new(wanted),
            cpu: CpuClocks::default(),
            calibrating,
            windows: None,
            spent: Own::now(&attacher),
            attacher,
            child: None,
            executions: 0,
            executions_followed: 0,
            events_lost: false,
            targets: Vec::new(),
            names: Vec::new(),
            samples: Samples::default(),
            room: Room::new(request.max_samples, unit, monotonic_ns()),
            blocks: request.live.map(|live| Blocks::new(live.blocks, monotonic_ns())),
            resident: Resident::begin(&[]),
            control,
            request,
            undecodable: 0,
            started: SystemTime::now(),
            start: now,
            start_ns: monotonic_ns(),
            bytes_seen: 0,
            observed: now,
            looked: now,
        })
    }

    /// Says what to count, before anything is looked for.
    #[must_use]
    pub fn counting(self, wanted: Wanted) -> Self {
        let wanted = Arc::new(Wanted { releases: self.request.live.is_some(), ..wanted });
        Self { late: Late::new(Arc::clone(&wanted)), wanted, ..self }
    }

    /// Chooses the functions of a process to probe: none where samples are taken at an event of the kernel.
    ///
    /// # Errors
    /// When its mappings cannot be read, nothing in it is known to allocate, or what the user names cannot be probed; when blocks
    /// are to be followed and none can be.
    pub fn discover(&mut self, target: &Process) -> Result<Vec<Probed>, SessionError> {
        if self.request.event.is_some() {
            return Ok(Vec::new());
        }
        let scan = self.processes.scan(target.pid)?;
        let found = discover(self.processes.modules(), target.pid, &scan, &self.wanted);
        self.searched.note(&found);
        let found = found.usable()?;
        match live::first_unseen(&found) {
            Some((family, why)) if !found.iter().any(live::is_followed) => {
                Err(SessionError::NothingToFollow { process: target.pid, family, why })
            }
            _ => Ok(found),
        }
    }

    /// Prepares a process's tables and probes these of its functions. A process that was added before, and now runs another
    /// program, takes its own place.
    ///
    /// # Errors
    /// See [`SessionError`]; nothing stays attached when the session is dropped then.
    pub fn add(&mut self, target: Process, points: &[Probed]) -> Result<(), SessionError> {
        let pid = target.pid;
        let names = NameSources::new(&target).map_err(|source| ProcessError::Mappings { process: pid, source })?;
        match self.targets.iter_mut().zip(&mut self.names).find(|(known, _)| known.pid == pid) {
            Some((known, known_names)) => (*known, *known_names) = (target, names),
            None => {
                self.targets.push(target);
                self.names.push(names);
            }
        }
        self.processes.follow(&mut self.programs.maps, pid)?;
        self.late.consider(self.processes.modules());
        let scope = self.scope(pid);
        // Hits of its own must not be counted as those of the target.
        self.calibrating.wait();
        self.attached.attach(&mut self.programs, &self.processes, points, pid, scope)?;
        self.hand_over();
        // Once more, now that the kernel follows the process: what was unmapped while the first copy was made is gone from
        // this one.
        Ok(self.processes.install(&mut self.programs.maps, pid)?)
    }

    /// Begins to count and sample.
    ///
    /// # Errors
    /// [`SessionError::Map`]; [`SessionError::Load`] for an event of the kernel; [`SessionError::Discover`] when no process has a function that the user names. A program that
    /// tracer started may yet run another one.
    pub fn begin(&mut self) -> Result<(), SessionError> {
        if let (None, Some(missed)) = (&self.child, self.searched.missed(&self.wanted).next()) {
            return Err(DiscoverError::from(missed.clone()).into());
        }
        if let Some(event) = self.request.event {
            self.programs.attach_event(event)?;
        }
        (self.started, self.start, self.start_ns) = (SystemTime::now(), Instant::now(), monotonic_ns());
        (self.observed, self.spent) = (self.start, Own::now(&self.attacher));
        if self.blocks.is_some() {
            self.resident = Resident::begin(&self.targets);
        }
        if let Some(event) = self.request.event {
            // Nothing comes and goes: it is in all the time.
            self.cpu.begin(event, &self.targets, self.request.children);
            return Ok(self.programs.maps.settings.change(|settings| settings.enabled = 1)?);
        }
        if let Some(failure) = self.calibrating.failure.take() {
            self.late.note(failure);
        }
        let begin = Begin {
            start: self.start,
            // Blocks are followed all the time: a broken budget ends the recording.
            share: self.request.max_overhead.filter(|_| self.blocks.is_none()),
            calibration: self.calibrating.wait(),
            links: self.attached.take_links(),
            kinds: self.attached.kinds(),
        };
        self.windows = Windows::begin(&mut self.programs, begin)?;
        Ok(())
    }

    /// The processes that were added.
    pub fn targets(&self) -> &[Process] {
        &self.targets
    }

    /// Collects until the duration is over, all targets have ended or `stop` says so.
    ///
    /// # Errors
    /// [`SessionError::Wait`] or [`SessionError::Map`]; what was collected so far stays and can be finished.
    pub async fn run(
        &mut self,
        stop: impl Future<Output = ()>,
        mut show: impl FnMut(Progress),
    ) -> Result<Ended, SessionError> {
        let Some(ring) = self.programs.maps.events.take() else { return Ok(Ended::Interrupted) };
        let mut ring = watch(ring)?;
        let ends: Vec<AsyncFd<OwnedFd>> =
            self.targets.iter().map(|target| watch(target.pidfd().try_clone_to_owned()?)).collect::<io::Result<_>>()?;
        let attacher = watch(self.attacher.end()?)?;
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
                result = all_readable(&ends) => break result.map(|()| Ended::TargetExited),
                // It says nothing: this is its end.
                result = attacher.readable() => break result.map(|_| Ended::ProbesGone),
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
            if self.executions > self.executions_followed
                || self.events_lost && self.child.as_ref().is_some_and(Child::is_stopped)
            {
                self.follow_child()?;
            }
            self.processes.refresh_changed(&mut self.programs.maps)?;
            for (process, scan) in self.processes.arrived().into_iter().filter(|_| self.request.event.is_none()) {
                let (modules, points) = (self.processes.modules(), self.attached.points());
                self.late.scanned(modules, process, &scan, self.start.elapsed(), points);
            }
            self.keep_bounded()?;
            if self.looked.elapsed() >= look {
                show(self.observe()?);
                if self.is_over_budget() {
                    break Ok(Ended::Budget);
                }
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

    /// Attaches to functions of modules that came during the recording. They get counters behind those in use.
    fn attach_late(&mut self, outcome: Outcome) {
        let Outcome { arrival, found } = outcome;
        self.searched.note(&found);
        if found.plan.is_err() {
            return self.late.note_none(&arrival);
        }
        let scope = self.scope(arrival.process);
        for of_module in found.probed.chunk_by(|a, b| a.module == b.module) {
            let process = arrival.process;
            let attached = self.attached.attach(&mut self.programs, &self.processes, of_module, process, scope);
            let result = attached.map(|()| self.start.elapsed()).map_err(|error| error.to_string());
            // One that has only functions that release (of C++ over malloc) counts nothing.
            let Some(first) = of_module.iter().find(|probed| probed.point.role != Role::Release) else { continue };
            let path = self.processes.modules().get(first.module).map_or("", |module| module.path.as_str());
            self.late.note_module(&arrival, path, first.point.family, result);
        }
        self.hand_over();
    }

    /// Gives new links to those who let them come and go.
    fn hand_over(&mut self) {
        if let Some(windows) = &self.windows {
            windows.add(self.attached.take_links(), self.attached.kinds());
        }
    }

    /// Takes away the probes of a process.
    pub(super) fn detach(&mut self, process: NonZeroU32) {
        self.attached.forget_scope(Some(process));
        if let Some(windows) = &self.windows {
            windows.remove(Some(process));
        }
    }

    /// Counter slots in use.
    fn slots(&self) -> u32 {
        let of_event = self.request.event.map_or(0, |event| event.counters().len());
        (self.attached.points().len() + of_event) as u32
    }

    /// Which processes the probes of a process's functions are for.
    fn scope(&self, process: u32) -> Scope {
        if self.request.children { None } else { NonZeroU32::new(process) }
    }
}

/// How many bytes in the ring buffer are worth waking up for. Where the room for live blocks is small, it must be seen in time
/// that it runs out.
fn wakeup_bytes(request: &Request) -> u64 {
    const OF_A_SAMPLE: u64 = 128;
    let of_ring = u64::from(request.ring_bytes) / 4;
    request.live.map_or(of_ring, |live| of_ring.min(u64::from(live.blocks) / 8 * OF_A_SAMPLE))
}

/// Resolves when all descriptors are readable.
async fn all_readable(descriptors: &[AsyncFd<OwnedFd>]) -> io::Result<()> {
    for descriptor in descriptors {
        descriptor.readable().await?.retain_ready();
    }
    Ok(())
}

/// Registers an owner of a descriptor with the event loop.
fn watch<T: AsRawFd>(owner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: both types that come here own their descriptor and keep it open until they are dropped.
    unsafe { AsyncFd::register_with_interest(owner, Interest::READABLE) }.map_err(io::Error::from)
}

/// CLOCK_MONOTONIC, the clock of `bpf_ktime_get_ns`.
fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}
