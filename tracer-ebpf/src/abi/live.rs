//! Blocks that are followed from their allocation to their release.
//!
//! A sampled block is told from all others by its allocating thread and the time of its sample: one thread takes no two
//! samples at once.

/// Calls that can be followed at once: threads inside an allocator, in a sampled call.
pub const MAX_CALLS: u32 = 16_384;

/// Where a followed block is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockKey {
    /// Its address, which the program knows it by.
    pub pointer: u64,
    /// Thread group id: a forked child has blocks at the same addresses.
    pub process: u32,
    /// Always 0.
    pub padding: u32,
}

/// A followed block.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// `time_ns` of its sample; 0 for none.
    pub time_ns: u64,
    /// When it was released; 0 while it is in use. Released blocks stay only where the ring buffer had no room for their
    /// [`Release`].
    pub released_ns: u64,
    /// `thread` of its sample.
    pub thread: u32,
    /// The thread that released it.
    pub released_by: u32,
}

/// The record of a followed block's end.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// [`super::sample::RecordKind::Release`].
    pub kind: u32,
    /// A [`ReleaseKind`].
    pub how: u32,
    /// `time_ns` of the block's sample.
    pub allocated_ns: u64,
    /// `bpf_ktime_get_ns`.
    pub time_ns: u64,
    /// `thread` of the block's sample.
    pub allocated_by: u32,
    /// The thread that released it.
    pub thread: u32,
}

/// How a followed block ended.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseKind {
    /// It was given back, or resized: what a resize returns is another block, even at the same address.
    Released = 1,
    /// Its address was handed out again, though no release was seen.
    HandedOutAgain = 2,
}

/// A call that is followed to its return.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallKey {
    /// Address of the stack slot that holds the return address: calls that are under way in one thread differ in it.
    pub frame: u64,
    /// Thread id.
    pub thread: u32,
    /// Slot of the function: one that jumps to another shares the stack slot with it. [`AT_EXITS`] where a probe at an exit
    /// sees the end.
    pub function: u32,
}

/// See [`CallKey::function`].
pub const AT_EXITS: u32 = u32::MAX;

/// See [`CallKey`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// `time_ns` of the new block's sample; 0 when it is not sampled.
    pub time_ns: u64,
    /// Bytes that it asks for.
    pub size: u64,
    /// Where the callee stores the new block's address; 0 when it returns it.
    pub stored_at: u64,
    /// Address of `old`.
    pub old_pointer: u64,
    /// The followed block that it gives back if it succeeds; without a time where it gives back none.
    pub old: Block,
}

const _: () = assert!(size_of::<BlockKey>() == 16 && size_of::<Block>() == 24);
const _: () = assert!(size_of::<Release>() == 32);
const _: () = assert!(size_of::<CallKey>() == 16 && size_of::<Call>() == 56);
