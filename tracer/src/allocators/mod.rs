//! Which functions of a process allocate memory, and where to put a breakpoint in each.
//!
//! Pure over the bytes of ELF files: the caller brings the process's modules as [`ModuleSymbols`] and gets a [`Plan`].
//! The files are the target's and not to be trusted: nothing here panics on them or follows them without bound.
//!
//! What a plan counts are calls, at their begin, with the size that they ask for. So a call that fails counts, and
//! `realloc` counts the whole new size, whether or not the block moves. Not found are functions without a name (stripped
//! static programs), behind resolvers (`STT_GNU_IFUNC`), and in files without section headers.

#[cfg(test)]
pub(crate) mod assembled;
pub mod by_hand;
mod candidates;
pub mod code;
mod decision;
pub mod delegation;
pub mod discovery;
pub mod exits;
pub mod families;
mod placer;
pub mod plan;
pub mod probe_point;
pub mod register_state;
pub mod symbols;
pub mod table;

pub use by_hand::NamedFunction;
pub use discovery::{Options, discover};
pub use plan::{End, NoAllocator, Plan, ProbePoint, SkipReason, Skipped};
pub use probe_point::{Execution, KernelUprobes};
pub use symbols::{ModuleSymbols, SymbolsError};
pub use table::{Layer, Role};
