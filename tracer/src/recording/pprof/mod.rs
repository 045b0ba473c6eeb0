//! A recording on disk: a gzip'd pprof file (`.pb.gz`) that `go tool pprof` and its kin can read, and from which tracer
//! gets back every sample as it was.
//!
//! The format is <https://github.com/google/pprof/blob/main/proto/profile.proto>. What tracer makes of it:
//!
//! | pprof | holds |
//! |---|---|
//! | `sample_type` | `alloc_objects/count`, `alloc_space/bytes`, as Go's heap profiles; where releases were followed also `inuse_objects/count`, `inuse_space/bytes`. The last one is the default. Of CPU time `samples/count`, `cpu/nanoseconds`, as Go's CPU profiles; of other sources `page_faults`, `faulted_space` and the like |
//! | `sample` | one for each recorded sample; its values are the estimates of [`crate::estimate`], scaled to the exact counters and rounded so that the sum of each stack is right |
//! | `label` | what the sample was: `bytes` (of the block) or `tick` (nanoseconds of CPU time), `interval`, `time` (since the start), `pid`, `tid`, `thread`, `counter`, `epoch`, `fp_frames`, `truncated` (why), `in_use` or `released` (when) and `released_by` (which thread); what is absent is 0 or empty |
//! | `mapping` | modules with build id; `has_functions` is set: nobody needs to symbolize again |
//! | `location` | frames, innermost inlined line first; `address` = mapping start - file offset + ELF address, the process address in files whose text has equal offsets and addresses |
//! | `function` | `system_name` is the mangled name; empty where it is the same as `name`, because pprof strips template arguments from names that equal it |
//! | `period` | mean bytes between samples (the largest, where it changed), or nanoseconds between ticks |
//! | `comment` | a line for people; then [`About`](super::About) and table sizes as JSON |
//!
//! Two kinds of rows exist only for readers that know nothing of tracer, and are dropped when tracer reads the file: a
//! root frame `[truncated: why]`, and one sample for what is [unattributed](crate::estimate::strata). Their functions
//! and locations stand behind the real ones.
//!
//! A recording comes back equal if its stacks are distinct, in order of their first sample, and each has one, as in
//! recordings that tracer makes; and if each function has a system name.

mod envelope;
mod proto;
mod read;
mod tables;
mod wire;
mod write;

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod tests;

pub use read::{Limits, ReadError, read};
pub use write::write;

/// Keys of labels.
mod key {
    pub const BYTES: &str = "bytes";
    pub const TICK: &str = "tick";
    pub const INTERVAL: &str = "interval";
    pub const TIME: &str = "time";
    pub const PROCESS: &str = "pid";
    pub const THREAD: &str = "tid";
    pub const THREAD_NAME: &str = "thread";
    pub const COUNTER: &str = "counter";
    pub const EPOCH: &str = "epoch";
    pub const IN_USE: &str = "in_use";
    pub const RELEASED: &str = "released";
    pub const RELEASED_BY: &str = "released_by";
    pub const FRAME_POINTER_FRAMES: &str = "fp_frames";
    pub const TRUNCATED: &str = "truncated";
    pub const UNATTRIBUTED: &str = "unattributed";
}

/// The pprof address of a location in a module.
fn pprof_address(module: &super::Module, address: u64) -> u64 {
    address.wrapping_add(module.start).wrapping_sub(module.file_offset)
}

/// Its inverse.
fn elf_address(module: &super::Module, address: u64) -> u64 {
    address.wrapping_sub(module.start).wrapping_add(module.file_offset)
}
