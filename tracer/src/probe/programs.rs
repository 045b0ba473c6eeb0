//! The loaded BPF object: maps, tracepoint programs, allocation program.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    sync::Arc,
};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Array, ArrayOfMaps, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf, StackTraceMap},
    programs::ProgramError,
};
use tracer_ebpf::abi::{
    allocation::FunctionCounters,
    process::{Changes, Process},
    settings::Settings,
    unwind::Rule,
};

use super::{
    OBJECT,
    attacher::Attacher,
    kernel_event::{AttachedEvent, KernelEvent, attach_tracepoint},
    live::{LiveOptions, LivePrograms, map_sizes},
    meter::Meter,
    multi::{LinkKind, MultiError, MultiProgram, release},
    perf_event::PerfEvent,
    settings::SharedSettings,
    tracepoint::Tracefs,
    value::{Shard, Value},
};

/// Why the kernel side could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The object or its maps.
    #[error("loading the BPF object failed: {0}")]
    Object(#[from] EbpfError),
    /// A map.
    #[error("BPF map: {0}")]
    Map(#[from] MapError),
    /// A program.
    #[error("loading the BPF program {name} failed: {source}")]
    Program {
        /// The program.
        name: &'static str,
        /// What aya or the kernel said.
        source: Box<ProgramError>,
    },
    /// The allocation program.
    #[error("loading the allocation program failed: {0}")]
    Allocation(#[from] MultiError),
    /// A perf event.
    #[error("cannot attach {name} to the kernel's perf events (needs CAP_PERFMON or CAP_SYS_ADMIN): {source}")]
    PerfEvent {
        /// The program.
        name: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The programs that follow blocks.
    #[error("blocks cannot be followed: {0}; record without --live")]
    Live(#[source] MultiError),
    /// This kernel's return probes.
    #[error(
        "--live needs return probes, and this kernel's would end every process that has or sets a seccomp filter \
         (Linux 6.11 to 6.13 did so); update the kernel, or record without --live"
    )]
    ReturnProbes,
    /// Whether they are safe cannot be found out.
    #[error("cannot find out whether return probes are safe here: {0}; record without --live")]
    Untried(Box<dyn std::error::Error + Send + Sync>),
    /// tracefs cannot be opened.
    #[error("cannot open tracefs (needs CAP_SYS_ADMIN and CONFIG_FTRACE): {0}")]
    Tracefs(io::Error),
    /// A tracepoint.
    #[error("cannot attach to the kernel tracepoint {category}:{name}: {source}")]
    Tracepoint {
        /// Its category.
        category: &'static str,
        /// Its name.
        name: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What the programs run with.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// See [`Settings`].
    pub settings: Settings,
    /// Size of the ring buffer in bytes: a power of two, at least a page.
    pub ring_bytes: u32,
    /// Whether blocks are followed to their release, and how many.
    pub live: Option<LiveOptions>,
}

/// The loaded programs. Dropping them detaches everything and frees all kernel memory.
pub struct Programs {
    /// The maps, each under its name in `tracer-ebpf/src/maps.rs`.
    pub maps: Maps,
    /// What the allocation program counts, for another thread to read.
    pub meter: Option<Meter>,
    pub(super) ebpf: Ebpf,
    pub(super) multi: Result<Arc<MultiProgram>, MultiError>,
    /// What follows blocks.
    pub live: Option<LivePrograms>,
    pub(super) calibration: BTreeMap<&'static str, MultiProgram>,
    _tracepoints: Vec<PerfEvent>,
    event: Option<AttachedEvent>,
}

/// The maps that user space uses.
#[expect(missing_docs, reason = "documented where they are defined, in tracer-ebpf/src/maps.rs")]
pub struct Maps {
    pub settings: SharedSettings,
    pub counters: PerCpuArray<MapData, Value<FunctionCounters>>,
    pub losses: PerCpuArray<MapData, u64>,
    pub processes: HashMap<MapData, u32, Value<Process>>,
    pub changes: HashMap<MapData, u32, Value<Changes>>,
    pub rules: Array<MapData, Value<Rule>>,
    pub shards: ArrayOfMaps<MapData, Array<MapData, Value<Shard>>>,
    pub events: Option<RingBuf<MapData>>,
}

/// Programs that follow what happens to processes, and where they attach.
pub(super) const TRACEPOINTS: [(&str, &str, &str); 13] = [
    ("munmap_enter", "syscalls", "sys_enter_munmap"),
    ("mremap_enter", "syscalls", "sys_enter_mremap"),
    ("mmap_enter", "syscalls", "sys_enter_mmap"),
    ("mprotect_enter", "syscalls", "sys_enter_mprotect"),
    ("mprotect_enter", "syscalls", "sys_enter_pkey_mprotect"),
    ("mapping_exit", "syscalls", "sys_exit_mmap"),
    ("mapping_exit", "syscalls", "sys_exit_mprotect"),
    ("mapping_exit", "syscalls", "sys_exit_pkey_mprotect"),
    ("mapping_exit", "syscalls", "sys_exit_mremap"),
    ("mapping_exit", "syscalls", "sys_exit_munmap"),
    ("task_new", "task", "task_newtask"),
    ("task_exec", "sched", "sched_process_exec"),
    ("task_exit", "sched", "sched_process_exit"),
];

/// Programs that no recording uses, see `tracer-ebpf/src/calibration.rs`: what a hit costs at least, the walk alone, and the
/// kernel's own walk by frame pointers.
pub const CALIBRATION: [&str; 3] = ["empty", "walk", "stackid"];

impl Programs {
    /// Loads everything and attaches the tracepoints; allocation probes come later, by [`super::uprobes`].
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(options: &Options) -> Result<Self, LoadError> {
        Self::load_all(options, &[], None)
    }

    /// As [`Self::load`], attaching through another process.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load_through(options: &Options, attacher: &Arc<Attacher>) -> Result<Self, LoadError> {
        Self::load_all(options, &[], Some(attacher))
    }

    /// As [`Self::load`], with some of the programs of [`CALIBRATION`], for [`Self::attach_program`].
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load_with(options: &Options, calibration: &[&'static str]) -> Result<Self, LoadError> {
        Self::load_all(options, calibration, None)
    }

    fn load_all(
        options: &Options,
        calibration: &[&'static str],
        attacher: Option<&Arc<Attacher>>,
    ) -> Result<Self, LoadError> {
        let mut loader = EbpfLoader::new();
        loader.map_max_entries("EVENTS", options.ring_bytes);
        for (name, entries) in options.live.map(map_sizes).into_iter().flatten() {
            loader.map_max_entries(name, entries);
        }
        let mut ebpf = loader.load(OBJECT)?;
        let load = |name| MultiProgram::load(OBJECT, name, LinkKind::Entry, |name| ebpf.map(name).and_then(map_fd));
        let multi = load("allocation").map(|program| Arc::new(program.through(attacher)));
        let calibration = calibration.iter().map(|&name| Ok((name, load(name)?))).collect::<Result<_, MultiError>>()?;
        let live = options.live.map(|live| LivePrograms::load(&mut ebpf, live, attacher)).transpose()?;
        let tracepoints = attach_tracepoints(&mut ebpf)?;
        let meter = Meter::new(|name| ebpf.map(name).and_then(map_fd))?;
        let maps = Maps {
            settings: SharedSettings::new(typed(&mut ebpf, "SETTINGS")?, options.settings)?,
            counters: typed(&mut ebpf, "COUNTERS")?,
            losses: typed(&mut ebpf, "LOSSES")?,
            processes: typed(&mut ebpf, "PROCESSES")?,
            changes: typed(&mut ebpf, "CHANGES")?,
            rules: typed(&mut ebpf, "RULES")?,
            shards: typed(&mut ebpf, "SHARDS")?,
            events: Some(typed(&mut ebpf, "EVENTS")?),
        };
        Ok(Self { maps, meter: Some(meter), ebpf, multi, live, calibration, _tracepoints: tracepoints, event: None })
    }

    /// Has samples taken at an event of the kernel, in place of the one before.
    ///
    /// # Errors
    /// See [`KernelEvent::attach`].
    pub fn attach_event(&mut self, event: KernelEvent) -> Result<(), LoadError> {
        self.event = Some(event.attach(&mut self.ebpf)?);
        Ok(())
    }

    /// Ends that.
    pub fn detach_event(&mut self) {
        self.event = None;
    }

    /// Why the kernel has no multi links; `None` where it has them.
    pub fn multi_refused(&self) -> Option<&MultiError> {
        self.multi.as_ref().err()
    }

    /// Whether probes of one process go on to see its threads when the main one has ended. Links are held against the process since
    /// Linux 6.12, before that, as perf events are, against the memory of its main thread (`uprobe_multi_link_handler` and
    /// `uprobe_multi_prog_run` in kernel/trace/bpf_trace.c, `uprobe_perf_filter` in kernel/trace/trace_uprobe.c).
    pub fn probes_outlive_main_thread(&self) -> bool {
        self.multi.is_ok() && is_at_least(&release(), (6, 12))
    }

    /// The allocation program for multi links, where the kernel has them: for other threads to attach.
    pub fn allocation(&self) -> Option<Arc<MultiProgram>> {
        self.multi.as_ref().ok().cloned()
    }

    /// Takes the map with the stacks of the program `stackid`.
    ///
    /// # Errors
    /// When it was taken before.
    pub fn take_stacks(&mut self) -> Result<StackTraceMap<MapData>, LoadError> {
        typed(&mut self.ebpf, "STACKS")
    }

    /// How many instructions the verifier followed in each loaded program, over all paths. It gives up at a million
    /// (`BPF_COMPLEXITY_LIMIT_INSNS` in include/linux/bpf.h).
    ///
    /// # Errors
    /// Before Linux 5.16, which does not say.
    pub fn verified_instructions(&self) -> io::Result<BTreeMap<String, u64>> {
        let tracepoints = self.ebpf.programs().filter_map(|(name, program)| Some((name, program.fd().ok()?.as_fd())));
        let multi = self.multi.iter().map(|program| ("allocation", program.fd()));
        let calibration = self.calibration.iter().map(|(name, program)| (*name, program.fd()));
        let live = self.live.iter().flat_map(LivePrograms::programs);
        let programs = tracepoints.chain(multi).chain(live).chain(calibration);
        programs.map(|(name, fd)| Ok((name.to_owned(), verified_instructions(fd)?))).collect()
    }
}

/// `verified_insns` of a program's `/proc/self/fdinfo` (`bpf_prog_show_fdinfo` in kernel/bpf/syscall.c).
fn verified_instructions(program: BorrowedFd<'_>) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("verified_insns:"));
    line.and_then(|count| count.trim().parse().ok()).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

fn attach_tracepoints(ebpf: &mut Ebpf) -> Result<Vec<PerfEvent>, LoadError> {
    let tracefs = Tracefs::open().map_err(LoadError::Tracefs)?;
    let attach = |&(name, category, event)| match attach_tracepoint(ebpf, &tracefs, name, category, event) {
        Err(LoadError::Tracepoint { source, .. }) if may_be_missing(event, &source) => None,
        attached => Some(attached),
    };
    TRACEPOINTS.iter().filter_map(attach).collect()
}

/// Whether a kernel's release is this version or later; false where it does not say.
fn is_at_least(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= version)
}

/// Whether a tracepoint cannot be found because the kernel has no such system call: kernels without memory protection keys
/// (`CONFIG_ARCH_HAS_PKEYS`).
pub(super) fn may_be_missing(event: &str, error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound && event.ends_with("_pkey_mprotect")
}

/// Takes a map out of the object, as the type that it is declared with.
fn typed<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, LoadError> {
    let map = ebpf.take_map(name).ok_or_else(|| MapError::InvalidName { name: name.to_owned() })?;
    Ok(T::try_from(map)?)
}

pub(super) fn map_fd(map: &Map) -> Option<BorrowedFd<'_>> {
    match map {
        Map::Array(data)
        | Map::PerCpuArray(data)
        | Map::HashMap(data)
        | Map::RingBuf(data)
        | Map::StackTraceMap(data)
        | Map::ArrayOfMaps(data) => Some(data.fd().as_fd()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        for (release, expected) in [
            ("6.12.0-amd64", true),
            ("6.18.44", true),
            ("7.0-rc1", true),
            ("6.9.12", false),
            ("5.17", false),
            ("6", false),
            ("6.", false),
            ("", false),
        ] {
            assert_eq!(is_at_least(release, (6, 12)), expected, "{release}");
        }
    }
}
