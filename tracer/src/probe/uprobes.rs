//! Allocation probes, by the best link that the kernel has.

use std::{num::NonZeroU32, path::Path};

use aya::programs::{
    ProgramError, UProbe,
    uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeLinkId, UProbeScope},
};

use super::{
    live::LivePoints,
    multi::{MultiError, MultiLink, Point},
    programs::Programs,
};

/// Attached probes of one module. Dropping them detaches: the breakpoints are gone soon after that begins, and it returns
/// when no hit is under way any more.
#[derive(Debug)]
pub enum Probes {
    /// All in one link.
    Multi(MultiLink),
    /// One perf event for each.
    PerfEvents(Vec<UProbeLink>),
}

/// Why probes could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Neither kind of link.
    #[error("the kernel attaches no uprobes (multi link: {multi}; perf event: {perf_event})")]
    Refused {
        /// Why not by multi link.
        multi: MultiError,
        /// Why not by perf event.
        perf_event: Box<ProgramError>,
    },
    /// What follows blocks.
    #[error("the kernel attaches no probes to follow blocks with: {0}; record without --live")]
    Live(MultiError),
    /// The object has no such program: a bug in the build.
    #[error("the BPF object lacks a uprobe program")]
    NoProgram,
    /// More functions than counters, over all processes.
    #[error("the processes have more than 255 allocation functions; trace fewer of them at once")]
    TooMany,
    /// The probe in a dynamic loader.
    #[error("the kernel attaches no uprobe to the dynamic loader: {0}")]
    Loader(ProgramError),
}

impl Programs {
    /// Attaches the allocation program to all `points` of the file at `path`, for the threads of `pid` or, without one, for
    /// every process. Multi links where the kernel has them (6.6), else perf events.
    ///
    /// # Errors
    /// [`AttachError`]; nothing stays attached then.
    pub fn attach(&mut self, path: &Path, points: &[Point], pid: Option<NonZeroU32>) -> Result<Probes, AttachError> {
        let refused = match &self.multi {
            Ok(program) => match program.attach(path, points, pid.map(NonZeroU32::get)) {
                Ok(link) => return Ok(Probes::Multi(link)),
                Err(error) => error,
            },
            Err(error) => MultiError::Object(error.to_string()),
        };
        self.attach_perf_events(path, points, pid)?
            .map_err(|perf_event| AttachError::Refused { multi: refused, perf_event: Box::new(perf_event) })
    }

    /// The same by perf events, whatever the kernel has.
    ///
    /// # Errors
    /// [`AttachError::NoProgram`]; inside, what the kernel says. Nothing stays attached then.
    pub fn attach_perf_events(
        &mut self,
        path: &Path,
        points: &[Point],
        pid: Option<NonZeroU32>,
    ) -> Result<Result<Probes, ProgramError>, AttachError> {
        let program = self.ebpf.program_mut("allocation").and_then(|program| program.try_into().ok());
        Ok(attach_one_by_one(program.ok_or(AttachError::NoProgram)?, path, points, pid).map(Probes::PerfEvents))
    }

    /// Attaches what follows blocks, as [`Self::attach`] does. Nothing happens where that was not asked for.
    ///
    /// # Errors
    /// [`AttachError::Live`]; nothing stays attached then.
    pub fn attach_live(
        &self,
        path: &Path,
        points: &LivePoints,
        pid: Option<NonZeroU32>,
    ) -> Result<Vec<Probes>, AttachError> {
        let Some(live) = &self.live else { return Ok(Vec::new()) };
        let links = live.attach(path, points, pid).map_err(AttachError::Live)?;
        Ok(links.into_iter().map(Probes::Multi).collect())
    }

    /// Attaches one of the [`CALIBRATION`](super::programs::CALIBRATION) programs that were loaded, by a multi link.
    ///
    /// # Errors
    /// See [`MultiProgram::attach`](super::multi::MultiProgram::attach).
    pub fn attach_program(
        &self,
        name: &str,
        path: &Path,
        points: &[Point],
        pid: Option<NonZeroU32>,
    ) -> Result<MultiLink, MultiError> {
        let program = self.calibration.get(name);
        let program = program.ok_or_else(|| MultiError::Object(format!("the program {name} was not loaded")))?;
        program.attach(path, points, pid.map(NonZeroU32::get))
    }

    /// Has process `pid` stop in the function at `file_offset` of its dynamic loader, until [`Programs::detach_loader`]. Only a
    /// process that [`Settings::launched`](tracer_ebpf::abi::settings::Settings::launched) names stops.
    ///
    /// # Errors
    /// [`AttachError::Loader`].
    pub fn attach_loader(
        &mut self,
        path: &Path,
        file_offset: u64,
        pid: NonZeroU32,
    ) -> Result<UProbeLinkId, AttachError> {
        let program = self.loader_program().ok_or(AttachError::NoProgram)?;
        if program.fd().is_err() {
            program.load().map_err(AttachError::Loader)?;
        }
        let place = UProbeAttachPoint { location: UProbeAttachLocation::AbsoluteOffset(file_offset), cookie: None };
        program.attach(place, path, UProbeScope::OneProcess(pid)).map_err(AttachError::Loader)
    }

    /// See [`Programs::attach_loader`].
    pub fn detach_loader(&mut self, link: UProbeLinkId) {
        if let Some(program) = self.loader_program() {
            // It fails only for a link that is gone already.
            let _ = program.detach(link);
        }
    }

    fn loader_program(&mut self) -> Option<&mut UProbe> {
        self.ebpf.program_mut("libraries_loaded")?.try_into().ok()
    }
}

fn attach_one_by_one(
    program: &mut UProbe,
    path: &Path,
    points: &[Point],
    pid: Option<NonZeroU32>,
) -> Result<Vec<UProbeLink>, ProgramError> {
    if program.fd().is_err() {
        program.load()?;
    }
    let mut links = Vec::with_capacity(points.len());
    for point in points {
        let place = UProbeAttachPoint {
            location: UProbeAttachLocation::AbsoluteOffset(point.file_offset),
            cookie: Some(point.cookie),
        };
        let scope = pid.map_or(UProbeScope::AllProcesses, UProbeScope::OneProcess);
        // Those attached so far are dropped on failure.
        let link = program.attach(place, path, scope)?;
        links.push(program.take_link(link)?);
    }
    Ok(links)
}
