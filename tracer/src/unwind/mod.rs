//! Unwind tables: from ELF files to what the walk in the kernel reads.
//!
//! ```text
//! ELF bytes --Image--> sections --Entries--> spans (function -> entry) --evaluate--> rows --PageWriter--> ModuleTable
//! ```
//!
//! Everything here is pure and meets files that the target controls: sizes that a file claims are checked before memory is
//! taken for them, rows are bounded by both the section and the text, and nothing panics. The layout that the walk reads is
//! in [`tracer_ebpf::abi::unwind`].

mod bounded;
mod builder;
mod coverage;
mod elf;
mod evaluate;
mod extents;
mod gaps;
pub mod measure;
mod module;
mod placement;
mod rule;
mod rules;
mod spans;
mod step;
mod table;
#[cfg(test)]
mod tests;
mod words;
mod writer;

pub use builder::{Built, build};
pub use coverage::Coverage;
pub use extents::function_extents;
pub use placement::{DirtyShard, Placements, TableMemoryError};
pub use step::{Registers, Step, step};
pub use table::{ModuleTable, Page};

/// Why a module has no table.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Not an ELF file, or one whose headers point nowhere.
    #[error("not a readable ELF file")]
    Elf(#[from] object::read::Error),
    /// For another processor. The number is `e_machine`.
    #[error("an ELF file for machine {0}; only 64-bit x86 (machine 62) can be unwound")]
    Machine(u16),
    /// It has absurdly many program headers.
    #[error("it has more than 65,536 program headers")]
    Headers,
    /// The last byte of text is too far from the first.
    #[error("its text spans {0} bytes, more than the 4 GiB that a table can describe")]
    TextSpan(u64),
    /// An unwind section is too large.
    #[error("section {name} has {bytes} bytes, more than the 256 MiB that are read")]
    Section {
        /// Its name.
        name: &'static str,
        /// Its size, uncompressed.
        bytes: u64,
    },
    /// A section runs over the end of the file, or of what is read of one file.
    #[error("section {name} runs over the end of the file")]
    Truncated {
        /// Its name.
        name: &'static str,
    },
    /// The table would be too large.
    #[error("its unwind information makes more than 33,554,432 rows")]
    TooManyRows,
}
