//! A run: attach, follow, collect, detach.

mod attach;
mod collect;
mod finish;
mod heap;
mod run;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Instant, SystemTime},
};

use aya::maps::MapError;
use tracer_ebpf::abi::settings::Settings;

use super::{
    attached::Attached,
    child::Child,
    cost::{Calibrating, Own},
    cpu::CpuClocks,
    discover::{DiscoverError, Wanted},
    error::SessionError,
    interval::IntervalControl,
    late::Late,
    live::Blocks,
    processes::Processes,
    request::Request,
    resident::Resident,
    room::Room,
    samples::Samples,
    searched::Searched,
    thin::Unit,
    windows::handle::{Begin, Windows},
};
use crate::{
    probe::{
        attacher::Attacher,
        kernel_event::KernelEvent,
        kernel_types::KernelTypes,
        programs::{Options, Programs},
    },
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
    /// Processes in which another thread than the main one has run a program.
    replaced: BTreeSet<u32>,
    /// At the last look a target had no main thread any more.
    main_thread_ended: bool,
    /// Events that were lost: an execution may have gone unseen.
    events_lost: u64,
    targets: Vec<Process>,
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

impl Session {
    /// Loads. Nothing is attached to any process yet.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn new(request: Request) -> Result<Self, SessionError> {
        let attacher = Arc::new(Attacher::start().map_err(SessionError::Attacher)?);
        let control = request.interval_control();
        // Unknown offsets are zero: stacks then end at the trampoline of another tool's return probe, and say so.
        let blob = std::fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default();
        let types = KernelTypes::parse(&blob);
        let program_break = types.as_ref().and_then(KernelTypes::program_break);
        if request.event == Some(KernelEvent::Brk) && program_break.is_none() {
            return Err(SessionError::NoBreak);
        }
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
            program_break: program_break.unwrap_or_default(),
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
            replaced: BTreeSet::new(),
            main_thread_ended: false,
            events_lost: 0,
            targets: Vec::new(),
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

    /// Begins to count and sample.
    ///
    /// # Errors
    /// [`SessionError::Map`]; [`SessionError::Load`] for an event of the kernel; [`SessionError::Discover`] when no process has a
    /// function that the user names. A program that tracer started may yet run another one.
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

    /// The processes that the kernel side follows now.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn followed(&self) -> Result<Vec<u32>, MapError> {
        self.programs.maps.processes.keys().collect()
    }

    /// The processes whose removals of mappings the kernel side counts: the same.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn watched(&self) -> Result<Vec<u32>, MapError> {
        self.programs.maps.changes.keys().collect()
    }

    /// Counter slots in use.
    fn slots(&self) -> u32 {
        let of_event = self.request.event.map_or(0, |event| event.counters().len());
        (self.attached.points().len() + of_event) as u32
    }
}

/// How many bytes in the ring buffer are worth waking up for. Where the room for live blocks is small, it must be seen in time
/// that it runs out.
fn wakeup_bytes(request: &Request) -> u64 {
    const OF_A_SAMPLE: u64 = 128;
    let of_ring = u64::from(request.ring_bytes) / 4;
    request.live.map_or(of_ring, |live| of_ring.min(u64::from(live.blocks) / 8 * OF_A_SAMPLE))
}

/// CLOCK_MONOTONIC, the clock of `bpf_ktime_get_ns`.
pub(super) fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}
