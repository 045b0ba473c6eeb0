//! How many samples a recording keeps: one that goes on for ever must not fill the memory.
//!
//! Samples of blocks in use have a room of their own, the kernel's map of them ([`super::live`]). This is about all others: of
//! blocks that were released, and all where releases are not followed. When there are too many, they are thinned to half as many
//! ([`super::thin`]); the interval of samples to come stays what it is. After N samples those that are there stand for N/n times
//! as much as when they were taken, n being between half the limit and all of it, so that all of them count about alike.

use super::{
    samples::Samples,
    thin::{self, Random, Sizes, Unit},
};

/// See the module.
#[derive(Debug)]
pub struct Room {
    limit: usize,
    unit: Unit,
    random: Random,
    /// How often samples were thinned for want of room.
    times: u64,
}

impl Room {
    /// For `limit` samples. Any seed is as good as any other.
    pub fn new(limit: u32, unit: Unit, seed: u64) -> Self {
        Self { limit: limit as usize, unit, random: Random::new(seed), times: 0 }
    }

    /// Whether so many samples are too many.
    pub fn is_full(&self, samples: usize) -> bool {
        samples > self.limit
    }

    /// Thins the samples that `may_go` names by their index to half the limit. Returns where each is now, by its index of
    /// before. `now`: the interval in force.
    pub fn make(&mut self, samples: &mut Samples, now: u64, may_go: impl Fn(usize) -> bool) -> Vec<Option<u32>> {
        let those = samples.iter().enumerate().filter(|(index, _)| may_go(*index)).map(|(_, sample)| sample);
        let to = Sizes::of(self.unit, those).interval_for(self.limit / 2, now);
        self.times += 1;
        thin::thin(samples, self.unit, to, may_go, &mut self.random)
    }

    /// Says for people what was done.
    pub fn note(&self) -> Option<String> {
        (self.times > 0).then(|| {
            format!(
                "samples were thinned out (times: {}), as if the interval had been larger, so that no more than {} were kept \
                 (--max-samples): estimates have wider intervals",
                self.times, self.limit
            )
        })
    }
}

#[cfg(test)]
mod tests;
