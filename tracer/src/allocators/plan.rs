//! What to probe, and why so: the result of [`super::discovery`], for the attaching code and for people.

use std::fmt;

use tracer_ebpf::abi::allocation::{Cookie, Delegates, SizeFrom};

use super::probe_point::{Execution, Placement};
use super::table::{BlockAt, Layer, Role};

/// The functions to probe.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Paths of the modules, for the indices in the rest.
    pub modules: Vec<String>,
    /// Places for breakpoints.
    pub probes: Vec<ProbePoint>,
    /// Functions of the table that were found and are not probed.
    pub skipped: Vec<Skipped>,
    /// What else is worth knowing.
    pub remarks: Vec<Remark>,
}

/// One breakpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbePoint {
    /// Index into [`Plan::modules`].
    pub module: u16,
    /// The function's name as in the symbol table.
    pub function: String,
    /// Other names at the same address.
    pub aliases: Vec<String>,
    /// Name of the allocator family.
    pub family: &'static str,
    /// What the function does.
    pub role: Role,
    /// Where the instruction is in the module's file: what the kernel takes for a uprobe.
    pub file_offset: u64,
    /// ELF virtual address of the function's entry.
    pub elf_address: u64,
    /// Where in the function, and why there.
    pub placement: Placement,
    /// Where the size is when the breakpoint is hit; `None` for a function that releases.
    pub size: Option<SizeFrom>,
    /// Calls that are left to another probed function.
    pub delegates: Delegates,
    /// Where the caller finds the new block.
    pub block: BlockAt,
    /// Index of the argument with the block that the call gives back.
    pub gives_back: Option<u8>,
    /// How it is seen that a call ends.
    pub end: End,
    /// How the function uses other probed ones.
    pub calls: Calls,
}

/// How it is seen that a call ends, and where its block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Nobody asked, or the function releases.
    Unwatched,
    /// By a return probe at the probed instruction, where the return address is on top of the stack.
    Return,
    /// By probes at these file offsets, where it returns: an exception may leave it, which a return probe would turn into the
    /// end of the program.
    Exits(Vec<u64>),
    /// Not at all: its blocks are not followed.
    Unseen(Unseen),
}

/// Why it is not seen that a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// Its stack may move, and a collector releases its blocks.
    Collected,
    /// An exception may leave it, and where it returns was not found.
    Throws,
    /// It is given the place of the block that it resizes, not the block.
    Indirect,
}

/// What a probed function does with other probed functions of its plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Calls {
    /// It uses none, according to the table.
    None,
    /// The table expects it to hand calls on, but the machine code has no such path: they are inlined.
    NoneSeen,
    /// Some calls, those that `delegates` names, go to this function and are counted there.
    HandsOn(String),
    /// Its own path serves calls as well; those that reach this function count twice. The table says when that is rare.
    Sometimes(String),
}

/// A function that is not probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its name.
    pub function: String,
    /// Index into [`Plan::modules`].
    pub module: u16,
    /// Name of the allocator family.
    pub family: &'static str,
    /// Why not.
    pub reason: SkipReason,
}

/// Why a function is not probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// Its calls go on to this function, which counts them.
    HandsOn {
        /// That function.
        to: String,
        /// Whether all do; otherwise calls that it serves itself are not counted.
        all: bool,
    },
    /// It belongs to another layer than the one asked for.
    OtherLayer(Layer),
    /// The symbol is a resolver: the function it chooses is not named.
    IndirectFunction,
    /// The address is in no executable segment, or no instruction is there.
    NotCode,
    /// It is the dynamic loader's, for the time before the C library is there.
    Loader,
    /// The library asks for the allocator behind its own and probably calls it, as this module's.
    Wrapper {
        /// Path of the module with that allocator.
        of: String,
    },
    /// The kernel refuses a breakpoint on its first instruction.
    Refused,
    /// There are more functions than counters.
    NoCounterLeft,
    /// It was named by hand, and is among those that were found.
    ProbedAnyway,
}

/// Something about the plan as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// Several modules define `malloc`; calls by name reach the first.
    Interposed {
        /// Index of the module whose definition wins.
        first: u16,
        /// The others.
        behind: Vec<u16>,
    },
    /// A symbol table was too long and was not read to the end.
    Truncated(u16),
    /// The allocator of this module is inlined into its callers, which then do not pass its functions.
    Inlined(u16),
}

/// No function of the table is in any module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no allocator found: none of {modules} modules defines a function that is known to allocate{unnamed}; looked for \
     {looked_for}. Name the function by hand: `--symbol my_alloc`, or, in a file without symbols, by the address that \
     `objdump -d` shows, `--offset {program}+0x4011d6`; or install the program's separate debug file",
    unnamed = self.unnamed(),
)]
pub struct NoAllocator {
    /// File name of the program.
    pub program: String,
    /// How many modules were searched.
    pub modules: usize,
    /// Those without a symbol table.
    pub stripped: Vec<String>,
    /// What was found but cannot be probed.
    pub skipped: Vec<Skipped>,
    /// What was looked for: families and their main functions.
    pub looked_for: String,
}

impl NoAllocator {
    fn unnamed(&self) -> String {
        match self.stripped.as_slice() {
            [] => String::new(),
            [one] => format!(" ({one} is stripped, so that its functions have no names)"),
            [first, rest @ ..] => {
                format!(" ({first} and {} more are stripped, so that their functions have no names)", rest.len())
            }
        }
    }
}

