//! From the ring buffer and the counters into a session.

use std::time::Instant;

use aya::maps::{MapData, RingBuf};
use tracer_ebpf::abi::{
    sample::{Frame, ProcessChange, Sample as Header, WalkStatus},
    settings::Loss,
};

use super::Session;
use crate::{
    probe::counters,
    record::{
        decode::{Record, decode},
        discover::Probed,
        error::SessionError,
        live,
        request::Progress,
        windows::handle::Windows,
    },
};

/// Records taken before anything else gets its turn.
const BATCH: usize = 8192;

impl Session {
    /// Takes records from the ring buffer; true when there may be more.
    pub(super) fn drain(&mut self, ring: &mut RingBuf<MapData>) -> bool {
        for _ in 0..BATCH {
            let Some(item) = ring.next() else { return false };
            match decode(&item) {
                Ok(Record::Sample(sample)) => {
                    let Header { process, status, stopped_at, time_ns, .. } = sample.header;
                    if status == WalkStatus::Stale as u32 {
                        self.processes.distrusted(process);
                    } else if status == WalkStatus::NoMapping as u32 {
                        self.processes.doubted(process, stopped_at, time_ns);
                    }
                    let point = self.attached.points().get(sample.header.function as usize);
                    if let Some(blocks) = self.blocks.as_mut().filter(|_| point.is_some_and(live::is_followed)) {
                        blocks.sampled(sample.header.thread, sample.header.time_ns, self.samples.len());
                    }
                    let leaf = point.map_or(address(sample.header.stopped_at), leaf);
                    self.samples.push(sample, leaf);
                }
                Ok(Record::Release(release)) => {
                    if let Some(blocks) = &mut self.blocks {
                        blocks.released(&release, &mut self.samples);
                    }
                }
                Ok(Record::Process { change, process, parent, time_ns }) => {
                    match (change, &mut self.blocks) {
                        (ProcessChange::Executed, Some(blocks)) => {
                            blocks.executed(process, time_ns, &mut self.samples);
                        }
                        (ProcessChange::Exited, Some(blocks)) => blocks.exited(process, time_ns),
                        _ => {}
                    }
                    if change == ProcessChange::Executed && parent != process {
                        self.replaced.insert(process);
                    }
                    let child = self.child.as_ref().map(|child| child.pid);
                    self.executions += u64::from(change == ProcessChange::Executed && child == Some(process));
                    self.processes.changed(change, process, parent);
                }
                Err(_) => self.undecodable += 1,
            }
        }
        true
    }

    /// Reads the exact counters and lets the interval follow them.
    pub(super) fn observe(&mut self) -> Result<Progress, SessionError> {
        let mut bytes = 0u64;
        for slot in 0..self.slots() {
            for class in counters::function(&self.programs.maps, slot)? {
                bytes = bytes.wrapping_add(class.bytes);
            }
        }
        let now = Instant::now();
        // Where probes come and go, an epoch is the shortest time that says anything.
        if !self.windows.as_mut().is_some_and(Windows::waits) {
            let new = bytes.wrapping_sub(self.bytes_seen);
            if let Some(interval) = self.control.observe(new, now - self.observed) {
                self.programs.maps.settings.change(|settings| settings.interval = interval)?;
            }
            (self.bytes_seen, self.observed) = (bytes, now);
        }
        if self.blocks.is_some() {
            self.resident.observe(&self.targets);
        }
        self.looked = now;
        let losses = counters::losses(&self.programs.maps)?;
        let events_lost = counters::loss(&losses, Loss::EventRingFull);
        if std::mem::replace(&mut self.events_lost, events_lost) < events_lost {
            self.processes.events_lost(&self.programs.maps)?;
        }
        Ok(Progress {
            elapsed: now - self.start,
            samples: self.samples.len() as u64,
            bytes,
            counted: self.windows.as_ref().map_or(now - self.start, Windows::counted),
            lost: counters::loss(&losses, Loss::RingFull)
                + counters::loss(&losses, Loss::ScratchBusy)
                + self.undecodable,
        })
    }
}

/// The frame of a probed function, for samples whose walk found none.
fn leaf(point: &Probed) -> Frame {
    Frame(u64::from(point.module) << 48 | point.point.instruction_address() & 0xffff_ffff_ffff)
}

/// An address that is known to lie in no module.
fn address(address: u64) -> Frame {
    Frame(address & 0xffff_ffff_ffff)
}
