//! How long probes may be in: keeps `--max-overhead` whatever the target does.
//!
//! Time is cut into epochs of a tenth of a second to a second. In each, probes are in for one window whose length is fixed by what happened
//! before the epoch, and which lies anywhere in it with equal probability; or all the time, where that costs no more than
//! the budget. A pure state machine: it is told what passed ([`Budget::pass`], [`Budget::seen`]) and asked what to do next
//! ([`Budget::plan`], [`Budget::must_stop`]). All times are in seconds.
//!
//! - *How long.* Traps take x CPU seconds a second while probes are in, and the target uses u all the time; both are means
//!   over past epochs. Windows that cover the part f of time cost f x, so f = budget u / x. While the target rests both
//!   means fall, and f stays.
//! - *Equal probability.* A window of length w begins uniformly between w before the epoch and its end, and is cut at both:
//!   each moment of the epoch (length L) is then in it with probability w / (L + w).
//! - *Load that grows.* While probes are in, [`Budget::must_stop`] holds what they cost against the last [`SPAN`]: what goes
//!   beyond that ends the window. An epoch that was to be watched throughout ends with it: what was seen of it is all of it.

mod ledger;

use self::ledger::Ledger;
pub use self::ledger::{Flow, SPAN};

/// Part of the budget that is planned with: more windows may fall into five seconds than into the mean ones, and load may grow.
const PLANNED: f64 = 0.6;
/// Part of the budget with which probes that are in all the time may stay.
const THROUGHOUT: f64 = 0.85;
/// Part of the budget that may be used up: when load grows, it takes a moment to notice and another one to go.
const KEPT: f64 = 0.9;
/// CPU seconds a second that are nobody's concern, whatever the target uses: a two-thousandth of one CPU.
pub const FREE: f64 = 0.0005;
/// Longest epoch, as long as its window is not too short.
const EPOCH: f64 = 1.0;
/// Shortest epoch, and the first one: more windows would cost tracer more than they say.
const SHORT_EPOCH: f64 = 0.1;
/// The same in a long recording, which has windows enough.
const SHORT_EPOCH_LATER: f64 = 0.25;
/// A part of the recording so far that an epoch is no shorter than, up to [`SHORT_EPOCH_LATER`].
const PART: f64 = 0.001;
/// A window's length, where there is a choice: many short windows say more than few long ones.
const WINDOW: f64 = 0.003;
/// Epochs are longer where switching costs so much, or the budget is so small, that a window a second is too much.
const LONGEST_EPOCH: f64 = 60.0;
/// Shortest window: of shorter ones too much would be switching.
const SHORTEST: f64 = 0.002;
/// A window is at most this part of an epoch, unless it is all of it.
const LARGEST: f64 = 0.5;
/// A window is at most so many times as large a part of its epoch as the last one.
const GROWTH: f64 = 3.0;
/// Weight of an epoch when the next one is over: long, for windows see little of a target that works in bursts.
const MEMORY: f64 = 0.96;
/// The same of the highest rate that was seen.
const PEAK_MEMORY: f64 = 0.99;
/// Seconds over which the present rate of spending is smoothed.
const PRESENT: f64 = 0.02;
/// Hits are counted, and few of them say little: so many more are assumed.
const MORE_HITS: f64 = 3.0;
/// A recording's first second, in which the target is got to know, is not held against the rest.
const BEGINNING: f64 = 1.0;
/// How long breakpoints stay when they have to go at once, before that was seen.
const LAG: f64 = 0.008;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plan {
    /// Probes are in all the time.
    Throughout {
        /// Length of the epoch.
        length: f64,
    },
    /// Probes are in for a window.
    Window {
        /// Length of the epoch.
        length: f64,
        /// Probability of each of its moments to be in the window.
        probability: f64,
        /// Begin of the window, since that of the epoch.
        begin: f64,
        /// Its end.
        end: f64,
    },
    /// Probes left for good.
    Never,
}

