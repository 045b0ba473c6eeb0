//! How large allocations were: exact, since every call is counted in its size class.

use crate::recording::About;
use crate::recording::about::SizeClass;

/// Calls of sizes from one power of two to below the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bar {
    /// Smallest size.
    pub from: u64,
    /// Largest size.
    pub to: u64,
    /// Calls.
    pub calls: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The classes between the smallest and the largest that were hit, of all counters together.
pub fn histogram(about: &About) -> Vec<Bar> {
    let mut bars: Vec<Bar> =
        (0..=64u32).map(|class| Bar { from: smallest(class), to: largest(class), ..Bar::default() }).collect();
    for SizeClass { class, calls, bytes } in about.counters.iter().flat_map(|counter| &counter.classes) {
        if let Some(bar) = bars.get_mut(usize::from(*class)) {
            bar.calls = bar.calls.saturating_add(*calls);
            bar.bytes = bar.bytes.saturating_add(*bytes);
        }
    }
    let hit = |bar: &Bar| bar.calls > 0;
    match (bars.iter().position(hit), bars.iter().rposition(hit)) {
        (Some(first), Some(last)) => bars[first..=last].to_vec(),
        _ => Vec::new(),
    }
}

fn smallest(class: u32) -> u64 {
    class.checked_sub(1).map_or(0, |shift| 1 << shift)
}

fn largest(class: u32) -> u64 {
    // The class of nothing, and 64 bits.
    if class == 0 { 0 } else { u64::MAX >> (64 - class) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::program;

    #[test]
    fn every_call_is_in_one_bar() {
        let about = program::recording().about;
        let bars = histogram(&about);
        let all = about.counters.iter().flat_map(|counter| &counter.classes);
        let (calls, bytes) = all.fold((0, 0), |sum, class| (sum.0 + class.calls, sum.1 + class.bytes));
        assert_eq!(bars.iter().map(|bar| bar.calls).sum::<u64>(), calls);
        assert_eq!(bars.iter().map(|bar| bar.bytes).sum::<u64>(), bytes);
        assert_eq!((bars[0].from, bars[0].to, bars[0].calls), (0, 0, 17));
        assert!(bars.windows(2).all(|pair| pair[0].to + 1 == pair[1].from));
        for bar in bars.iter().filter(|bar| bar.calls > 0) {
            assert!((bar.from..=bar.to).contains(&(bar.bytes / bar.calls)), "{bar:?}");
        }
    }

    #[test]
    fn classes_end_with_the_numbers() {
        assert_eq!(
            [0, 1, 2, 64].map(|class| (smallest(class), largest(class))),
            [(0, 0), (1, 1), (2, 3), (1 << 63, u64::MAX)]
        );
        assert_eq!(histogram(&About::default()), []);
    }
}
