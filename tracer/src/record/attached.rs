//! Probed functions, each with a counter slot, and the links that probe them.

use std::{collections::HashSet, num::NonZeroU32};

use tracer_ebpf::abi::allocation::{Cookie, MAX_FUNCTIONS};

use super::{
    discover::Probed,
    links::{Breakpoint, Link},
    processes::Processes,
};
use crate::{
    allocators::{End, Execution, Role},
    probe::{live::LivePoints, multi::Point, programs::Programs, uprobes::AttachError},
    target::Module,
};

/// For the threads of one process, or for every process.
pub type Scope = Option<NonZeroU32>;

/// See the module. The slots stay while links come and go.
#[derive(Debug, Default)]
pub struct Attached {
    points: Vec<Probed>,
    /// Links that nobody has taken over.
    links: Vec<Link>,
    /// Breakpoints that are in place.
    places: HashSet<Place>,
    /// What was probed in each scope, in order.
    asked: Vec<(Scope, Probed)>,
}

/// A breakpoint belongs to a file, not to the state of it that a module is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    device: u64,
    inode: u64,
    file_offset: u64,
    scope: Scope,
}

impl Attached {
    /// Probes those of `points` that are not probed yet, module by module. `process` maps them. Whether there were any.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn attach(
        &mut self,
        programs: &mut Programs,
        processes: &Processes,
        points: &[Probed],
        process: u32,
        scope: Scope,
    ) -> Result<bool, AttachError> {
        let before = self.places.len();
        let mut modules: Vec<u16> = points.iter().map(|point| point.module).collect();
        modules.sort_unstable();
        modules.dedup();
        for module in modules {
            let state = processes.modules().get(module).and_then(Module::state);
            let Some((path, state)) = processes.attach_path(module).zip(state) else { continue };
            let place = |file_offset| Place { device: state.device, inode: state.inode, file_offset, scope };
            let (mut counted, mut live) = (Vec::new(), LivePoints::default());
            for probed in points.iter().filter(|point| point.module == module) {
                self.add(probed, place, &mut counted, &mut live)?;
                self.asked.push((scope, probed.clone()));
            }
            // What ends blocks before what begins them.
            let probes = programs.attach_live(&path, &live, scope)?;
            self.links.extend(probes.into_iter().map(|probes| Link::lasting(scope, probes)));
            let file = processes.modules().get(module).and_then(Module::file);
            if let Some((file, first)) = file.zip(counted.first()) {
                // Of every process that maps the file, one is as good as another to look at.
                let address = processes.modules().address(process, module, first.file_offset);
                let breakpoint = address.and_then(|address| Breakpoint::open(process, address));
                let probes = programs.attach(&path, &counted, scope)?;
                self.links.push(Link::new(scope, probes, file, counted, breakpoint));
            }
        }
        Ok(self.places.len() > before)
    }

    /// Adds the breakpoints of a function, where they are not in place yet.
    fn add(
        &mut self,
        probed: &Probed,
        place: impl Fn(u64) -> Place,
        counted: &mut Vec<Point>,
        live: &mut LivePoints,
    ) -> Result<(), AttachError> {
        let point = &probed.point;
        if !self.places.insert(place(point.file_offset)) {
            return Ok(());
        }
        let at = |cookie: Cookie| Point { file_offset: point.file_offset, cookie: cookie.0 };
        if point.role == Role::Release {
            live.releasing.extend(point.release_cookie().map(at));
            return Ok(());
        }
        let slot = self.slot(probed)?;
        let entry = point.cookie(slot).map(at);
        match &point.end {
            End::Return => live.returning.extend(entry),
            End::Exits(exits) => {
                live.leaving.extend(entry);
                let new = exits.iter().copied().filter(|&exit| self.places.insert(place(exit)));
                live.exits.extend(new.map(|file_offset| Point { file_offset, cookie: 0 }));
            }
            End::Unwatched | End::Unseen(_) => counted.extend(entry),
        }
        Ok(())
    }

    /// The counter slot of a function. Processes that map the same file share it.
    fn slot(&mut self, point: &Probed) -> Result<u8, AttachError> {
        let key = |probed: &Probed| {
            let point = &probed.point;
            (probed.module, point.file_offset, point.delegates, point.size)
        };
        let known = self.points.iter().position(|known| key(known) == key(point));
        let slot = known.unwrap_or(self.points.len());
        let slot =
            u8::try_from(slot).ok().filter(|slot| u32::from(*slot) < MAX_FUNCTIONS).ok_or(AttachError::TooMany)?;
        if known.is_none() {
            self.points.push(point.clone());
        }
        Ok(slot)
    }

    /// Hands over links, which are in.
    pub fn take_links(&mut self) -> Vec<Link> {
        std::mem::take(&mut self.links)
    }

    /// Takes away the links of a scope, of those that were not handed over, and forgets what was probed in it.
    pub fn forget_scope(&mut self, scope: Scope) {
        self.links.retain(|link| link.scope != scope);
        self.places.retain(|place| place.scope != scope);
        self.asked.retain(|(of, _)| *of != scope);
    }

    /// What was probed in a scope since it was last forgotten.
    pub fn of_scope(&self, scope: Scope) -> Vec<Probed> {
        self.asked.iter().filter(|(of, _)| *of == scope).map(|(_, probed)| probed.clone()).collect()
    }

    /// What the kernel does with the instructions under the breakpoints, by slot.
    pub fn kinds(&self) -> Vec<Execution> {
        self.points.iter().map(|probed| probed.point.placement.execution).collect()
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
