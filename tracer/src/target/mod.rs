//! What is this process: identity, executable mappings, and the ELF files they map.
//!
//! Everything read here is under the target's control, so every read is bounded, and a file is opened only when it is a
//! regular one.

pub mod cpu_clock;
pub mod elf;
pub mod file_state;
pub mod filesystem;
pub mod identity;
pub mod mappings;
pub mod module;
pub mod modules;
pub mod procfs;

pub use cpu_clock::CpuClocks;
pub use file_state::FileState;
pub use identity::{Process, ProcessError};
pub use mappings::MappingKind;
pub use module::Module;
pub use modules::{ExecutableMapping, Modules, Scan};
pub use procfs::Procfs;
