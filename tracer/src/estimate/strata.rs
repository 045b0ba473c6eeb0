//! Which samples are scaled together to which exact totals.
//!
//! A *cell* is one size class of one probed function: the grain of the exact counters. Cells that must expect few
//! samples are collapsed with their neighbours in size until a *stratum* can expect enough of them for the ratio of
//! exact to estimated to be steady: 20, a rule of thumb of survey practice, confirmed by the simulations in
//! `coverage_tests`. What is expected follows from the exact counters alone. To go by the samples that came would be to
//! treat unlucky cells otherwise than lucky ones: a bias.
//!
//! * A cell that can expect enough is a stratum. Sizes in it differ by less than a factor of 2, so its blocks have
//!   nearly the same weight, and scaling them all alike loses nothing.
//! * Cells that expect fewer are taken together in order of size. What is left of them before a cell that expects
//!   enough joins the stratum below, whose blocks are the less certain ones, or, where there is none, the one above.
//! * A cell that expects enough but has no sample at all was not missed by chance (e^-20): all its samples were lost,
//!   say. Nothing is known about who made its calls, and they are *unattributed*: shown as such, and part of the total.
//!   So are calls for 0 bytes, which cannot be sampled.
//! * A cell whose exact counters are less than its own samples add up to has counters of something else; its samples
//!   stay as Horvitz and Thompson have them.

use super::inclusion::probability;
use super::measure::{Exact, Measure};
use super::unseen;

/// Effective samples that a stratum should expect: Y²/V, the number of samples of equal weight that would be as
/// precise.
const ENOUGH: f64 = 20.0;

/// One size class of one probed function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// Size class.
    pub class: u8,
    /// Index of its counter.
    pub counter: u32,
    /// What its counter says; `None` for samples that no counter belongs to.
    pub exact: Option<Exact>,
    /// Its samples as they are: their number, the sum of their sizes.
    pub sampled: Exact,
    /// Its samples, weighted.
    pub estimate: Measure,
}

/// How samples are drawn, as far as their number is concerned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Design {
    /// Mean bytes between samples.
    pub interval: u64,
    /// Share of the samples taken that is in the recording.
    pub kept: f64,
}

impl Design {
    /// The probability that a block is sampled, and the sample kept.
    pub fn probability(self, size: u64) -> f64 {
        probability(size, self.interval) * self.kept
    }

    /// The variance that the estimate of these calls has, if all have their mean size.
    fn variance(self, exact: Exact) -> f64 {
        if exact.calls == 0 {
            return 0.0;
        }
        let size = exact.bytes as f64 / exact.calls as f64;
        let p = self.probability(size as u64);
        exact.calls as f64 * size * size * (1.0 - p) / p
    }
}

/// Cells that are scaled together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stratum {
    /// What the samples are scaled to; `None`: they are not.
    pub exact: Option<Exact>,
    /// Its samples, weighted.
    pub estimate: Measure,
    /// Objects that one sample more may stand for, see [`super::unseen`]; 0 where samples are not scaled.
    pub unit_objects: f64,
}

impl Stratum {
    fn new(exact: Exact, estimate: Measure) -> Self {
        Self { exact: Some(exact), estimate, unit_objects: 0.0 }
    }

    /// What the bytes and the objects of its samples are multiplied with.
    pub fn factors(&self) -> [f64; 2] {
        let factor = |exact: u64, estimate: f64| if estimate > 0.0 { exact as f64 / estimate } else { 1.0 };
        self.exact.map_or([1.0; 2], |exact| {
            [factor(exact.bytes, self.estimate.bytes.value), factor(exact.calls, self.estimate.objects.value)]
        })
    }
}

/// A division of cells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Strata {
    /// The strata. Each has at least one sample.
    pub strata: Vec<Stratum>,
    /// The stratum of each cell given, in the order given; `None` for cells that are unattributed.
    pub of_cell: Vec<Option<u32>>,
    /// What no sample can be scaled to.
    pub unattributed: Exact,
}