impl ProbePoint {
    /// The cookie of an allocation probe, with its counter's slot. A function that releases has none.
    pub fn cookie(&self, slot: u8) -> Option<Cookie> {
        let cookie = Cookie::new(slot, self.size?, self.delegates, self.placement.displacement);
        let cookie = cookie.with_saved_frame_pointer(self.placement.frame_pointer_saved);
        let watched = |cookie: Cookie| {
            let cookie = self.gives_back.map_or(cookie, |argument| cookie.with_given_back(argument));
            if self.block == BlockAt::StoredAtArgument0 { cookie.with_stored_block() } else { cookie }
        };
        Some(match self.end {
            End::Unwatched | End::Unseen(_) => cookie,
            End::Return => watched(cookie),
            End::Exits(_) => watched(cookie).with_exits(),
        })
    }

    /// The cookie of the probe of a function that releases; `None` for others.
    pub fn release_cookie(&self) -> Option<Cookie> {
        let argument = self.gives_back.filter(|_| self.role == Role::Release)?;
        Some(Cookie(0).with_given_back(argument))
    }

    /// ELF virtual address of the probed instruction.
    pub fn instruction_address(&self) -> u64 {
        self.elf_address + u64::from(self.placement.offset)
    }
}

impl Plan {
    fn module(&self, index: u16) -> &str {
        self.modules.get(usize::from(index)).map_or("?", String::as_str)
    }

    fn said(&self, remark: &Remark) -> String {
        match remark {
            Remark::Interposed { first, behind } => {
                let behind: Vec<_> = behind.iter().map(|module| self.module(*module)).collect();
                format!(
                    "calls by name reach the allocator of {}; what calls that of {} directly is counted there",
                    self.module(*first),
                    behind.join(", ")
                )
            }
            Remark::Truncated(module) => {
                format!("the symbol table of {} is too long and was not read to the end", self.module(*module))
            }
            Remark::Inlined(module) => {
                let module = self.module(*module);
                format!("{module} was built with its allocator inlined into callers: calls from there are not counted")
            }
        }
    }

    /// What is known not to be counted, for people.
    pub fn gaps(&self) -> impl Iterator<Item = String> {
        let is_gap = |remark: &&Remark| !matches!(remark, Remark::Interposed { .. });
        self.remarks.iter().filter(is_gap).map(|remark| self.said(remark))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, path) in (0..=u16::MAX).zip(&self.modules) {
            let mut probes = self.probes.iter().filter(|probe| probe.module == index).peekable();
            let mut skipped = self.skipped.iter().filter(|skipped| skipped.module == index).peekable();
            if probes.peek().is_some() || skipped.peek().is_some() {
                writeln!(f, "{path}")?;
            }
            for probe in probes {
                writeln!(f, "  probe {probe}")?;
            }
            for skipped in skipped {
                writeln!(f, "  skip  {} ({}): {}", skipped.function, skipped.family, skipped.reason)?;
            }
        }
        self.remarks.iter().try_for_each(|remark| writeln!(f, "{}", self.said(remark)))
    }
}

impl fmt::Display for ProbePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.function, self.family, self.placement)?;
        let condition = match self.delegates {
            Delegates::Never => None,
            Delegates::NullArgument0 => Some("a null pointer"),
            Delegates::SmallArgument0 | Delegates::SmallArgument1 => Some("an alignment of at most 16"),
            Delegates::SmallGoArgument0 => Some("at most 512 bytes"),
            Delegates::WithoutMapAnonymous => Some("a file"),
        };
        match (&self.calls, condition) {
            (Calls::HandsOn(to), Some(condition)) => write!(f, "; calls with {condition} are counted in {to}")?,
            (Calls::None, Some(condition)) => write!(f, "; calls with {condition} are not counted")?,
            (Calls::Sometimes(to), _) => write!(f, "; a path in it leads to {to}, where such calls count again")?,
            _ => {}
        }
        match &self.end {
            End::Exits(exits) => write!(f, "; seen to return at {} places", exits.len())?,
            End::Unseen(why) => write!(f, "; blocks not followed, {why}")?,
            End::Unwatched | End::Return => {}
        }
        if !self.aliases.is_empty() {
            write!(f, "; also called {}", self.aliases.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let execution = match self.execution {
            Execution::Stepped => "single-stepped",
            Execution::Emulated => "emulated",
            Execution::Rewritten => "rewritten to a call",
        };
        write!(f, "+{} {}, {execution}", self.offset, self.instruction)?;
        match &self.fallback {
            Some(fallback) => write!(f, " because {fallback}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Collected => "a collector releases them",
            Self::Throws => "it may throw, and where it returns was not found",
            Self::Indirect => "it is given the place of the block that it resizes",
        })
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HandsOn { to, all: true } => write!(f, "every call goes on to {to}, which counts it"),
            Self::HandsOn { to, all: false } => write!(f, "calls go on to {to}, which counts them"),
            Self::OtherLayer(layer) => write!(f, "{layer}, not asked for"),
            Self::IndirectFunction => f.write_str("the symbol is a resolver, not the function"),
            Self::NotCode => f.write_str("its address is not in the module's code"),
            Self::Loader => f.write_str("the dynamic loader's own, for the time before the C library is there"),
            Self::Wrapper { of } => write!(f, "a wrapper: it asks for the allocator behind it, that of {of}"),
            Self::Refused => f.write_str("the kernel refuses a breakpoint on its first instruction"),
            Self::NoCounterLeft => f.write_str("there are more functions than counters"),
            Self::ProbedAnyway => f.write_str("it is found and counted without being named"),
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Heap => "the heap",
            Self::Objects => "a language's objects",
            Self::Mappings => "mappings",
        })
    }
}
