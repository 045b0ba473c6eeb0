//! What was used and what was spent in the last seconds.

use std::collections::VecDeque;

/// Seconds over which a budget holds.
pub const SPAN: f64 = 5.0;
/// Entries are joined up to this length, in seconds.
const GRAIN: f64 = 0.05;

/// A stretch of time, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Flow {
    /// Its length.
    pub length: f64,
    /// CPU time that the target used, with what was spent of it on our behalf.
    pub cpu: f64,
    /// CPU time spent in the target on our behalf: the upper end of the estimate.
    pub spent: f64,
}

impl Flow {
    /// Adds what came next.
    pub fn add(&mut self, next: Self) {
        self.length += next.length;
        self.cpu += next.cpu;
        self.spent += next.spent;
    }

    /// Each second.
    #[must_use]
    pub fn rate(self) -> Self {
        self.weighted(1.0 / self.length.max(f64::MIN_POSITIVE))
    }

    /// The same, with less weight.
    #[must_use]
    pub fn weighted(self, weight: f64) -> Self {
        Self { length: self.length * weight, cpu: self.cpu * weight, spent: self.spent * weight }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: VecDeque<Flow>,
    sum: Flow,
}

impl Ledger {
    /// Takes note of what came next, and forgets what lies more than [`SPAN`] back.
    pub fn add(&mut self, flow: Flow) {
        self.sum.add(flow);
        match self.entries.back_mut() {
            Some(last) if last.length + flow.length <= GRAIN => last.add(flow),
            _ => self.entries.push_back(flow),
        }
        while let Some(first) = self.entries.front().copied().filter(|first| self.sum.length - first.length >= SPAN) {
            self.entries.pop_front();
            self.sum.add(first.weighted(-1.0));
        }
    }

    /// The last seconds: [`SPAN`], less only at the beginning.
    pub fn sum(&self) -> Flow {
        self.sum
    }

    /// The last half of them.
    pub fn recent(&self) -> Flow {
        let mut recent = Flow::default();
        for flow in self.entries.iter().rev() {
            if recent.length >= SPAN / 2.0 {
                break;
            }
            recent.add(*flow);
        }
        recent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_the_last_seconds() {
        let mut ledger = Ledger::default();
        for step in 0..10_000 {
            let spent = if step < 9000 { 1.0 } else { 0.0 };
            ledger.add(Flow { length: 0.001, cpu: 0.001, spent });
            let sum = ledger.sum();
            assert!(sum.length < SPAN + GRAIN && (step < 5000 || sum.length >= SPAN - 1e-9), "{step}: {sum:?}");
            assert!((sum.cpu - sum.length).abs() < 1e-9);
        }
        assert!((ledger.sum().spent - 4000.0).abs() <= 50.0, "{:?}", ledger.sum());
    }

    #[test]
    fn the_last_half_is_told_apart() {
        let mut ledger = Ledger::default();
        for step in 0..100 {
            ledger.add(Flow { length: 0.05, cpu: 0.0, spent: f64::from(u8::from(step >= 50)) });
        }
        assert_eq!((ledger.sum().spent, ledger.recent().spent), (50.0, 50.0));
        assert!((SPAN / 2.0 - 1e-9..SPAN / 2.0 + 2.0 * GRAIN).contains(&ledger.recent().length));
    }

    #[test]
    fn a_long_flow_stands_alone() {
        let mut ledger = Ledger::default();
        ledger.add(Flow { length: 1.0, cpu: 1.0, spent: 1.0 });
        ledger.add(Flow { length: 60.0, cpu: 0.0, spent: 0.0 });
        assert_eq!(ledger.sum(), Flow { length: 60.0, cpu: 0.0, spent: 0.0 });
    }
}
