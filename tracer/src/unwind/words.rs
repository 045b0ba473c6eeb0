//! Free space in the address space of table words.

use std::collections::BTreeMap;
use std::ops::Range;

use tracer_ebpf::abi::unwind::SHARD_WORDS;

/// Which words of `0..end` are free: disjoint stretches that do not touch.
#[derive(Clone, Debug)]
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_once() {
        let mut free = FreeWords::new(100);
        assert_eq!(free.take_even(10), Some(0..10));
        free.take(10..11);
        assert_eq!(free.take_even(10), Some(12..22));
        assert_eq!(free.within_shards(1), vec![11..12, 22..100]);
        assert_eq!(free.count(), 100 - 21);
        assert_eq!(free.take_even(90), None);
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
