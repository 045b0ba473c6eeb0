//! Allocation probes: what the attach cookie says about a function, and the counters kept on every hit.

/// Probed functions that have counters of their own.
pub const MAX_FUNCTIONS: u32 = 255;

/// The counter behind those: for functions that tracer probes in a child of its own.
pub const CALIBRATION_SLOT: u8 = MAX_FUNCTIONS as u8;

/// Size classes of the exact counters: class `k` holds sizes in `[2^(k-1), 2^k)`, class 0 holds size 0.
/// Sizes of 2^46 bytes and above share the last class.
pub const SIZE_CLASSES: usize = 48;

/// Bytes that a page fault counts for: a page of x86-64.
pub const PAGE_BYTES: u64 = 4096;

/// The size class of an allocation of `size` bytes.
#[inline(always)]
pub const fn size_class(size: u64) -> usize {
    let class = (u64::BITS - size.leading_zeros()) as usize;
    if class < SIZE_CLASSES { class } else { SIZE_CLASSES - 1 }
}

/// Exact counters of one function on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FunctionCounters {
    /// One entry for each size class.
    pub classes: [ClassCounter; SIZE_CLASSES],
}

/// The sampling process of one CPU: the entry of the map `COUNTDOWN`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Countdown {
    /// Bytes to the next sampled one.
    pub remaining: u64,
    /// Mean with which `remaining` was drawn.
    pub interval: u64,
    /// Counted hits, nearly: a task that preempts another between load and store makes one of the two vanish. User space
    /// reads it often, where the exact counters would be too long.
    pub hits: u64,
}

/// Calls and requested bytes of one size class.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassCounter {
    /// Calls.
    pub calls: u64,
    /// Bytes requested by these calls.
    pub bytes: u64,
}

/// How a function's arguments give the number of bytes it allocates.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeFrom {
    /// The first integer argument: `malloc(size)`.
    Argument0 = 0,
    /// The second: `realloc(p, size)`, `memalign(alignment, size)`.
    Argument1 = 1,
    /// The third: `posix_memalign(&p, alignment, size)`.
    Argument2 = 2,
    /// The product of the first two: `calloc(n, size)`. An overflowing product counts as size 0: the call fails.
    Product01 = 3,
    /// The product of the second and third: `reallocarray(p, n, size)`.
    Product12 = 4,
    /// The fourth: Rust's `__rust_realloc(p, old_size, alignment, new_size)`.
    Argument3 = 5,
    /// The first integer argument of Go's register ABI (RAX on x86-64): `runtime.mallocgc(size, type, zero)`.
    GoArgument0 = 6,
}

/// Calls that are not counted here: mostly those that the function hands on to another probed function, which counts them.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delegates {
    /// None.
    Never = 0,
    /// Calls whose first argument is null: glibc's `realloc(NULL, n)` calls `malloc(n)`.
    NullArgument0 = 1,
    /// Calls whose first argument is at most 16: glibc's `memalign(8, n)` calls `malloc(n)`.
    SmallArgument0 = 2,
    /// Calls whose second argument is at most 16: glibc's `posix_memalign(&p, 16, n)` calls `malloc(n)`.
    SmallArgument1 = 3,
    /// Calls whose first argument in Go's register ABI is at most 512: `runtime.mallocgc` calls a function made for the
    /// size class, where the runtime has such functions.
    SmallGoArgument0 = 4,
    /// Calls whose fourth argument lacks `MAP_ANONYMOUS`: `mmap` of a file. No other function counts them: they are not
    /// counted at all.
    WithoutMapAnonymous = 5,
}

/// `MAP_ANONYMOUS` of mmap(2), as on every architecture but alpha, mips, parisc and xtensa.
pub const MAP_ANONYMOUS: u64 = 0x20;

/// The size that a call counts with when it asks for `size` bytes. More than `PTRDIFF_MAX` cannot be had (C11 7.22.3 with
/// 6.5.6: no object is larger), and would drown what can: such a call counts as one for nothing.
#[inline(always)]
pub const fn counted_size(size: u64) -> u64 {
    if size as i64 >= 0 { size } else { 0 }
}

/// The attach cookie of an allocation probe: all that the one BPF program needs to know of the function it stands in.
///
/// Bits, low to high: function slot (8), [`SizeFrom`] (4), [`Delegates`] (4), stack displacement in 8-byte words (8), whether
/// the caller's frame pointer was saved (1), argument with the block that is given back plus 1 (3), whether the new block is
/// stored behind the first argument (1), whether the function's end is seen at its exits (1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie(pub u64);

