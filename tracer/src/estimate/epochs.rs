//! What a window stands for: recordings whose probes were in for one window of each epoch.
//!
//! Windows are the first phase of a two-phase design: of each epoch k, a share fₖ is drawn in which every call is counted
//! and, in a second phase, byte-sampled. Where in the epoch the window lies is left to chance, and fₖ is fixed by what
//! happened before the epoch, so that Σ yₖ/fₖ over the windows is unbiased for the sum over all time (Horvitz and Thompson
//! 1952), were it not that probes slow the program which they watch. Three corrections make it usable:
//!
//! 1. *Progress.* A window with cₖ of CPU time and hₖ hits of the cost c saw only uₖ = cₖ - hₖ c of the program's own work.
//!    Left alone it would have seen xₖ: cₖ, if the program takes all CPU time that it can get; uₖ, if it does what comes and
//!    idles for the rest. Which of the two, or what between them, is told by the CPU time outside windows: xₖ = uₖ +
//!    α (cₖ - uₖ) with the α for which Σ xₖ/fₖ is nearest to U. What was counted stands for xₖ/uₖ as much. Each window
//!    has its own such factor: to scale all by their mean would take from the phases that allocate most.
//! 2. *Ratio.* U is the CPU time of the epochs less what the probes took of it. Sums are scaled by U / Σ xₖ/fₖ (combined ratio
//!    estimator, Särndal et al. 1992, section 7.3): windows that happened to see an idle target, or were a little longer
//!    than planned, weigh accordingly. One ratio for all epochs, not one for each: that of a single window is undefined
//!    where it saw nothing, and its bias does not vanish with the number of epochs.
//! 3. *Brake.* A window that ended early because of too many hits stands for the rest of it, too.
//!
//! Together a byte counted in window k stands for ωₖ = U / Σ(xⱼ/fⱼ) · xₖ/(uₖ fₖ) bytes. Epochs with fₖ = 1 were watched
//! throughout; they are not part of the ratio, and their calls stand for themselves.
//!
//! c has a band, and α is as good as the CPU time is even. Everything is computed with the middle of the band, with its lower
//! end and α = 0, and with its upper end and α = 1; what that changes goes into the intervals ([`super::totals`]).
//! The band is narrowed by what was seen: hits cannot have taken more than all the CPU time there was in windows, nor less
//! than what windows have of it beyond what there is outside, (1 - α) h c ([`super::excess`]). The shortest way from one hit to the
//! next bounds what the cheapest hit costs, and so does a second breakpoint in the same function, which finds everything in the
//! cache: both say less of the mean than the calibration does.
//!
//! How much c decides depends on how much slower the program is in windows: with a band from 0.7 to 1.4 times its middle and
//! a slowdown of 2, totals are known from 0.77 to 1.67 times the estimate. There is an upper end as long as it is at most
//! [`MOST_SPREAD`] times the lower one.

use super::band::Band;
use super::interval::Interval;
use crate::recording::About;
use crate::recording::about::{Cost, Epoch};

/// What the upper end of the cost of a hit makes of the totals, relative to the lower end, from which on there is no upper end:
/// an interval as wide says less than its lower end alone seems to.
pub const MOST_SPREAD: f64 = 4.0;
/// Share of the CPU time in windows that must be the program's own at the upper end of the cost of a hit. Where there is less,
/// errors of the CPU clock weigh as much as the cost.
const LEAST_OWN: f64 = 0.1;
/// Slowdown that a window is corrected for at most. With c known to some 40 %, nothing better than "much" is known of
/// windows that are slower than this; and their differences would be noise.
const MOST_SLOWDOWN: f64 = 10.0;
/// The same, at the upper end of the band.
const MOST_SLOWDOWN_HIGH: f64 = 100.0;
/// From here on an epoch counts as watched throughout.
const ALL: f64 = 1.0 - 1e-9;
/// The least share of an epoch that its window is taken to be: files may say anything.
const LEAST: f64 = 1e-9;

/// How a byte or a call that was counted in an epoch counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weight {
    /// With the cost of a hit in the middle, at the lower and at the upper end of its band.
    pub by_cost: [f64; 3],
    /// Which of the [`Link`]s it is; `None` where it was watched throughout.
    pub link: Option<u32>,
}

impl Weight {
    /// A sample that stands for itself.
    pub const ONE: Self = Self { by_cost: [1.0; 3], link: None };

    /// With the middle of the band.
    pub fn mid(self) -> f64 {
        self.by_cost[0]
    }
}

/// A window among those that are compared with each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// √(1 - fₖ): what is left of a window's deviation when it is a large part of its epoch.
    pub correction: f64,
    /// Weighted bytes and calls less what they should be by the CPU time, corrected: the residuals of the ratio.
    pub residual: [f64; 2],
    /// Weighted bytes and calls, corrected.
    pub counted: [f64; 2],
}

