//! Probed functions, each with a counter slot, and the links that probe them.

use std::{
    collections::HashSet,
    num::{NonZeroU32, TryFromIntError},
};

use super::{discover::Probed, processes::Processes};
use crate::probe::{
    multi::Point,
    programs::Programs,
    uprobes::{AttachError, Probes},
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
            let mut here = Vec::new();
            for point in points.iter().filter(|point| point.module == module) {
                if self.places.insert((module, point.point.file_offset, scope)) {
                    let slot = self.slot(point).map_err(|_| AttachError::TooMany)?;
                    let cookie = point.point.cookie(slot).map(|cookie| cookie.0);
                    here.extend(cookie.map(|cookie| Point { file_offset: point.point.file_offset, cookie }));
                }
            }
            if !here.is_empty() {
                self.links.push((scope, programs.attach(&path, &here, scope)?));
            }
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
