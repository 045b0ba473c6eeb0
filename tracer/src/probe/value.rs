//! ABI types as map values.

use tracer_ebpf::abi::{
    allocation::{Countdown, FunctionCounters},
    process::{Changes, Process},
    settings::Settings,
    unwind::{Rule, SHARD_WORDS},
};

/// A value that may cross to the kernel: any bit pattern is valid, no padding.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct Value<T>(pub T);

// SAFETY: repr(C) integers with explicit padding only (asserted in tracer-ebpf).
unsafe impl aya::Pod for Value<Settings> {}
// SAFETY: as above.
unsafe impl aya::Pod for Value<FunctionCounters> {}
// SAFETY: as above.
unsafe impl aya::Pod for Value<Countdown> {}
// SAFETY: as above.
unsafe impl aya::Pod for Value<Process> {}
// SAFETY: as above.
unsafe impl aya::Pod for Value<Changes> {}
// SAFETY: as above.
unsafe impl aya::Pod for Value<Rule> {}
// SAFETY: as above.
unsafe impl aya::Pod for Value<Shard> {}

/// A shard of unwind tables, 1 MiB: never on the stack.
pub type Shard = [u32; SHARD_WORDS as usize];
