//! Why a run cannot start or go on.

use std::io;

use aya::maps::MapError;

use super::{discover::DiscoverError, processes::ProcessError};
use crate::{
    allocators::plan::Unseen,
    probe::{programs::LoadError, uprobes::AttachError},
    target::ProcessError as IdentityError,
};

/// Why a run could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The kernel side.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The process that attaches.
    #[error("cannot start a process to attach probes with: {0}")]
    Attacher(#[source] io::Error),
    /// The probes.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A map.
    #[error("BPF map: {0}")]
    Map(#[from] MapError),
    /// The process's mappings or tables.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A process that cannot be traced.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Nothing to probe.
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    /// Blocks were to be followed, and none can be.
    #[error("no block of process {process} can be followed: of {family}, {why}; record without --live")]
    NothingToFollow {
        /// The process.
        process: u32,
        /// Whose blocks.
        family: &'static str,
        /// Why not.
        why: Unseen,
    },
    /// Growth of the program break was wanted, and the kernel does not say where that is.
    #[error(
        "--event brk needs the kernel's type information, to find the program break by: /sys/kernel/btf/vmlinux does not have \
         it (CONFIG_DEBUG_INFO_BTF)"
    )]
    NoBreak,
    /// A program could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It ended first.
    #[error("{0} ended before its first instruction; run it without tracer to see why")]
    EndedEarly(String),
    /// The map of live blocks.
    #[error("reading the blocks in use failed: {0}")]
    Live(#[source] io::Error),
    /// The event loop.
    #[error("waiting for events: {0}")]
    Wait(#[from] io::Error),
}
