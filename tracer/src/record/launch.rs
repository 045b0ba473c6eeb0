//! A program that tracer starts, traced from its first allocation.
//!
//! The kernel stops the child when it runs a program, and again when the dynamic loader has mapped its libraries; nothing of
//! the program itself has run then. The same happens again when it runs another program (`env`, `sh -c exec`).

use std::num::NonZeroU32;

use super::{
    child::{Child, Next},
    error::SessionError,
    loader::{CONSISTENT, Loader},
    processes::ProcessError,
    session::Session,
};
use crate::target::{MappingKind, Process};

impl Session {
    /// Lets a forked child run its program, with probes in it. Counting has begun when this returns.
    ///
    /// # Errors
    /// When it cannot be run, ends at once, or nothing in it is known to allocate. It has not run then, and will not.
    pub fn launch(&mut self, child: Child, program: &str) -> Result<(), SessionError> {
        self.programs.maps.settings.change(|settings| settings.launched = child.pid)?;
        let launched = self.let_child_go(child, program).and_then(|()| self.begin());
        if let (Err(_), Some(child)) = (&launched, &self.child) {
            child.kill();
        }
        self.resume_child();
        launched
    }

    fn let_child_go(&mut self, mut child: Child, program: &str) -> Result<(), SessionError> {
        let start = |source| SessionError::Start { program: program.to_owned(), source };
        self.processes.expect(&mut self.programs.maps, child.pid)?;
        child.go().map_err(start)?;
        let next = child.wait().map_err(start)?;
        self.child = Some(child);
        self.executions_followed += 1;
        if next == Next::Ended || self.prepare_child()? == Next::Ended {
            return Err(SessionError::EndedEarly(program.to_owned()));
        }
        Ok(())
    }

    /// The child runs another program: everything in it is new.
    ///
    /// # Errors
    /// As [`Session::launch`]. That a program allocates nothing is none: it may run another one.
    pub(super) fn follow_child(&mut self) -> Result<(), SessionError> {
        self.executions_followed = self.executions;
        if self.next_of_child()? == Next::Stopped {
            match self.prepare_child() {
                Ok(_) | Err(SessionError::Discover(_)) => {}
                // It was killed meanwhile; the event loop will notice.
                Err(SessionError::Identity(_) | SessionError::Process(ProcessError::Mappings { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        self.resume_child();
        Ok(())
    }

    /// The child stands before the first instruction of a program. When this returns it stands before the first one that is
    /// not the loader's, and is probed.
    fn prepare_child(&mut self) -> Result<Next, SessionError> {
        let Some(pid) = self.child.as_ref().and_then(|child| NonZeroU32::new(child.pid)) else {
            return Ok(Next::Ended);
        };
        self.detach(pid);
        if self.let_libraries_load(pid)? == Next::Ended {
            return Ok(Next::Ended);
        }
        let process = Process::open(pid.get())?;
        let points = self.discover(&process)?;
        self.add(process, &points)?;
        Ok(Next::Stopped)
    }

    /// Runs the child until its dynamic loader is done. A static program has none.
    fn let_libraries_load(&mut self, pid: NonZeroU32) -> Result<Next, SessionError> {
        let scan = self.processes.scan(pid.get())?;
        let modules = self.processes.modules();
        let loader = scan
            .mappings
            .iter()
            .filter(|mapping| mapping.kind == MappingKind::File)
            .filter_map(|mapping| modules.get(mapping.module))
            .find(|module| module.is_interpreter)
            .and_then(|module| Loader::find(module, &scan));
        let path = loader.and_then(|loader| self.processes.attach_path(loader.module));
        let Some((loader, path)) = loader.zip(path) else { return Ok(Next::Stopped) };
        let probe = self.programs.attach_loader(&path, loader.debug_state, pid)?;
        let next = loop {
            self.resume_child();
            if self.next_of_child()? == Next::Ended {
                break Next::Ended;
            }
            let state = loader.state.and_then(|address| self.child.as_ref()?.read_u32(address).ok());
            if state.is_none_or(|state| state == CONSISTENT) {
                break Next::Stopped;
            }
        };
        self.programs.detach_loader(probe);
        Ok(next)
    }

    fn next_of_child(&self) -> Result<Next, SessionError> {
        Ok(self.child.as_ref().map_or(Ok(Next::Ended), Child::wait)?)
    }

    fn resume_child(&self) {
        if let Some(child) = &self.child {
            child.resume();
        }
    }
}
