//! The loop: waits for whatever comes first.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use tokio::io::{Interest, unix::AsyncFd};

use super::Session;
use crate::{
    record::{child::Child, error::SessionError, request::Progress, windows::handle::Windows},
    recording::about::Ended,
    target::Process,
};

/// How often the ring buffer is looked at when nobody wakes us, and the counters are read.
const LOOK: Duration = Duration::from_millis(100);
/// The same during the first [`SETTLING`]: until the interval fits the target's rate.
const LOOK_AT_FIRST: Duration = Duration::from_millis(10);
/// See [`LOOK_AT_FIRST`].
const SETTLING: Duration = Duration::from_millis(100);

impl Session {
    /// Collects until the duration is over, all targets have ended or `stop` says so.
    ///
    /// # Errors
    /// [`SessionError::Wait`] or [`SessionError::Map`]; what was collected so far stays and can be finished.
    pub async fn run(
        &mut self,
        stop: impl Future<Output = ()>,
        mut show: impl FnMut(Progress),
    ) -> Result<Ended, SessionError> {
        let ends: Vec<AsyncFd<OwnedFd>> =
            self.targets.iter().map(|target| watch(target.pidfd().try_clone_to_owned()?)).collect::<io::Result<_>>()?;
        let attacher = watch(self.attacher.end()?)?;
        let deadline = self.request.duration.map(|duration| self.start + duration);
        let mut stop = std::pin::pin!(stop);
        let Some(ring) = self.programs.maps.events.take() else { return Ok(Ended::Interrupted) };
        let mut ring = watch(ring)?;
        // Whatever happens, the ring buffer goes back: what is still in it is taken or counted at the end.
        let result = loop {
            let look = if self.start.elapsed() < SETTLING { LOOK_AT_FIRST } else { LOOK };
            let over = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = &mut stop => break Ok(Ended::Interrupted),
                () = over => break Ok(Ended::Duration),
                result = all_readable(&ends) => break result.map(|()| Ended::TargetExited).map_err(SessionError::from),
                // It says nothing: this is its end.
                result = attacher.readable() => break result.map(|_| Ended::ProbesGone).map_err(SessionError::from),
                outcome = self.late.next() => match outcome {
                    Ok(outcome) => self.attach_late(outcome),
                    Err(error) => self.late.note(format!("a search for allocators failed: {error}")),
                },
                result = ring.readable_mut() => match result {
                    Ok(mut guard) => {
                        if !self.drain(guard.get_inner_mut()) {
                            guard.clear_ready();
                        }
                    }
                    Err(error) => break Err(error.into()),
                },
                () = tokio::time::sleep(self.processes.next_refresh().map_or(look, |refresh| refresh.min(look))) => {
                    while self.drain(ring.get_mut()) {}
                }
            }
            match self.follow_up(look, &mut show) {
                Ok(None) => {}
                Ok(Some(ended)) => break Ok(ended),
                Err(error) => break Err(error),
            }
        };
        self.programs.maps.events = Some(ring.into_inner());
        result
    }

    /// Does what the events ask for, and at every look what is due then. `Some` when the recording is over.
    fn follow_up(&mut self, look: Duration, show: &mut impl FnMut(Progress)) -> Result<Option<Ended>, SessionError> {
        if self.executions > self.executions_followed
            || self.events_lost > 0 && self.child.as_ref().is_some_and(Child::is_stopped)
        {
            self.follow_child()?;
        }
        self.probe_again();
        self.processes.refresh_changed(&mut self.programs.maps)?;
        for (process, scan) in self.processes.arrived().into_iter().filter(|_| self.request.event.is_none()) {
            let (modules, points) = (self.processes.modules(), self.attached.points());
            self.late.scanned(modules, process, &scan, self.start.elapsed(), points);
        }
        self.keep_bounded()?;
        if self.looked.elapsed() >= look {
            show(self.observe()?);
            if self.is_over_budget() {
                return Ok(Some(Ended::Budget));
            }
            if self.has_lost_probes() {
                return Ok(Some(Ended::MainThreadEnded));
            }
        }
        Ok(None)
    }

    /// Whether probes of a process see nothing any more because its main thread has ended: the kernel takes its memory for that of the
    /// process. Asked at every look, it says so at the second: there is no main thread for a moment when another thread runs a new
    /// program.
    fn has_lost_probes(&mut self) -> bool {
        let are_of_processes = !self.request.children && self.request.event.is_none();
        let must_come = self.windows.as_ref().is_some_and(Windows::come_and_go);
        let needed = are_of_processes && (must_come || !self.programs.probes_outlive_main_thread());
        let ended = needed && self.targets.iter().any(Process::main_thread_has_ended);
        std::mem::replace(&mut self.main_thread_ended, ended) && ended
    }
}

/// Resolves when all descriptors are readable.
async fn all_readable(descriptors: &[AsyncFd<OwnedFd>]) -> io::Result<()> {
    for descriptor in descriptors {
        descriptor.readable().await?.retain_ready();
    }
    Ok(())
}

/// Registers an owner of a descriptor with the event loop.
fn watch<T: AsRawFd>(owner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: both types that come here own their descriptor and keep it open until they are dropped.
    unsafe { AsyncFd::register_with_interest(owner, Interest::READABLE) }.map_err(io::Error::from)
}