/// What was seen while hits were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    /// Meanwhile.
    pub flow: Flow,
    /// Seconds that breakpoints were in beyond that: while they came and went.
    pub lag: f64,
    /// It had to end before its time.
    pub stopped: bool,
    /// Probes could be taken out at once.
    pub quick: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Part of the target's CPU time; `None` = no bound.
    share: Option<f64>,
    /// Upper end of what a hit costs.
    hit: f64,
    ledger: Ledger,
    known: Known,
    /// Since the last plan.
    since: Flow,
    /// Since the recording began.
    elapsed: f64,
    /// Highest rate of spending in windows, in seconds a second; falls slowly.
    peak: f64,
    /// The last [`PRESENT`] or so.
    present: Flow,
    /// What may be spent in this epoch whatever came before it, and what was spent.
    planned: f64,
    spent: f64,
    /// Seconds that breakpoints are in beyond a window.
    lag: f64,
    /// The same, when they have to go at once.
    stop_lag: f64,
    /// Share of time that could be afforded when the last plan was made, at most 1.
    afforded: f64,
    /// Whether probes can come back once they have gone.
    can_return: bool,
    stopped: bool,
}

impl Budget {
    /// `share`: part of the target's CPU time that may be spent, `None` for any; `hit`: upper end of what a hit costs;
    /// `can_return`: whether probes can be put in again quickly.
    pub fn new(share: Option<f64>, hit: f64, can_return: bool) -> Self {
        Self {
            share,
            hit,
            ledger: Ledger::default(),
            known: Known::default(),
            since: Flow::default(),
            elapsed: 0.0,
            peak: 0.0,
            present: Flow::default(),
            planned: 0.0,
            spent: 0.0,
            lag: 0.0,
            stop_lag: LAG,
            afforded: 1.0,
            can_return,
            stopped: false,
        }
    }

    /// What a hit costs is known better.
    pub fn set_hit(&mut self, hit: f64) {
        self.hit = hit;
    }

    /// Time passed. To be told in short steps while probes are in.
    pub fn pass(&mut self, flow: Flow) {
        self.ledger.add(flow);
        self.since.add(flow);
        self.elapsed += flow.length;
        self.spent += flow.spent;
        if flow.length > 0.0 {
            self.present = self.present.weighted((-flow.length / PRESENT).exp());
            self.present.add(flow);
        }
    }

    /// Whether probes that would stay for so many seconds more must go now: what they cost is more than the last seconds
    /// allow, with what they are going to cost until they have gone; `quick`: at once.
    pub fn must_stop(&self, left: f64, quick: bool) -> bool {
        let Some(share) = self.share else { return false };
        let lag = if quick { self.lag } else { self.stop_lag };
        left > lag && self.spent > self.planned && self.allowance(share) < self.present.rate().spent * lag
    }

    /// Counting was off again, or an epoch that was watched throughout is over.
    pub fn seen(&mut self, seen: Seen) {
        let Seen { flow, lag, stopped, quick } = seen;
        self.stopped |= stopped && !self.can_return;
        if stopped && !quick {
            self.stop_lag = lag.max(0.8 * self.stop_lag).min(2.0 * self.stop_lag);
        } else if lag > 0.0 {
            self.lag = lag.max(0.8 * self.lag);
        }
        if flow.length <= 0.0 {
            return;
        }
        self.peak = (PEAK_MEMORY * self.peak).max(flow.rate().spent);
        if stopped {
            if self.ledger.sum().length < BEGINNING {
                self.ledger = Ledger::default();
            }
            // It changed while it was watched: what it is like now is what counts.
            self.known = Known::default();
            self.known.add(self.present, self.present);
            self.peak = self.peak.max(self.present.rate().spent);
        } else {
            self.known.add(flow, self.since);
        }
        self.since = Flow::default();
    }

    /// Whether there is a bound to keep.
    pub fn is_bounded(&self) -> bool {
        self.share.is_some()
    }

