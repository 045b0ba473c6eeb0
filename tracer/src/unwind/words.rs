//! Free space in the address space of table words.

use std::collections::BTreeMap;
use std::ops::Range;

use tracer_ebpf::abi::unwind::SHARD_WORDS;

/// Which words of `0..end` are free: disjoint stretches that do not touch.
#[derive(Debug)]
pub(super) struct FreeWords {
    /// First word to length.
    stretches: BTreeMap<u32, u32>,
}

impl FreeWords {
    pub(super) fn new(end: u32) -> Self {
        Self { stretches: [(0, end)].into() }
    }

    pub(super) fn count(&self) -> u32 {
        self.stretches.values().sum()
    }

    /// Takes `words` consecutive words at an even address, which may run over the border of a shard.
    pub(super) fn take_even(&mut self, words: u32) -> Option<Range<u32>> {
        let fits = |(&start, &length): (&u32, &u32)| {
            let skipped = start % 2;
            (length >= skipped && length - skipped >= words).then_some(start + skipped)
        };
        let start = self.stretches.iter().find_map(fits)?;
        self.take(start..start + words);
        Some(start..start + words)
    }

    /// The stretches in which something of `least` words fits, cut at the borders of shards, in the order of addresses.
    pub(super) fn within_shards(&self, least: u32) -> Vec<Range<u32>> {
        let mut found = Vec::new();
        for (&start, &length) in &self.stretches {
            let (mut start, end) = (start, start + length);
            while start < end {
                let border = (start / SHARD_WORDS + 1) * SHARD_WORDS;
                let stop = border.min(end);
                if stop - start >= least {
                    found.push(start..stop);
                }
                start = stop;
            }
        }
        found
    }

    /// Takes words that are free.
    pub(super) fn take(&mut self, words: Range<u32>) {
        let Some((&start, &length)) = self.stretches.range(..=words.start).next_back() else { return };
        let end = start + length;
        debug_assert!(words.end <= end, "words {words:?} are not free");
        self.stretches.remove(&start);
        for left in [start..words.start, words.end..end] {
            if left.start < left.end {
                self.stretches.insert(left.start, left.end - left.start);
            }
        }
    }

    /// Gives words back.
    pub(super) fn give(&mut self, mut words: Range<u32>) {
        if words.is_empty() {
            return;
        }
        if let Some((&start, &length)) = self.stretches.range(..words.start).next_back()
            && start + length == words.start
        {
            self.stretches.remove(&start);
            words.start = start;
        }
        if let Some(length) = self.stretches.remove(&words.end) {
            words.end += length;
        }
        self.stretches.insert(words.start, words.end - words.start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_words_join_their_neighbours() {
        let mut free = FreeWords::new(100);
        assert_eq!(free.take_even(10), Some(0..10));
        free.take(10..11);
        assert_eq!(free.take_even(10), Some(12..22));
        assert_eq!(free.count(), 100 - 21);
        assert_eq!(free.take_even(90), None);
        free.give(0..10);
        free.give(12..22);
        assert_eq!(free.within_shards(11), vec![11..100]);
        free.give(10..11);
        assert_eq!(free.within_shards(1), vec![0..100]);
        assert_eq!(free.take_even(100), Some(0..100));
        assert_eq!(free.count(), 0);
    }

    #[test]
    fn stretches_are_cut_at_shards() {
        let mut free = FreeWords::new(3 * SHARD_WORDS);
        free.take(0..SHARD_WORDS - 5);
        let all = [SHARD_WORDS - 5..SHARD_WORDS, SHARD_WORDS..2 * SHARD_WORDS, 2 * SHARD_WORDS..3 * SHARD_WORDS];
        assert_eq!(free.within_shards(5), all);
        assert_eq!(free.within_shards(6), all[1..]);
        assert_eq!(free.take_even(10), Some(SHARD_WORDS - 4..SHARD_WORDS + 6));
    }
}
