//! What user space tells the programs, and what they count besides allocations.

use super::allocation::MAX_FUNCTIONS;

/// The one entry of the map `SETTINGS`; may change while the programs run.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Mean bytes between samples; 0 samples every allocation.
    pub interval: u64,
    /// Frames of a stack at most, up to [`super::sample::MAX_FRAMES`].
    pub max_frames: u32,
    /// 0 while hits must neither count nor sample: before every probe is in place.
    pub enabled: u32,
    /// Wake user space when this many bytes wait in the ring buffer.
    pub wakeup_bytes: u64,
    /// 1 when children of traced processes are traced too.
    pub follow_children: u32,
    /// Always 0.
    pub padding: u32,
}

/// Per-CPU counters of what went wrong, by index into the map `LOSSES`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// A sample found the ring buffer full.
    RingFull = 0,
    /// A sample found all scratch slots of its CPU in use.
    ScratchBusy = 1,
    /// A process event found the ring buffer full.
    EventRingFull = 2,
    /// A child did not fit the process map.
    ProcessMapFull = 3,
}

/// Entries of `LOSSES`.
pub const LOSS_COUNT: u32 = 4;

const _: () = assert!(size_of::<Settings>() == 32);
const _: () = assert!(MAX_FUNCTIONS <= 256);
