//! Events of the kernel that samples are taken at, in place of allocation probes.

use std::{io, os::fd::AsFd as _};

use aya::{
    Ebpf,
    programs::{PerfEvent as PerfEventProgram, ProgramError, TracePoint},
    util::online_cpus,
};

use super::{
    perf_event::{Kind, PerfEvent},
    programs::LoadError,
    tracepoint::Tracefs,
};
use crate::recording::about::Source;

/// What samples are taken at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelEvent {
    /// Ticks of the CPUs' clocks. It is a clock that time is measured by and not a counter of cycles: ticks are of one length
    /// whatever the CPU's frequency is, and virtual machines have it too. Kernel code that runs with interrupts disabled is seen
    /// where it enables them.
    Cpu {
        /// Nanoseconds between ticks.
        period_ns: u64,
    },
    /// Page faults.
    PageFaults,
    /// Anonymous memory that `mmap` maps, and growth by `mremap`.
    Mmap,
    /// Growth of the program break.
    Brk,
}

/// An attached event. Dropping it detaches, and waits until no program of it runs.
#[derive(Debug)]
pub struct AttachedEvent {
    _events: Vec<PerfEvent>,
}

/// Programs and the tracepoints that they attach to.
const MMAP: [(&str, &str); 2] = [("mmap_growth", "sys_exit_mmap"), ("mremap_growth", "sys_exit_mremap")];
const BRK: [(&str, &str); 2] = [("brk_enter", "sys_enter_brk"), ("brk_growth", "sys_exit_brk")];
const SYSTEM_CALLS: &str = "syscalls";

impl KernelEvent {
    /// One of each.
    pub const ALL: [Self; 4] = [Self::Cpu { period_ns: 10_101_010 }, Self::PageFaults, Self::Mmap, Self::Brk];

    /// What its samples are, in a recording.
    pub fn source(self) -> Source {
        match self {
            Self::Cpu { .. } => Source::Cpu,
            Self::PageFaults => Source::PageFaults,
            Self::Mmap => Source::Mmap,
            Self::Brk => Source::Brk,
        }
    }

    /// What is counted exactly, by counter slot (tracer-ebpf/src/growth.rs).
    pub fn counters(self) -> &'static [&'static str] {
        match self {
            Self::Cpu { .. } => &[],
            Self::PageFaults => &["page fault"],
            Self::Mmap => &["mmap", "mremap"],
            Self::Brk => &["brk"],
        }
    }

    /// Loads its programs and attaches them, on all CPUs that are online and for all processes; the programs themselves leave
    /// out those that are not traced.
    ///
    /// # Errors
    /// [`LoadError`]; nothing stays attached then. Programs for perf events load from Linux 6.1 on: before it they must not look
    /// into hash maps that are not allocated in advance.
    pub fn attach(self, ebpf: &mut Ebpf) -> Result<AttachedEvent, LoadError> {
        let events = match self {
            Self::Cpu { period_ns } => on_every_cpu(ebpf, "cpu_tick", Kind::CpuClock { period: period_ns })?,
            Self::PageFaults => on_every_cpu(ebpf, "page_fault", Kind::PageFaults)?,
            Self::Mmap => on_tracepoints(ebpf, &MMAP)?,
            Self::Brk => on_tracepoints(ebpf, &BRK)?,
        };
        Ok(AttachedEvent { _events: events })
    }
}

fn on_every_cpu(ebpf: &mut Ebpf, name: &'static str, kind: Kind) -> Result<Vec<PerfEvent>, LoadError> {
    let failed = |source| LoadError::Program { name, source: Box::new(source) };
    let program: &mut PerfEventProgram =
        ebpf.program_mut(name).ok_or_else(|| failed(ProgramError::NotLoaded))?.try_into().map_err(failed)?;
    if program.fd().is_err() {
        program.load().map_err(failed)?;
    }
    let fd = program.fd().map_err(failed)?;
    let unattached = |source| LoadError::PerfEvent { name, source };
    let cpus = online_cpus().map_err(|(_, source)| unattached(source))?;
    cpus.into_iter().map(|cpu| PerfEvent::attach(fd.as_fd(), kind, cpu).map_err(unattached)).collect()
}

fn on_tracepoints(ebpf: &mut Ebpf, points: &[(&'static str, &'static str)]) -> Result<Vec<PerfEvent>, LoadError> {
    let tracefs = Tracefs::open().map_err(LoadError::Tracefs)?;
    points.iter().map(|&(name, event)| attach_tracepoint(ebpf, &tracefs, name, SYSTEM_CALLS, event)).collect()
}

/// Loads a program and attaches it to a tracepoint.
pub(super) fn attach_tracepoint(
    ebpf: &mut Ebpf,
    tracefs: &Tracefs,
    name: &'static str,
    category: &'static str,
    event: &'static str,
) -> Result<PerfEvent, LoadError> {
    let failed = |source| LoadError::Program { name, source: Box::new(source) };
    let program: &mut TracePoint =
        ebpf.program_mut(name).ok_or_else(|| failed(ProgramError::NotLoaded))?.try_into().map_err(failed)?;
    if program.fd().is_err() {
        program.load().map_err(failed)?;
    }
    let fd = program.fd().map_err(failed)?;
    let unattached = |source: io::Error| LoadError::Tracepoint { category, name: event, source };
    tracefs.attach(fd.as_fd(), category, event).map_err(unattached)
}
