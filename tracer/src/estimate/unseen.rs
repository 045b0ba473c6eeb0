//! Objects of sizes that no sample tells of.
//!
//! Bytes of which no sample came are at most 3.69 R in 97.5 % of cases, whatever the sizes. Objects have no such bound: the same
//! bytes are one object or a hundred thousand. The upper end of an interval must therefore allow for the heaviest event that
//! *could* have come, not for such as came: Fay and Feuer (Statistics in Medicine 16 (1997) 791) take the largest weight
//! of all strata, those without an event too. (A mean weight, as Tiwari, Clegg and Zou, Stat. Methods Med. Res. 15 (2006) 547, have it,
//! makes intervals narrower where strata weigh about the same; classes of sizes weigh as 1 to thousands.)
//!
//! Which sizes could have come is counted: the smallest weigh most, but of a class with 40 calls no group has more than 40
//! objects. So the [`EVENTS`] that may go unseen are given to the classes in order of size, to each as many as its calls can expect.
//!
//! That bound is no use to who wants to know how many of his large blocks there are: a hundred of 1 MiB, and perhaps up to a
//! hundred thousand of 16 bytes. Where it leaves not even the order of magnitude, there is only a lower end ([`or_at_least`]).

use tracer_ebpf::abi::allocation::SIZE_CLASSES;

use super::interval::Interval;
use super::strata::{Cell, Design};

/// Events that stay unseen in 2.5 % of cases: -ln 0.025.
pub const EVENTS: f64 = 3.688_879_454_113_936;
/// An upper end so many times the estimate says nothing.
const FAR: f64 = 10.0;

/// Objects that an event more stands for at most: [`EVENTS`] of them are all that may go unseen in a group. Without
/// counters they may have any size.
pub fn weight<'a>(cells: impl IntoIterator<Item = &'a Cell>, design: Design) -> f64 {
    let mut calls = [0.0; SIZE_CLASSES];
    for cell in cells {
        let class = calls.get_mut(usize::from(cell.class));
        if let (Some(exact), Some(calls)) = (cell.exact, class) {
            *calls += exact.calls as f64;
        }
    }
    if calls.iter().all(|&calls| calls == 0.0) {
        calls[1] = f64::INFINITY;
    }
    let (mut events, mut objects) = (EVENTS, 0.0);
    // Class 0 has no bytes, and no sample speaks for it.
    for (class, calls) in calls.iter().enumerate().skip(1) {
        let p = design.probability(1 << (class - 1));
        // Nor are blocks missed that are sampled for certain, as are all that are larger.
        if p >= 1.0 || events <= 0.0 {
            break;
        }
        let taken = events.min(calls * p);
        objects += taken / p;
        events -= taken;
    }
    objects / EVENTS
}

/// An interval of objects, without its upper end (infinite) where that is too far from the estimate to say anything.
pub fn or_at_least(value: f64, interval: Interval) -> Interval {
    let says_nothing = value > 0.0 && interval.high > FAR * value;
    Interval { high: if says_nothing { f64::INFINITY } else { interval.high }, ..interval }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::Exact;

    const R: u64 = 1 << 16;

    fn weight_of(classes: &[(u8, u64)], interval: u64, kept: f64) -> f64 {
        let cell =
            |&(class, calls): &(u8, u64)| Cell { class, exact: Some(Exact { calls, bytes: 1 }), ..Cell::default() };
        weight(&classes.iter().map(cell).collect::<Vec<Cell>>(), Design { interval, kept })
    }

    fn near(a: f64, b: f64) {
        assert!((a / b - 1.0).abs() < 1e-3, "{a} is not {b}");
    }

    #[test]
    fn the_smallest_size_weighs_most_but_no_class_more_than_its_calls() {
        // 16 bytes: one in 4,096.
        near(weight_of(&[(5, 1 << 40), (9, 1 << 40)], R, 1.0), 4096.0);
        near(weight_of(&[(5, 1 << 40), (9, 1 << 40)], R, 0.5), 8192.0);
        // 4,096 of them are one event.
        near(weight_of(&[(5, 4096), (9, 1 << 40)], R, 1.0) * EVENTS, 4096.0 + (EVENTS - 1.0) * 256.0);
        near(weight_of(&[(0, 1 << 40), (5, 40)], R, 1.0) * EVENTS, 40.0);
    }

    #[test]
    fn what_is_certain_is_not_missed() {
        assert_eq!(weight_of(&[(5, 1000)], 0, 1.0), 0.0);
        assert_eq!(weight_of(&[(30, 1000)], R, 1.0), 0.0);
        near(weight_of(&[(5, 1000)], 0, 0.5), 2.0);
    }

    #[test]
    fn without_counters_blocks_may_have_any_size() {
        near(weight_of(&[], R, 1.0), R as f64);
        assert_eq!(weight_of(&[], 0, 1.0), 0.0);
    }

    #[test]
    fn an_upper_end_that_says_nothing_is_not_given() {
        let of = |high| or_at_least(100.0, Interval { low: 80.0, high });
        assert_eq!([of(1000.0).high, of(1001.0).high], [1000.0, f64::INFINITY]);
        // Of nothing it is all that is known.
        assert_eq!(or_at_least(0.0, Interval { low: 0.0, high: 5.0 }).high, 5.0);
    }
}
