//! The end of a session.

use tracer_ebpf::abi::settings::Loss;

use super::Session;
use crate::{
    probe::counters,
    record::{cost::cost, error::SessionError, raw::RawRecording, windows::handle::Windows},
    recording::about::{Ended, Losses},
};

impl Session {
    /// Detaches and takes what is left.
    ///
    /// # Errors
    /// [`SessionError::Map`] when the counters cannot be read.
    pub fn finish(mut self, ended: Ended) -> Result<RawRecording, SessionError> {
        let duration = self.start.elapsed();
        let windows = self.windows.as_mut().and_then(Windows::stop);
        self.programs.maps.settings.change(|settings| (settings.enabled, settings.launched) = (0, 0))?;
        let cpu = self.cpu.finish();
        self.programs.detach_event();
        // Those of a session that did not begin.
        drop(self.attached.take_links());
        // If it was about to be looked at again, it goes on unseen.
        drop(self.child.take());
        // Detaching waits for hits under way (RCU), so that nothing arrives any more.
        if let Some(mut ring) = self.programs.maps.events.take() {
            while self.drain(&mut ring) {}
        }
        let counters =
            (0..self.slots()).map(|slot| counters::function(&self.programs.maps, slot)).collect::<Result<_, _>>()?;
        let kernel = counters::losses(&self.programs.maps)?;
        let mut losses = Losses {
            ring_full: counters::loss(&kernel, Loss::RingFull),
            scratch_busy: counters::loss(&kernel, Loss::ScratchBusy),
            events: counters::loss(&kernel, Loss::EventRingFull),
            undecodable: self.undecodable,
            processes: counters::loss(&kernel, Loss::ProcessMapFull),
            ..Losses::default()
        };
        let live = self.finish_live(&kernel)?;
        let (modules, names, without_table) = self.processes.finish(&mut losses);
        let mut notes = self.late.finish();
        notes.extend(self.room.note());
        notes.extend(names.note());
        notes.extend(self.searched.notes(&self.wanted, self.attached.points()));
        notes.extend(children_left(counters::loss(&kernel, Loss::ChildLeft)));
        Ok(RawRecording {
            programs: Some(self.programs),
            targets: self.targets,
            names,
            parts: self.samples.into_parts(),
            cpu,
            modules,
            without_table,
            event: self.request.event,
            points: self.attached.into_points(),
            counters,
            losses,
            epochs: windows.as_ref().map(|windows| windows.outcome.epochs_that_matter()).unwrap_or_default(),
            cost: windows
                .map(|windows| cost(&windows, self.request.max_overhead, duration, self.spent, &self.attacher)),
            live,
            notes,
            started: self.started,
            start_ns: self.start_ns,
            duration,
            ended,
        })
    }
}

/// What is said of processes that were made while recording, where children are not traced.
fn children_left(count: u64) -> Option<String> {
    match count {
        0 => None,
        1 => Some("a process that it made is not in this recording: --children traces it too".to_owned()),
        _ => Some(format!("{count} processes that it made are not in this recording: --children traces them too")),
    }
}
