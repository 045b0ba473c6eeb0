//! Unwind tables as the BPF walk reads them.
//!
//! All tables live in one address space of 32-bit words, cut into shards of [`SHARD_WORDS`] words: word address `w` is word
//! `w % SHARD_WORDS` of shard `w / SHARD_WORDS`. A module's table is
//!
//! ```text
//! page table   2 words for each 4 KiB page of the module's text: [word address of the page's first row, row count]
//! rows         sorted; 1 word each: offset in the page (12 bits) | rule number (20 bits)
//! ```
//!
//! A page without rows has count 0: no unwind information. A page with rows always opens with a row at offset 0, so a
//! search never leaves its page. The rows of one page never straddle a shard, nor does a page-table entry.
//! Rule numbers index one dictionary that all modules share.

/// Bytes of text that one page-table entry covers.
pub const PAGE_SIZE: u64 = 4096;
/// Words in a shard: 1 MiB.
pub const SHARD_WORDS: u32 = 1 << 18;
/// Shards at most: 256 MiB, about 2.5 GB of text.
pub const MAX_SHARDS: u32 = 256;
/// Slots of the rule dictionary.
pub const MAX_RULES: u32 = 1 << 16;
/// Rows of a page at most (one for each byte offset); bounds the search.
pub const MAX_ROWS_PER_PAGE: u32 = 4096;

/// A row: from this offset in its page on, this rule holds.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row(pub u32);

impl Row {
    /// Packs a row. `offset` is below [`PAGE_SIZE`], `rule` below [`MAX_RULES`].
    pub const fn new(offset: u16, rule: u32) -> Self {
        Self((offset as u32 & 0xfff) << 20 | rule & 0xf_ffff)
    }

    /// Offset of the row's first address in its page.
    #[inline(always)]
    pub const fn offset(self) -> u32 {
        self.0 >> 20
    }

    /// Number of the rule in the dictionary.
    #[inline(always)]
    pub const fn rule(self) -> u32 {
        self.0 & 0xf_ffff
    }
}

/// How the canonical frame address (CFA) is found, and what else is special at an address.
///
/// The return address is always at CFA-8, except for [`RuleKind::Signal`] and [`RuleKind::End`]; anything else is
/// [`RuleKind::Unsupported`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RuleKind {
    /// No unwind information here: a gap between functions that is too wide to be padding.
    NoInfo = 0,
    /// CFA = rsp + `cfa_offset`.
    Rsp = 1,
    /// CFA = rbp + `cfa_offset`.
    Rbp = 2,
    /// CFA = *(rbp + `rbp_offset`) + `cfa_offset`. rbp itself is unchanged.
    DerefRbp = 3,
    /// CFA = *(rsp + `rbp_offset`) + `cfa_offset`. rbp itself is unchanged.
    DerefRsp = 4,
    /// The stub of a procedure linkage table: CFA = rsp + 8 + (8 where (rip & 15) >= `cfa_offset`).
    Plt = 5,
    /// Signal frame: rip, rsp and rbp come from the `ucontext` at rsp + 40 (x86_64 `rt_sigframe`).
    Signal = 6,
    /// The outermost frame: the return address is undefined.
    End = 7,
    /// Information exists but is of a form that the walk does not know.
    Unsupported = 8,
    /// GCC's dynamic realignment: CFA = *(rbp + `cfa_offset`), caller's rbp = *(rbp + `rbp_offset`).
    Drap = 9,
}

/// A rule of the dictionary: everything that takes one frame to its caller.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule {
    /// A [`RuleKind`], raw because it crosses the border to BPF.
    pub kind: u8,
    /// [`RBP_SAVED`] when the caller's rbp is at CFA + `rbp_offset`, [`RBP_SAME`] when the frame leaves rbp alone, and for
    /// every kind but [`RuleKind::Rsp`] and [`RuleKind::Rbp`].
    pub rbp: u8,
    /// See `rbp` and the kinds. Where [`RuleKind::Rsp`] and [`RuleKind::Rbp`] leave rbp alone, -8: the walk may read the slot
    /// before it knows that it is not needed, and it reads the return address anyway.
    pub rbp_offset: i16,
    /// See the kinds.
    pub cfa_offset: i32,
}

/// The frame leaves rbp as its caller had it.
pub const RBP_SAME: u8 = 0;
/// The caller's rbp is saved at CFA + `rbp_offset`.
pub const RBP_SAVED: u8 = 0xff;

const _: () = assert!(size_of::<Rule>() == 8);
const _: () = assert!(size_of::<Row>() == 4);
const _: () = assert!(MAX_RULES <= 1 << 20);
