//! Probed functions, each with a counter slot, and the links that probe them.

use std::{
    collections::HashSet,
    num::{NonZeroU32, TryFromIntError},
};

use tracer_ebpf::abi::allocation::Cookie;

use super::{discover::Probed, processes::Processes};
use crate::{
    allocators::{End, Role},
    probe::{
        live::LivePoints,
        multi::Point,
        programs::Programs,
        uprobes::{AttachError, Probes},
    },
};

/// For the threads of one process, or for every process.
pub type Scope = Option<NonZeroU32>;

/// See the module. The slots stay while links come and go.
#[derive(Debug, Default)]
pub struct Attached {
    points: Vec<Probed>,
    links: Vec<(Scope, Probes)>,
    /// Breakpoints that are in place: module, file offset, scope.
    places: HashSet<(u16, u64, Scope)>,
}

impl Attached {
    /// Probes those of `points` that are not probed yet, module by module.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn attach(
        &mut self,
        programs: &mut Programs,
        processes: &Processes,
        points: &[Probed],
        scope: Scope,
    ) -> Result<(), AttachError> {
        let mut modules: Vec<u16> = points.iter().map(|point| point.module).collect();
        modules.sort_unstable();
        modules.dedup();
        for module in modules {
            let Some(path) = processes.attach_path(module) else { continue };
            let (mut counted, mut live) = (Vec::new(), LivePoints::default());
            for probed in points.iter().filter(|point| point.module == module) {
                self.add(probed, scope, &mut counted, &mut live)?;
            }
            // What ends blocks before what begins them.
            let probes = programs.attach_live(&path, &live, scope)?;
            self.links.extend(probes.into_iter().map(|probes| (scope, probes)));
            if !counted.is_empty() {
                self.links.push((scope, programs.attach(&path, &counted, scope)?));
            }
        }
        Ok(())
    }

    /// Adds the breakpoints of a function, where they are not in place yet.
    fn add(
        &mut self,
        probed: &Probed,
        scope: Scope,
        counted: &mut Vec<Point>,
        live: &mut LivePoints,
    ) -> Result<(), AttachError> {
        let Probed { module, point } = probed;
        if !self.places.insert((*module, point.file_offset, scope)) {
            return Ok(());
        }
        let at = |cookie: Cookie| Point { file_offset: point.file_offset, cookie: cookie.0 };
        if point.role == Role::Release {
            live.releasing.extend(point.release_cookie().map(at));
            return Ok(());
        }
        let slot = self.slot(probed).map_err(|_| AttachError::TooMany)?;
        let place = point.cookie(slot).map(at);
        match &point.end {
            End::Return => live.returning.extend(place),
            End::Exits(exits) => {
                live.leaving.extend(place);
                let new = exits.iter().copied().filter(|&exit| self.places.insert((*module, exit, scope)));
                live.exits.extend(new.map(|file_offset| Point { file_offset, cookie: 0 }));
            }
            End::Unwatched | End::Unseen(_) => counted.extend(place),
        }
        Ok(())
    }

    /// The counter slot of a function. Processes that map the same file share it.
    fn slot(&mut self, point: &Probed) -> Result<u8, TryFromIntError> {
        let key = |probed: &Probed| {
            let point = &probed.point;
            (probed.module, point.file_offset, point.delegates, point.size)
        };
        let known = self.points.iter().position(|known| key(known) == key(point));
        let slot = u8::try_from(known.unwrap_or(self.points.len()))?;
        if known.is_none() {
            self.points.push(point.clone());
        }
        Ok(slot)
    }

    /// Takes away the links of a scope.
    pub fn detach_scope(&mut self, programs: &mut Programs, scope: Scope) {
        let (go, stay) = std::mem::take(&mut self.links).into_iter().partition(|(of, _)| *of == scope);
        self.links = stay;
        let go: Vec<(Scope, Probes)> = go;
        for (_, probes) in go {
            programs.detach(probes);
        }
        self.places.retain(|(_, _, of)| *of != scope);
    }

    /// Takes away all links.
    pub fn detach(&mut self, programs: &mut Programs) {
        for (_, probes) in std::mem::take(&mut self.links) {
            programs.detach(probes);
        }
        self.places.clear();
    }

    /// The probed functions by counter slot.
    pub fn points(&self) -> &[Probed] {
        &self.points
    }

    /// The same, at the end.
    pub fn into_points(self) -> Vec<Probed> {
        self.points
    }
}