/// The sum over the whole recording.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Total {
    /// With the cost of a hit in the middle, at the lower and at the upper end of its band.
    pub by_cost: [f64; 3],
    /// Counted, exact.
    pub counted: f64,
}

/// The weights of a recording's epochs.
#[derive(Clone, Debug, PartialEq)]
pub struct Epochs {
    weights: Vec<Weight>,
    /// Windows in order of time, without those of epochs that were watched throughout.
    pub links: Vec<Link>,
    /// Bytes and calls.
    pub totals: [Total; 2],
    /// How many windows of equal CPU time would say as much as these: (Σ x)²/Σ x².
    pub effective: f64,
    /// How many times slower the program was in windows.
    pub slowdown: Slowdown,
    /// What the upper end of the cost of a hit makes of the totals, relative to the lower end.
    pub spread: f64,
    /// Why there is no upper end.
    pub unbounded: Option<Unbounded>,
}

/// How many times slower the program was while probes were in: what that did to the number of calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slowdown {
    /// With the middle of the cost of a hit.
    pub times: f64,
    /// With both ends of it.
    pub range: Interval,
}

/// Why totals have a lower end only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unbounded {
    /// Probes slowed the program so much while they were in that what it would have done hangs on the cost of a hit.
    Slowed(Slowdown),
    /// Nobody knows what a hit costs.
    CostUnknown,
    /// The target ran, but never in a window.
    Unseen,
}

impl Epochs {
    /// Weighs the epochs of a recording. `None` where probes were in all the time: then every count is exact.
    pub fn new(about: &About) -> Option<Self> {
        let epochs = &about.epochs;
        let drawn: Vec<bool> = epochs.iter().map(|epoch| fraction(epoch) < ALL).collect();
        if !drawn.contains(&true) {
            return None;
        }
        let band = recorded(about.cost.as_ref(), epochs);
        let scenarios = [
            Scenario::new(epochs, band.mid, MOST_SLOWDOWN, None),
            Scenario::new(epochs, band.low, MOST_SLOWDOWN, Some(0.0)),
            Scenario::new(epochs, band.high, MOST_SLOWDOWN_HIGH, Some(1.0)),
        ];
        let mut weights = Vec::with_capacity(epochs.len());
        let mut next = 0;
        for (k, drawn) in drawn.iter().enumerate() {
            weights.push(match drawn {
                false => Weight::ONE,
                true => Weight { by_cost: [0, 1, 2].map(|s| scenarios[s].weights[k]), link: Some(next) },
            });
            next += u32::from(*drawn);
        }

        let counted: Vec<[f64; 2]> =
            epochs.iter().map(|epoch| [epoch.window.bytes as f64, epoch.window.calls as f64]).collect();
        let totals = [0, 1].map(|quantity| Total {
            by_cost: [0, 1, 2].map(|s| weights.iter().zip(&counted).map(|(w, c)| w.by_cost[s] * c[quantity]).sum()),
            counted: counted.iter().map(|c| c[quantity]).sum(),
        });
        let windows = || (0..epochs.len()).filter(|&k| drawn[k]);
        let cpu = &scenarios[0].cpu;
        let all_cpu: f64 = windows().map(|k| cpu[k]).sum();
        let squares: f64 = windows().map(|k| cpu[k] * cpu[k]).sum();
        let rates = [0, 1].map(|quantity| {
            let sum: f64 = windows().map(|k| weights[k].mid() * counted[k][quantity]).sum();
            if all_cpu > 0.0 { sum / all_cpu } else { 0.0 }
        });
        let links = windows().map(|k| {
            let correction = (1.0 - fraction(&epochs[k])).max(0.0).sqrt();
            let counted = counted[k].map(|counted| correction * weights[k].mid() * counted);
            let residual = [0, 1].map(|q| counted[q] - correction * rates[q] * cpu[k]);
            Link { correction, residual, counted }
        });
        let links: Vec<Link> = links.collect();

        let hits: u64 = windows().fold(0, |sum, k| sum.saturating_add(epochs[k].window.hits));
        let plain: f64 = windows().map(|k| counted[k][1] / fraction(&epochs[k])).sum();
        let times = |scenario: &Scenario| {
            let unslowed = |k: usize| counted[k][1] / fraction(&epochs[k]) * scenario.slowdown[k];
            if plain > 0.0 { windows().map(unslowed).sum::<f64>() / plain } else { 1.0 }
        };
        let [mid, low, high] = [0, 1, 2].map(|s| times(&scenarios[s]));
        let slowdown = Slowdown { times: mid, range: Interval { low, high } };
        let spread = |Total { by_cost: [_, low, high], .. }: &Total| if *low > 0.0 { high / low } else { 1.0 };
        let spread = totals.iter().map(spread).fold(1.0, f64::max);
        let ran: f64 = windows().map(|k| epochs[k].cpu_ns as f64).sum();
        let unbounded = if hits > 0 && band.high <= 0.0 {
            Some(Unbounded::CostUnknown)
        } else if spread > MOST_SPREAD || scenarios[2].own < LEAST_OWN {
            Some(Unbounded::Slowed(slowdown))
        } else if ran > 0.0 && all_cpu <= 0.0 {
            Some(Unbounded::Unseen)
        } else {
            None
        };
        let effective = if squares > 0.0 { all_cpu * all_cpu / squares } else { links.len() as f64 };
        Some(Self { weights, links, totals, effective, slowdown, spread, unbounded })
    }