impl Cookie {
    /// Packs a cookie. `displacement` is the distance in bytes from the stack pointer at the probed instruction to the
    /// return address: 0 at function entry, 8 after one push. It is a multiple of 8, at most 2040.
    pub const fn new(slot: u8, size: SizeFrom, delegates: Delegates, displacement: u16) -> Self {
        Self(slot as u64 | (size as u64) << 8 | (delegates as u64) << 12 | ((displacement / 8) as u64 & 0xff) << 16)
    }

    /// Says that at the probed instruction rbp is the function's own, and that of its caller stands right below the return
    /// address.
    #[must_use]
    pub const fn with_saved_frame_pointer(self, saved: bool) -> Self {
        Self(self.0 | (saved as u64) << 24)
    }

    /// Says that the call gives back the block in this argument (0 to 3): what releases and resizes.
    #[must_use]
    pub const fn with_given_back(self, argument: u8) -> Self {
        Self(self.0 | ((argument as u64 & 3) + 1) << 25)
    }

    /// Says that the new block's address is stored behind the first argument, and that 0 is returned on success.
    #[must_use]
    pub const fn with_stored_block(self) -> Self {
        Self(self.0 | 1 << 28)
    }

    /// Says that probes at the function's exits see it end.
    #[must_use]
    pub const fn with_exits(self) -> Self {
        Self(self.0 | 1 << 29)
    }

    /// Index of the argument with the block that is given back, plus 1; 0 for none.
    #[inline(always)]
    pub const fn given_back(self) -> u8 {
        (self.0 >> 25 & 7) as u8
    }

    /// See [`Cookie::with_stored_block`].
    #[inline(always)]
    pub const fn has_stored_block(self) -> bool {
        self.0 >> 28 & 1 != 0
    }

    /// See [`Cookie::with_exits`].
    #[inline(always)]
    pub const fn has_exits(self) -> bool {
        self.0 >> 29 & 1 != 0
    }

    /// Index into the counters.
    #[inline(always)]
    pub const fn slot(self) -> u32 {
        (self.0 & 0xff) as u32
    }

    /// The raw [`SizeFrom`].
    #[inline(always)]
    pub const fn size_from(self) -> u8 {
        (self.0 >> 8 & 0xf) as u8
    }

    /// The raw [`Delegates`].
    #[inline(always)]
    pub const fn delegates(self) -> u8 {
        (self.0 >> 12 & 0xf) as u8
    }

    /// Bytes between the stack pointer and the return address.
    #[inline(always)]
    pub const fn displacement(self) -> u64 {
        (self.0 >> 16 & 0xff) * 8
    }

    /// See [`Cookie::with_saved_frame_pointer`].
    #[inline(always)]
    pub const fn has_saved_frame_pointer(self) -> bool {
        self.0 >> 24 & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookie_keeps_its_fields() {
        let cookie = Cookie::new(255, SizeFrom::Product12, Delegates::SmallArgument1, 2040);
        assert_eq!((cookie.slot(), cookie.size_from(), cookie.delegates(), cookie.displacement()), (255, 4, 3, 2040));
        assert!(!cookie.has_saved_frame_pointer());
        let saved = cookie.with_saved_frame_pointer(true);
        assert_eq!((saved.slot(), saved.displacement(), saved.has_saved_frame_pointer()), (255, 2040, true));
        assert_eq!((saved.given_back(), saved.has_stored_block(), saved.has_exits()), (0, false, false));
        for argument in 0..4 {
            let resize = saved.with_given_back(argument);
            assert_eq!(
                (resize.given_back(), resize.has_stored_block(), resize.has_exits()),
                (argument + 1, false, false)
            );
        }
        let followed = cookie.with_stored_block().with_exits();
        assert_eq!((followed.given_back(), followed.has_stored_block(), followed.has_exits()), (0, true, true));
        assert!(!followed.has_saved_frame_pointer());
    }

    #[test]
    fn impossible_sizes_count_as_nothing() {
        assert_eq!([0, 1, i64::MAX as u64].map(counted_size), [0, 1, i64::MAX as u64]);
        assert_eq!([1 << 63, u64::MAX - 4095, u64::MAX].map(counted_size), [0; 3]);
    }

    #[test]
    fn size_classes_are_powers_of_two() {
        assert_eq!([0, 1, 2, 3, 4, 7, 8].map(size_class), [0, 1, 2, 2, 3, 3, 4]);
        assert_eq!(size_class(u64::MAX), SIZE_CLASSES - 1);
    }
}