    /// The next epoch. `random` is uniform in [0, 1).
    pub fn plan(&mut self, random: f64) -> Plan {
        (self.planned, self.spent) = (SHORTEST, 0.0);
        let Some(share) = self.share else { return Plan::Throughout { length: EPOCH } };
        if self.stopped {
            return Plan::Never;
        }
        // Without hysteresis a target at the edge would be switched all the time.
        let part = if self.afforded >= 1.0 { THROUGHOUT } else { PLANNED };
        let afforded = self.known.affordable(part * share, self.hit).min(GROWTH * self.afforded);
        self.afforded = afforded.min(1.0);
        if afforded >= 1.0 {
            return Plan::Throughout { length: if self.known.weight > 0.0 { EPOCH } else { SHORT_EPOCH } };
        }
        let afforded = afforded.min(LARGEST);
        // Where switching takes long, a window is no shorter.
        let least = SHORTEST.max(self.lag) + self.lag;
        let short = (PART * self.elapsed).clamp(SHORT_EPOCH, SHORT_EPOCH_LATER);
        let mut length = ((WINDOW + self.lag) / afforded).clamp(short, EPOCH);
        if afforded * length < least {
            length = (least / afforded).min(LONGEST_EPOCH);
        }
        let mut window = window(afforded * length - self.lag, length).max(SHORTEST);
        // What an idle time left over is soon more than five seconds ago: the last half of them must bear the window, too.
        let allowance = self.allowance(share).min(allowance_of(self.ledger.recent(), share));
        if allowance < (window + self.lag) * self.peak {
            // What was overspent is saved again: by a shorter window (not by much, or it would weigh too much beside the
            // others), then by a longer epoch.
            let shorter = (allowance / self.peak - self.lag).max(SHORTEST);
            window = if allowance > 0.0 { shorter.max(0.5 * window) } else { shorter };
            let cpu = self.ledger.sum().rate().cpu.max(self.present.rate().cpu);
            let income = PLANNED * (share * cpu + FREE);
            length = length.max(((least * self.peak - allowance) / income).min(SPAN));
        }
        self.planned = (window + self.lag) * self.peak;
        let start = random * (length + window) - window;
        Plan::Window {
            length,
            probability: window / (length + window),
            begin: start.max(0.0),
            end: (start + window).min(length),
        }
    }

    /// What may be spent now so that the last seconds stay within the budget.
    fn allowance(&self, share: f64) -> f64 {
        allowance_of(self.ledger.sum(), share)
    }
}

fn allowance_of(flow: Flow, share: f64) -> f64 {
    KEPT * share * flow.cpu + FREE * flow.length - flow.spent
}

/// What is known of the target: means over epochs, each with [`MEMORY`] times the weight of the next. That they are of the same
/// epochs makes up for phases in which it rests.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    weight: f64,
    /// Rate of spending while probes were in.
    spent: f64,
    /// CPU seconds a second, whether they were or not.
    cpu: f64,
    /// Seconds that probes were in.
    watched: f64,
}

impl Known {
    /// Adds what was seen in a window, and what passed since the last one.
    fn add(&mut self, window: Flow, epoch: Flow) {
        self.weight = MEMORY * self.weight + 1.0;
        self.spent = MEMORY * self.spent + window.rate().spent;
        self.cpu = MEMORY * self.cpu + epoch.rate().cpu;
        self.watched = MEMORY * self.watched + window.length;
    }

    /// The part of time that probes can be in, above 1 where that is more than all.
    fn affordable(&self, share: f64, hit: f64) -> f64 {
        if self.weight == 0.0 {
            return f64::INFINITY;
        }
        let income = share * self.cpu / self.weight + FREE;
        income / (self.spent / self.weight + MORE_HITS * hit / self.watched)
    }
}

/// The length of a window that covers `counted` seconds of an epoch in the mean, being cut at its ends.
fn window(counted: f64, length: f64) -> f64 {
    counted * length / (length - counted)
}