    /// The weight of what was counted or sampled in an epoch.
    pub fn weight(&self, epoch: u32) -> Weight {
        self.weights.get(epoch as usize).copied().unwrap_or(Weight::ONE)
    }
}

/// What a hit cost, by what was recorded, which files may say anything of.
fn recorded(cost: Option<&Cost>, epochs: &[Epoch]) -> Band {
    let (mut cpu, mut hits) = (0.0, 0.0);
    for window in epochs.iter().map(|epoch| &epoch.window) {
        cpu += window.cpu_ns as f64;
        hits += window.hits as f64;
    }
    let most = if hits > 0.0 { cpu / hits } else { 0.0 };
    let clean = |ns: f64| if ns.is_finite() { ns.clamp(0.0, most) } else { 0.0 };
    let (mid, low, high) = cost.map_or((0.0, 0.0, 0.0), |cost| (cost.hit_ns, cost.hit_ns_low, cost.hit_ns_high));
    // A lower end that cannot be true says nothing.
    let low = if low >= most { 0.0 } else { clean(low) };
    let mid = clean(mid).max(low);
    Band { mid, low, high: clean(high).max(mid) }
}

/// Weights at one cost of a hit.
struct Scenario {
    weights: Vec<f64>,
    slowdown: Vec<f64>,
    /// Unperturbed CPU time that each window stands for, scaled so that they add up to that of the epochs.
    cpu: Vec<f64>,
    /// Share of the CPU time in windows that was the program's own.
    own: f64,
}

impl Scenario {
    fn new(epochs: &[Epoch], hit_ns: f64, most: f64, alpha: Option<f64>) -> Self {
        let (mut weights, mut slowdown) = (Vec::with_capacity(epochs.len()), Vec::with_capacity(epochs.len()));
        // U, Σ u/f, Σ (c - u)/f.
        let (mut own, mut progress, mut spent) = (0.0, 0.0, 0.0);
        for epoch in epochs {
            let (in_window, fraction) = (epoch.window.cpu_ns as f64, fraction(epoch));
            let taken = (epoch.window.hits as f64 * hit_ns).min(in_window * (1.0 - 1.0 / most));
            slowdown.push(if in_window > 0.0 { in_window / (in_window - taken) } else { 1.0 });
            if fraction < ALL {
                own += (epoch.cpu_ns as f64 - taken).max(0.0);
                progress += (in_window - taken) / fraction;
                spent += taken / fraction;
            }
        }
        let solved = if spent > 0.0 { (own - progress) / spent } else { 0.0 };
        let alpha = alpha.unwrap_or(solved).clamp(0.0, 1.0);
        let stands_for = progress + alpha * spent;
        let ratio = if own > 0.0 && stands_for > 0.0 { own / stands_for } else { 1.0 };
        let mut cpu = Vec::with_capacity(epochs.len());
        for (epoch, slowdown) in epochs.iter().zip(&slowdown) {
            // x/u = 1 + α (c/u - 1).
            let weight = ratio * (1.0 + alpha * (slowdown - 1.0)) / fraction(epoch);
            weights.push(weight);
            cpu.push(weight * epoch.window.cpu_ns as f64 / slowdown);
        }
        let seen = progress + spent;
        Self { weights, slowdown, cpu, own: if seen > 0.0 { progress / seen } else { 1.0 } }
    }
}

/// fₖ: the share of an epoch in which hits were counted, as far as it was left to chance.
pub(super) fn fraction(epoch: &Epoch) -> f64 {
    let window = &epoch.window;
    let planned = match window.planned_ns {
        0 if window.capped => (epoch.probability * epoch.length_ns as f64).max(window.length_ns as f64),
        0 => window.length_ns as f64,
        planned => planned as f64,
    };
    let done = if planned > 0.0 { window.length_ns as f64 / planned } else { 1.0 };
    let fraction = epoch.probability * if done > 0.0 { done } else { 1.0 };
    if fraction.is_finite() { fraction.clamp(LEAST, 1.0) } else { 1.0 }
}
