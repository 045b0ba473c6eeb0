//! Sums over the samples of one stratum or one window, group by group.

use super::epochs::Weight;
use super::measure::{Estimate, Measure};
use super::quantile::NORMAL;
use super::strata::Stratum;
use super::unseen::EVENTS;

/// What samples add up to before they are scaled. With w = S/p or 1/p, v its variance, and ω what the window stands for:
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Parts {
    /// Samples.
    pub samples: u64,
    /// Σ w ω, Σ v ω, Σ v ω² of bytes.
    pub bytes: [f64; 3],
    /// The same of objects.
    pub objects: [f64; 3],
    /// Σ w ω of bytes with ω at the lower and at the upper end of what a hit costs.
    pub by_cost: [f64; 2],
}

impl Parts {
    /// Of one sample, by what it stands for and what its window does.
    pub fn of(sample: Measure, weight: Weight) -> Self {
        let Measure { bytes, objects, .. } = sample;
        let omega = weight.mid();
        let sums = |of: Estimate| [of.value * omega, of.variance * omega, of.variance * omega * omega];
        let [_, low, high] = weight.by_cost;
        Self {
            samples: 1,
            bytes: sums(bytes),
            objects: sums(objects),
            by_cost: [bytes.value * low, bytes.value * high],
        }
    }

    /// As a part of a stratum, scaled with it and by `factors` (of bytes and of objects). The variance is that of the byte
    /// sampling alone.
    pub fn scaled(&self, stratum: &Stratum, factors: [f64; 2]) -> Measure {
        let [g_bytes, g_objects] = stratum.factors();
        let is_exact = stratum.exact.is_some();
        let bytes = ratio(self.bytes, is_exact.then_some(stratum.estimate.bytes), factors[0] * g_bytes);
        let objects = ratio(self.objects, is_exact.then_some(stratum.estimate.objects), factors[1] * g_objects);
        let whole = stratum.estimate.objects.value;
        let share = if is_exact && whole > 0.0 { self.objects[0] / whole } else { 0.0 };
        // As if normal: as many as may have gone unseen, times the share that was scaled up by them.
        let hidden = factors[1] * share * stratum.unit_objects * EVENTS / NORMAL;
        Measure {
            samples: self.samples,
            bytes,
            objects,
            share_variance: bytes.variance,
            hidden_variance: hidden * hidden,
            ..Measure::default()
        }
    }
}

impl std::ops::AddAssign for Parts {
    fn add_assign(&mut self, other: Self) {
        let add = |sums: &mut [f64], other: &[f64]| sums.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
        self.samples += other.samples;
        add(&mut self.bytes, &other.bytes);
        add(&mut self.objects, &other.objects);
        add(&mut self.by_cost, &other.by_cost);
    }
}

/// With the residuals S (ω 1ₐ - r) of the linearised ratio, see [`super::calibration`].
fn ratio([value, once, twice]: [f64; 3], whole: Option<Estimate>, g: f64) -> Estimate {
    let variance = match whole {
        Some(whole) if whole.value > 0.0 => {
            let r = value / whole.value;
            twice - 2.0 * r * once + r * r * whole.variance
        }
        _ => twice,
    };
    Estimate { value: g * value, variance: g * g * variance.max(0.0) }
}

/// The groups of a stack, see [`super::Calibration::sum`].
pub struct Groups<'a> {
    scratch: &'a mut Scratch,
    parts: Parts,
}

impl Groups<'_> {
    /// The stack belongs to this group.
    ///
    /// # Panics
    /// Where `group` is not below the number of groups.
    #[inline]
    pub fn add(&mut self, group: u32) {
        let slot = &mut self.scratch.parts[group as usize];
        if slot.samples == 0 {
            self.scratch.touched.push(group);
        }
        *slot += self.parts;
    }
}

/// The parts of all groups. One stratum or window is summed at a time, so that a group needs one slot and not one for each
/// of them.
pub(super) struct Scratch {
    parts: Vec<Parts>,
    touched: Vec<u32>,
}

impl Scratch {
    pub(super) fn new(groups: usize) -> Self {
        Self { parts: vec![Parts::default(); groups], touched: Vec::new() }
    }

    pub(super) fn groups(&mut self, parts: Parts) -> Groups<'_> {
        Groups { scratch: self, parts }
    }

    /// The groups that had anything added since the last call, with what it is.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (usize, Parts)> {
        let Self { parts, touched } = self;
        touched.drain(..).map(|group| (group as usize, std::mem::take(&mut parts[group as usize])))
    }
}
