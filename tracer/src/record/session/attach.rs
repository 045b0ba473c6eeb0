//! Probes: of a process that is added, of modules that come later, and their end.

use std::num::NonZeroU32;

use super::Session;
use crate::{
    allocators::Role,
    record::{
        attached::Scope,
        discover::{Probed, discover},
        error::SessionError,
        late::Outcome,
        live,
    },
    target::Process,
};

/// Why a module that came is not counted.
const MAIN_THREAD_ENDED: &str =
    "the main thread has ended, through which the kernel attaches probes to a process; --children counts it";

impl Session {
    /// Chooses the functions of a process to probe: none where samples are taken at an event of the kernel.
    ///
    /// # Errors
    /// When its mappings cannot be read, nothing in it is known to allocate, or what the user names cannot be probed; when blocks
    /// are to be followed and none can be.
    pub fn discover(&mut self, target: &Process) -> Result<Vec<Probed>, SessionError> {
        if self.request.event.is_some() {
            return Ok(Vec::new());
        }
        let scan = self.processes.scan(target.pid)?;
        let found = discover(self.processes.modules(), target.pid, &scan, &self.wanted);
        self.searched.note(&found);
        let found = found.usable()?;
        match live::first_unseen(&found) {
            Some((family, why)) if !found.iter().any(live::is_followed) => {
                Err(SessionError::NothingToFollow { process: target.pid, family, why })
            }
            _ => Ok(found),
        }
    }

    /// Prepares a process's tables and probes these of its functions. A process that was added before, and now runs another
    /// program, takes its own place.
    ///
    /// # Errors
    /// See [`SessionError`]; nothing stays attached when the session is dropped then.
    pub fn add(&mut self, target: Process, points: &[Probed]) -> Result<(), SessionError> {
        let pid = target.pid;
        match self.targets.iter_mut().find(|known| known.pid == pid) {
            Some(known) => *known = target,
            None => self.targets.push(target),
        }
        self.processes.follow(&mut self.programs.maps, pid)?;
        self.late.consider(self.processes.modules());
        let scope = self.scope(pid);
        // Hits of its own must not be counted as those of the target.
        self.calibrating.wait();
        self.attached.attach(&mut self.programs, &self.processes, points, pid, scope)?;
        self.hand_over();
        // Once more, now that the kernel follows the process: what was unmapped while the first copy was made is gone from
        // this one.
        Ok(self.processes.install(&mut self.programs.maps, pid)?)
    }

    /// Attaches to functions of modules that came during the recording. They get counters behind those in use.
    pub(super) fn attach_late(&mut self, outcome: Outcome) {
        let Outcome { arrival, found } = outcome;
        self.searched.note(&found);
        if found.plan.is_err() {
            return self.late.note_none(&arrival);
        }
        let scope = self.scope(arrival.process);
        for of_module in found.probed.chunk_by(|a, b| a.module == b.module) {
            let process = arrival.process;
            let in_vain = scope.is_some()
                && self.targets.iter().any(|target| target.pid == process && target.main_thread_has_ended());
            let attached = self.attached.attach(&mut self.programs, &self.processes, of_module, process, scope);
            // A file that was renamed, say, is another module: its functions have their probes.
            if matches!(attached, Ok(false)) {
                continue;
            }
            let result = attached.map(|_| self.start.elapsed()).map_err(|error| error.to_string());
            let result = if in_vain { Err(MAIN_THREAD_ENDED.to_owned()) } else { result };
            // One that has only functions that release (of C++ over malloc) counts nothing.
            let Some(first) = of_module.iter().find(|probed| probed.point.role != Role::Release) else { continue };
            let path = self.processes.modules().get(first.module).map_or("", |module| module.path.as_str());
            self.late.note_module(&arrival, path, first.point.family, result);
        }
        self.hand_over();
    }

    /// Probes processes anew in which another thread than the main one has run a program. The main thread has ended then, and with it
    /// what the kernel knows the process by that its probes are for.
    pub(super) fn probe_again(&mut self) {
        if self.replaced.is_empty() {
            return;
        }
        for process in std::mem::take(&mut self.replaced) {
            // A program that tracer started is stopped now, and looked at.
            let is_child = self.child.as_ref().is_some_and(|child| child.pid == process);
            let Some(scope) = self.scope(process).filter(|_| !is_child) else { continue };
            let points = self.attached.of_scope(Some(scope));
            self.detach(scope);
            let attached = self.attached.attach(&mut self.programs, &self.processes, &points, process, Some(scope));
            if let Err(error) = attached {
                self.late.note(format!("process {process} runs another program and is counted no more: {error}"));
            }
        }
        self.hand_over();
    }

    /// Gives new links to those who let them come and go.
    fn hand_over(&mut self) {
        if let Some(windows) = &self.windows {
            windows.add(self.attached.take_links(), self.attached.kinds());
        }
    }

    /// Takes away the probes of a process.
    pub(in crate::record) fn detach(&mut self, process: NonZeroU32) {
        self.attached.forget_scope(Some(process));
        if let Some(windows) = &self.windows {
            windows.remove(Some(process));
        }
    }

    /// Which processes the probes of a process's functions are for.
    fn scope(&self, process: u32) -> Scope {
        if self.request.children { None } else { NonZeroU32::new(process) }
    }
}