impl Strata {
    /// Divides cells.
    pub fn new(cells: &[Cell], design: Design) -> Self {
        let mut order: Vec<usize> = (0..cells.len()).collect();
        order.sort_by_key(|&i| (cells[i].class, cells[i].counter));
        let mut division = Self { of_cell: vec![None; cells.len()], ..Self::default() };
        let mut below = None;
        let mut few = Few::default();
        for i in order {
            let cell = &cells[i];
            let exact = cell.exact.unwrap_or_default();
            if exact.bytes < cell.sampled.bytes || exact.calls < cell.sampled.calls {
                division.push(&[i], Stratum { estimate: cell.estimate, ..Stratum::default() });
            } else if enough(exact, design.variance(exact)) {
                if cell.estimate.samples == 0 {
                    division.unattributed += exact;
                    continue;
                }
                let first = below.is_none();
                if !first {
                    division.join(below, &mut few);
                }
                below = Some(division.push(&[i], Stratum::new(exact, cell.estimate)));
                if first {
                    division.join(below, &mut few);
                }
            } else {
                few.push(i, cell, design.variance(exact));
                if enough(few.exact, few.variance) {
                    below = division.push_few(&mut few).or(below);
                }
            }
        }
        match below {
            Some(_) => division.join(below, &mut few),
            None => _ = division.push_few(&mut few),
        }
        for (index, stratum) in (0..).zip(&mut division.strata).filter(|(_, stratum)| stratum.exact.is_some()) {
            let of_it = cells.iter().zip(&division.of_cell).filter(|(_, of)| **of == Some(index));
            stratum.unit_objects = unseen::weight(of_it.map(|(cell, _)| cell), design);
        }
        division
    }

    /// All cells as one stratum, whatever they expect.
    pub fn whole(cells: &[Cell], exact: Exact) -> Self {
        let mut estimate = Measure::default();
        for cell in cells {
            estimate += cell.estimate;
        }
        if estimate.samples == 0 {
            return Self { of_cell: vec![None; cells.len()], unattributed: exact, ..Self::default() };
        }
        let strata = vec![Stratum::new(exact, estimate)];
        Self { strata, of_cell: vec![Some(0); cells.len()], unattributed: Exact::default() }
    }

    fn push(&mut self, cells: &[usize], stratum: Stratum) -> u32 {
        let index = self.strata.len() as u32;
        self.strata.push(stratum);
        for &i in cells {
            self.of_cell[i] = Some(index);
        }
        index
    }

    /// Makes a stratum of them, unless they have no sample.
    fn push_few(&mut self, few: &mut Few) -> Option<u32> {
        let Few { cells, exact, estimate, .. } = std::mem::take(few);
        if estimate.samples == 0 {
            self.unattributed += exact;
            return None;
        }
        Some(self.push(&cells, Stratum::new(exact, estimate)))
    }

    fn join(&mut self, stratum: Option<u32>, few: &mut Few) {
        let Few { cells, exact, estimate, .. } = std::mem::take(few);
        for i in cells {
            self.of_cell[i] = stratum;
        }
        if let Some(stratum) = stratum.and_then(|s| self.strata.get_mut(s as usize)) {
            stratum.estimate += estimate;
            if let Some(total) = &mut stratum.exact {
                *total += exact;
            }
        }
    }
}

fn enough(exact: Exact, variance: f64) -> bool {
    variance * ENOUGH <= (exact.bytes as f64).powi(2)
}

/// Cells that expect too few samples, so far.
#[derive(Default)]
struct Few {
    cells: Vec<usize>,
    exact: Exact,
    variance: f64,
    estimate: Measure,
}

