//! `perf_event_open(2)`, as far as BPF programs need it: an event, a program on it, no buffer.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

/// An event with a BPF program on it; closing it detaches.
#[derive(Debug)]
pub struct PerfEvent {
    _event: OwnedFd,
}

/// What happens, and how often the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tracepoint by its id. Its program runs every time and on all CPUs, whichever one the event is opened on: it belongs to
    /// the tracepoint (kernel/trace/bpf_trace.c, perf_event_attach_bpf_prog).
    Tracepoint(u64),
    /// The clock of a CPU, at every `period` nanoseconds; not while the CPU is idle.
    CpuClock {
        /// See the variant.
        period: u64,
    },
    /// Every page fault on a CPU.
    PageFaults,
}

pub(super) const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_COUNT_SW_CPU_CLOCK: u64 = 0;
const PERF_COUNT_SW_PAGE_FAULTS: u64 = 2;
/// Bits of `perf_event_attr`, include/uapi/linux/perf_event.h.
const DISABLED: u64 = 1;
const EXCLUDE_IDLE: u64 = 1 << 7;
const PERF_FLAG_FD_CLOEXEC: u64 = 8;
/// `_IOW('$', 8, u32)`, include/uapi/linux/perf_event.h.
const PERF_EVENT_IOC_SET_BPF: libc::Ioctl = 0x4004_2408;
/// `_IO('$', 0)`.
const PERF_EVENT_IOC_ENABLE: libc::Ioctl = 0x2400;

/// The head of `struct perf_event_attr` (PERF_ATTR_SIZE_VER0); all else is zero.
#[repr(C)]
#[derive(Default)]
pub(super) struct Attribute {
    kind: u32,
    /// [`open`] fills it in.
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
}

impl Kind {
    fn attribute(self) -> Attribute {
        let (kind, config, sample_period, flags) = match self {
            Self::Tracepoint(id) => (PERF_TYPE_TRACEPOINT, id, 0, DISABLED),
            Self::CpuClock { period } => (PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK, period, DISABLED | EXCLUDE_IDLE),
            Self::PageFaults => (PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS, 1, DISABLED),
        };
        Attribute { sample_period, ..Attribute::of(kind, config, flags) }
    }
}

impl Attribute {
    /// Of an event that is only counted.
    pub(super) fn of(kind: u32, config: u64, flags: u64) -> Self {
        Self { kind, config, flags, ..Self::default() }
    }
}

impl PerfEvent {
    /// Runs a loaded program whenever the event happens on a CPU, in whatever process.
    ///
    /// # Errors
    /// What the kernel says; ENODEV for a CPU that is offline.
    pub fn attach(program: BorrowedFd<'_>, kind: Kind, cpu: u32) -> io::Result<Self> {
        let event = open(&kind.attribute(), -1, cpu.cast_signed())?;
        ioctl(&event, PERF_EVENT_IOC_SET_BPF, program.as_raw_fd())?;
        ioctl(&event, PERF_EVENT_IOC_ENABLE, 0)?;
        Ok(Self { _event: event })
    }
}

/// Opens an event of a thread, or of all (-1), on a CPU, or on all (-1).
pub(super) fn open(attribute: &Attribute, thread: i32, cpu: i32) -> io::Result<OwnedFd> {
    let attribute = Attribute { size: size_of::<Attribute>() as u32, ..*attribute };
    let attribute = std::ptr::from_ref(&attribute);
    // SAFETY: a valid attribute that says its size.
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, attribute, thread, cpu, -1, PERF_FLAG_FD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system call returned a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn ioctl(fd: &OwnedFd, request: libc::Ioctl, argument: i32) -> io::Result<()> {
    // SAFETY: a valid descriptor and an integer argument.
    if unsafe { libc::ioctl(fd.as_raw_fd(), request, argument) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
