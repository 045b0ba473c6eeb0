//! Sessions that follow blocks to their release.

use tracer_ebpf::abi::settings::{LOSS_COUNT, Loss};

use super::Session;
use crate::{
    probe::{counters, live::LivePrograms},
    record::{error::SessionError, live, samples::StoredSample},
    recording::about::Live,
};

impl Session {
    /// Whether following blocks has cost more than it may.
    pub(super) fn is_over_budget(&self) -> bool {
        let Some((_, share)) = self.blocks.as_ref().zip(self.request.max_overhead) else { return false };
        self.windows.as_ref().is_some_and(|windows| windows.overhead() > share)
    }

    /// Whether every return of an allocation function is trapped, not only those of sampled calls: the kernel has no session
    /// links.
    pub fn traps_all_returns(&self) -> bool {
        self.programs.live.as_ref().is_some_and(LivePrograms::returns_always)
    }

    /// Keeps memory bounded: raises the interval where there are too many blocks in use, and thins samples where there are too
    /// many of them.
    pub(super) fn keep_bounded(&mut self) -> Result<(), SessionError> {
        let settings = &self.programs.maps.settings;
        let interval = settings.get().interval;
        let (Some(blocks), Some(live)) = (&mut self.blocks, &self.programs.live) else {
            if self.room.is_full(self.samples.len()) {
                self.room.make(&mut self.samples, interval, |_| true);
            }
            return Ok(());
        };
        let raised = blocks.keep_bounded(&live.map, &mut self.samples, &mut self.room, interval);
        if let Some(interval) = raised.map_err(SessionError::Live)? {
            self.control.raise(interval);
            let interval = self.control.interval();
            settings.change(|settings| settings.interval = interval)?;
        }
        Ok(())
    }

    /// What became of the blocks in the end.
    pub(super) fn finish_live(&mut self, losses: &[u64; LOSS_COUNT as usize]) -> Result<Option<Live>, SessionError> {
        let (Some(blocks), Some(live)) = (&mut self.blocks, &self.programs.live) else { return Ok(None) };
        let unknown = blocks.finish(&live.map, &mut self.samples).map_err(SessionError::Live)?;
        let points = self.attached.points();
        let unseen =
            |sample: &&StoredSample| points.get(sample.function as usize).is_none_or(|point| !live::is_followed(point));
        let unseen = self.samples.iter().filter(unseen).count() as u64;
        let lost: u64 = [Loss::LiveFull, Loss::CallsFull, Loss::ReleaseRingFull]
            .into_iter()
            .map(|loss| counters::loss(losses, loss))
            .sum::<u64>()
            + blocks.counts.lost;
        // Of those that were thinned since, no trace is left.
        let lost = lost.min(unknown);
        Ok(Some(Live {
            resident_bytes: self.resident.end(&self.targets),
            peak_blocks: blocks.counts.peak,
            interval_raised: blocks.counts.raised,
            unreturned: unknown - lost,
            not_followed: lost + unseen,
            missed_releases: blocks.counts.missed,
        }))
    }
}
