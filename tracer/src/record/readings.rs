//! When the mappings of each process are read again.
//!
//! As a rule an event says that they changed. A walk that came to an address in no mapping raises a doubt: an event may have been
//! lost, or a mapping may have come in a way that makes none. Most such addresses really have no mapping (the walk went astray), so
//! that a doubt waits, and twice as long each time that reading did not help.
//!
//! All times are those of `CLOCK_MONOTONIC` in nanoseconds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A process rests at least this long between two readings, and [`REST_SHARE`] times as long as the last one took: a program
/// that maps code in a loop must not keep us busy.
const REST: u64 = 1_000_000;
/// See [`REST`].
const REST_SHARE: u64 = 4;
/// A doubt waits this long after the last reading began, while doubts help.
const PATIENCE: u64 = 20_000_000;
/// The same, where they never do.
const MOST_PATIENCE: u64 = 256 * PATIENCE;

/// See the module.
#[derive(Debug, Default)]
pub struct Readings {
    /// Processes whose mappings changed.
    changed: BTreeSet<u32>,
    /// Processes in which a walk came to an address in no mapping, and one such address.
    doubted: BTreeMap<u32, u64>,
    last: HashMap<u32, Last>,
}

/// The last reading of a process.
#[derive(Clone, Copy, Debug)]
struct Last {
    begun: u64,
    /// When the next may be.
    rested: u64,
    /// How long doubts wait.
    patience: u64,
}

impl Readings {
    /// The mappings of a process changed.
    pub fn changed(&mut self, process: u32) {
        self.changed.insert(process);
    }

    /// It runs another program: whatever was known of it is of no use.
    pub fn executed(&mut self, process: u32) {
        self.forget(process);
        self.changed.insert(process);
    }

    /// A walk at `time` came to an address in no mapping.
    pub fn doubted(&mut self, process: u32, address: u64, time: u64) {
        // What was read since may have it.
        if self.last.get(&process).is_none_or(|last| time > last.begun) {
            self.doubted.entry(process).or_insert(address);
        }
    }

    /// When to read a process.
    fn when(&self, process: u32) -> u64 {
        let Some(last) = self.last.get(&process) else { return 0 };
        if self.changed.contains(&process) { last.rested } else { last.rested.max(last.begun + last.patience) }
    }

    fn waiting(&self) -> impl Iterator<Item = u32> {
        let doubted = self.doubted.keys().filter(|process| !self.changed.contains(process));
        self.changed.iter().chain(doubted).copied()
    }

    /// The processes to read now.
    pub fn due(&self, now: u64) -> Vec<u32> {
        self.waiting().filter(|&process| self.when(process) <= now).collect()
    }

    /// When there is one to read; `None` = nothing is known to have changed.
    pub fn next(&self) -> Option<u64> {
        self.waiting().map(|process| self.when(process)).min()
    }

    /// A process was read. `has`: whether an address lies in what was read.
    pub fn read(&mut self, process: u32, begun: u64, ended: u64, has: impl Fn(u64) -> bool) {
        self.changed.remove(&process);
        let rested = ended + (ended.saturating_sub(begun) * REST_SHARE).max(REST);
        let patience = self.last.get(&process).map_or(PATIENCE, |last| last.patience);
        let patience = match self.doubted.remove(&process) {
            Some(address) if has(address) => PATIENCE,
            Some(_) => (2 * patience).min(MOST_PATIENCE),
            None => patience,
        };
        self.last.insert(process, Last { begun, rested, patience });
    }

    /// A process is not followed any more.
    pub fn forget(&mut self, process: u32) {
        self.changed.remove(&process);
        self.doubted.remove(&process);
        self.last.remove(&process);
    }

    /// The processes that were read.
    pub fn known(&self) -> impl Iterator<Item = u32> {
        self.last.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const PROCESS: u32 = 7;

    /// How often a process is read in `length` when a walk finds no mapping every millisecond, and a reading takes two.
    fn readings(length: u64, helps: bool) -> usize {
        let (mut readings, mut count) = (Readings::default(), 0);
        for now in (0..length / MS).map(|ms| ms * MS) {
            readings.doubted(PROCESS, 0x1000, now);
            for process in readings.due(now) {
                readings.read(process, now, now + 2 * MS, |_| helps);
                count += 1;
            }
        }
        count
    }

    #[test]
    fn an_address_that_has_no_mapping_costs_less_and_less() {
        // At 0, 40, 120, 280 ms and so on, then every 5.12 s.
        assert_eq!(readings(1_000 * MS, false), 5);
        assert_eq!(readings(60_000 * MS, false), 18);
        assert_eq!(readings(1_000 * MS, true), 50);
    }

    #[test]
    fn a_doubt_that_helps_makes_the_next_one_quick_again() {
        let mut readings = Readings::default();
        readings.doubted(PROCESS, 1, 1);
        assert_eq!(readings.next(), Some(0));
        readings.read(PROCESS, 2, 3, |_| false);
        readings.doubted(PROCESS, 2, 3);
        assert_eq!(readings.next(), Some(2 + 2 * PATIENCE));
        readings.read(PROCESS, 100 * MS, 101 * MS, |address| address == 2);
        readings.doubted(PROCESS, 3, 102 * MS);
        assert_eq!(readings.next(), Some(100 * MS + PATIENCE));
    }

    #[test]
    fn a_walk_before_the_last_reading_raises_no_doubt() {
        let mut readings = Readings::default();
        readings.changed(PROCESS);
        readings.read(PROCESS, 10, 20, |_| true);
        readings.doubted(PROCESS, 1, 9);
        assert_eq!(readings.next(), None);
        readings.doubted(PROCESS, 1, 11);
        assert!(readings.next().is_some());
    }

    #[test]
    fn a_change_waits_for_the_rest_only() {
        let mut readings = Readings::default();
        readings.changed(PROCESS);
        assert_eq!(readings.due(0), [PROCESS]);
        readings.read(PROCESS, 0, 10 * MS, |_| true);
        assert!(readings.due(u64::MAX).is_empty());
        readings.changed(PROCESS);
        readings.doubted(PROCESS, 1, 11 * MS);
        assert_eq!(readings.next(), Some(50 * MS));
        assert_eq!((readings.due(50 * MS - 1), readings.due(50 * MS)), (vec![], vec![PROCESS]));
        // One that runs another program has not been read at all.
        readings.executed(PROCESS);
        assert_eq!(readings.next(), Some(0));
        readings.forget(PROCESS);
        assert_eq!((readings.next(), readings.known().count()), (None, 0));
    }
}
