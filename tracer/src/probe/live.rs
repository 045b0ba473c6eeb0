//! The programs that follow blocks from allocation to release, and the map of those in use.

use std::{num::NonZeroU32, os::fd::BorrowedFd, path::Path, sync::Arc};

use aya::{Ebpf, maps::MapError};
use tracer_ebpf::abi::live::MAX_CALLS;

use super::{
    OBJECT,
    attacher::Attacher,
    live_map::LiveMap,
    multi::{LinkKind, MultiError, MultiLink, MultiProgram, Point},
    programs::{LoadError, map_fd},
    return_probes::pass_filters,
};

/// How to follow blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveOptions {
    /// Sampled blocks that are followed at once, at most.
    pub blocks: u32,
    /// Whether session links may be used where the kernel has them.
    pub sessions: bool,
}

/// See the module.
#[derive(Debug)]
pub struct LivePrograms {
    /// Blocks in use.
    pub map: LiveMap,
    returns: Returns,
    entry: MultiProgram,
    exit: MultiProgram,
    release: MultiProgram,
}

/// How returns are seen.
#[derive(Debug)]
enum Returns {
    /// Where the entry asks for it.
    Session(MultiProgram),
    /// All of them.
    Always(MultiProgram),
}

/// Probes to attach in one module.
#[derive(Clone, Debug, Default)]
pub struct LivePoints {
    /// Functions that allocate or resize, and may have a return probe.
    pub returning: Vec<Point>,
    /// Those that may not; their ends are seen at `exits`.
    pub leaving: Vec<Point>,
    /// `ret` instructions.
    pub exits: Vec<Point>,
    /// Functions that release.
    pub releasing: Vec<Point>,
}

/// The map sizes of a recording that follows blocks: name and entries.
pub(super) fn map_sizes(options: LiveOptions) -> [(&'static str, u32); 2] {
    [("LIVE", options.blocks), ("CALLS", MAX_CALLS)]
}

impl LivePrograms {
    /// Loads the programs over the maps of `ebpf`.
    ///
    /// # Errors
    /// [`LoadError::Live`] where the kernel has no multi links.
    pub(super) fn load(
        ebpf: &mut Ebpf,
        options: LiveOptions,
        attacher: Option<&Arc<Attacher>>,
    ) -> Result<Self, LoadError> {
        let load = |name, kind| {
            let program = MultiProgram::load(OBJECT, name, kind, |name| ebpf.map(name).and_then(map_fd))?;
            Ok(program.through(attacher))
        };
        // First: it takes the verifier no time, and shows whether there are multi links.
        let release = load("release", LinkKind::Entry).map_err(LoadError::Live)?;
        let entry = load("allocation_entry", LinkKind::Entry).map_err(LoadError::Live)?;
        let is_safe = pass_filters().map_err(|error| LoadError::Untried(error.into()))?;
        if !is_safe {
            return Err(LoadError::ReturnProbes);
        }
        let session = if options.sessions { load("allocation_session", LinkKind::Session).ok() } else { None };
        let returns = match session {
            Some(session) => Returns::Session(session),
            None => Returns::Always(load("allocation_return", LinkKind::Return).map_err(LoadError::Live)?),
        };
        let exit = load("allocation_exit", LinkKind::Entry).map_err(LoadError::Live)?;
        let map = ebpf.take_map("LIVE").ok_or_else(|| MapError::InvalidName { name: "LIVE".to_owned() })?;
        Ok(Self { map: LiveMap::new(map)?, returns, entry, exit, release })
    }

    /// Whether every call has a return trap, not only sampled ones.
    pub fn returns_always(&self) -> bool {
        matches!(self.returns, Returns::Always(_))
    }

    /// Attaches to the file at `path`, for the threads of `pid` or, without one, for every process. Dropping the links
    /// detaches.
    ///
    /// # Errors
    /// What the kernel says; nothing stays attached then.
    pub fn attach(
        &self,
        path: &Path,
        points: &LivePoints,
        pid: Option<NonZeroU32>,
    ) -> Result<Vec<MultiLink>, MultiError> {
        let (entry, returns) = match &self.returns {
            Returns::Session(session) => (session, None),
            Returns::Always(returns) => (&self.entry, Some(returns)),
        };
        // What ends a call or a block before what begins one.
        [
            (Some(&self.release), &points.releasing),
            (Some(&self.exit), &points.exits),
            (returns, &points.returning),
            (Some(entry), &points.returning),
            (Some(&self.entry), &points.leaving),
        ]
        .into_iter()
        .filter_map(|(program, points)| Some((program?, points)))
        .filter(|(_, points)| !points.is_empty())
        .map(|(program, points)| program.attach(path, points, pid.map(NonZeroU32::get)))
        .collect()
    }

    /// The programs by name.
    pub(super) fn programs(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        let returns = match &self.returns {
            Returns::Session(session) => ("allocation_session", session),
            Returns::Always(returns) => ("allocation_return", returns),
        };
        [returns, ("allocation_entry", &self.entry), ("allocation_exit", &self.exit), ("release", &self.release)]
            .into_iter()
            .map(|(name, program)| (name, program.fd()))
    }
}