impl Few {
    fn push(&mut self, index: usize, cell: &Cell, variance: f64) {
        self.cells.push(index);
        self.exact += cell.exact.unwrap_or_default();
        self.variance += variance;
        self.estimate += cell.estimate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::inclusion::weigh;

    const R: u64 = 1 << 20;

    /// A cell of blocks of 2^(class-1) bytes.
    fn cell(class: u8, counter: u32, samples: u64, bytes: u64) -> Cell {
        let size = 1 << (class - 1);
        let mut cell = Cell { class, counter, exact: Some(Exact { calls: bytes / size, bytes }), ..Cell::default() };
        for _ in 0..samples {
            cell.estimate += weigh(size, R, 1.0);
            cell.sampled += Exact { calls: 1, bytes: size };
        }
        cell
    }

    fn divide(cells: &[Cell]) -> Strata {
        Strata::new(cells, Design { interval: R, kept: 1.0 })
    }

    #[test]
    fn cells_that_expect_enough_stand_alone_even_when_they_were_unlucky() {
        let cells = [cell(10, 0, 20, 22 * R), cell(11, 0, 1, 25 * R), cell(10, 1, 25, 25 * R)];
        let strata = divide(&cells);
        assert_eq!(strata.of_cell, [Some(0), Some(2), Some(1)]);
        assert_eq!(strata.unattributed, Exact::default());
    }

    #[test]
    fn cells_that_expect_few_join_each_other_then_the_stratum_below() {
        let cells = [
            cell(5, 0, 8, 7 * R),
            cell(6, 0, 0, R),
            cell(7, 0, 15, 15 * R),
            cell(8, 0, 3, 3 * R),
            cell(9, 0, 50, 50 * R),
            cell(10, 0, 1, R),
        ];
        let strata = divide(&cells);
        assert_eq!(strata.of_cell, [0, 0, 0, 0, 1, 1].map(Some));
        assert_eq!(strata.strata[0].exact.unwrap().bytes, 26 * R);
        assert_eq!(strata.strata[0].estimate.samples, 26);
    }

    #[test]
    fn few_with_nothing_below_join_the_stratum_above() {
        let strata = divide(&[cell(5, 0, 2, 2 * R), cell(9, 0, 50, 50 * R)]);
        assert_eq!(strata.of_cell, [Some(0), Some(0)]);
        assert_eq!(strata.strata[0].exact.unwrap().bytes, 52 * R);
    }

    #[test]
    fn few_alone_are_a_stratum_where_there_is_a_sample() {
        let strata = divide(&[cell(5, 0, 0, R), cell(6, 0, 1, R)]);
        assert_eq!(strata.strata[0].exact.unwrap().bytes, 2 * R);
        assert_eq!(divide(&[cell(5, 0, 0, R), cell(6, 0, 0, R)]).unattributed.bytes, 2 * R);
    }

    #[test]
    fn a_certain_block_is_a_stratum_by_itself() {
        // 4 R: p = 0.98; one such block is worth 54 samples.
        let strata = divide(&[cell(10, 0, 50, 50 * R), cell(23, 0, 1, 4 * R), cell(30, 0, 1, 512 * R)]);
        assert_eq!(strata.of_cell, [0, 1, 2].map(Some));
    }

    #[test]
    fn what_chance_cannot_have_missed_is_unattributed() {
        let mut nothing = Cell { exact: Some(Exact { calls: 9, bytes: 0 }), ..Cell::default() };
        let strata = divide(&[cell(10, 0, 50, 50 * R), cell(30, 0, 0, 512 * R), nothing.clone()]);
        assert_eq!(strata.of_cell, [Some(0), None, None]);
        assert_eq!(strata.unattributed, Exact { calls: 10, bytes: 512 * R });
        // Where every allocation is sampled, calls for 0 bytes are like any other.
        nothing.estimate = weigh(0, 0, 1.0);
        nothing.sampled.calls = 1;
        let strata = Strata::new(&[nothing], Design { interval: 0, kept: 1.0 });
        assert_eq!(strata.strata[0].exact, Some(Exact { calls: 9, bytes: 0 }));
    }

    #[test]
    fn without_any_sample_everything_is_unattributed() {
        let strata = divide(&[cell(10, 0, 0, R), cell(12, 0, 0, 50 * R), cell(13, 0, 0, R)]);
        assert_eq!((strata.strata.len(), strata.unattributed.bytes), (0, 52 * R));
    }

    #[test]
    fn counters_of_something_else_are_left_alone() {
        let strata = divide(&[cell(10, 0, 50, 512), Cell { exact: None, ..cell(11, 7, 50, 0) }]);
        assert_eq!(strata.strata.iter().map(|s| s.exact).collect::<Vec<_>>(), [None, None]);
        assert_eq!(strata.unattributed, Exact::default());
    }
}
