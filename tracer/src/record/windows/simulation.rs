//! A target and a kernel that are computed: what windows do to it, and what they see of it, is known exactly.

use super::world::{Glance, Reading, World};
use crate::estimate::band::Band;

/// What the target would do alone at a time.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// CPU seconds a second.
    pub cpu: f64,
    /// Allocations for each of these.
    pub calls: f64,
}

/// What hits do to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slows {
    /// Nothing.
    Never,
    /// It does less in the same CPU time: it takes all there is.
    Less,
    /// It does the same in more CPU time: it does what comes.
    Longer,
}

/// See the module.
pub struct Simulation<F> {
    /// The load at each time.
    pub load: F,
    /// Seconds a hit costs in truth.
    pub hit: f64,
    /// Seconds a hit is taken to cost at most.
    pub hit_high: f64,
    /// What hits do to the target.
    pub slows: Slows,
    /// How long a switch takes that is not prepared.
    pub lag: f64,
    /// The recording's length.
    pub length: f64,
    /// Allocations made, whether counted or not.
    pub made: f64,
    /// What was used and what was truly spent, by millisecond.
    pub history: Vec<(f64, f64)>,
    /// Preparing does not help.
    pub is_slow: bool,
    /// Always the same instead of random numbers.
    pub fixed: Option<f64>,
    now: f64,
    attached: bool,
    counting: bool,
    prepared_until: f64,
    hits: f64,
    counted: f64,
    cpu: f64,
    watch: f64,
    random: u64,
}

const STEP: f64 = 0.0005;

impl<F: Fn(f64) -> Load> Simulation<F> {
    pub fn new(seed: u64, length: f64, load: F) -> Self {
        Self {
            load,
            hit: 0.7e-6,
            hit_high: 1e-6,
            slows: Slows::Less,
            lag: 0.008,
            length,
            made: 0.0,
            history: Vec::new(),
            is_slow: false,
            fixed: None,
            now: 0.0,
            attached: true,
            counting: true,
            prepared_until: -1.0,
            hits: 0.0,
            counted: 0.0,
            cpu: 0.0,
            watch: 0.0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    fn advance(&mut self, seconds: f64) {
        let mut left = seconds;
        while left > 1e-12 {
            let step = left.min(STEP);
            let Load { cpu, calls } = (self.load)(self.now);
            let times = if self.attached { 1.0 + calls * self.hit } else { 1.0 };
            let (less, longer) = match self.slows {
                Slows::Never => (1.0, 1.0),
                Slows::Less => (times, 1.0),
                Slows::Longer => (1.0, times),
            };
            let (used, made) = (cpu * step * longer, calls * cpu * step / less);
            self.made += made;
            self.cpu += used;
            if self.attached {
                self.hits += made;
                self.counted += if self.counting { made } else { 0.0 };
            }
            self.now += step;
            left -= step;
            let millisecond = (self.now * 1e3) as usize;
            self.history.resize(millisecond + 1, (self.cpu, 0.0));
            self.history[millisecond] = (self.cpu, self.hits * self.hit);
        }
    }

    /// The switch takes effect at its end.
    fn switch(&mut self, to: bool) {
        let quick = self.now < self.prepared_until && !self.is_slow;
        self.advance(if quick { 0.0003 } else { self.lag });
        self.attached = to;
    }

    /// The largest share of the target's CPU time that was spent in any five seconds with at least `cpu` of it, the first
    /// second left out.
    pub fn worst_share(&self, cpu: f64) -> f64 {
        let worst = self.history.windows(5000).skip(1000).filter_map(|window| {
            let (first, last) = (window[0], window[window.len() - 1]);
            let used = last.0 - first.0;
            (used >= cpu).then(|| (last.1 - first.1) / used)
        });
        worst.fold(0.0, f64::max)
    }
}

impl<F: Fn(f64) -> Load> World for Simulation<F> {
    fn now(&self) -> f64 {
        self.now
    }

    fn wait(&mut self, until: f64) -> bool {
        let until = until.min(self.length).max(self.now);
        self.advance(until - self.now);
        self.now = until;
        self.now < self.length - 1e-9
    }

    fn random(&mut self) -> f64 {
        if let Some(fixed) = self.fixed {
            return fixed;
        }
        // xorshift64* (Vigna 2016).
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn prepare(&mut self) {
        if self.now >= self.prepared_until {
            self.advance(0.006);
        }
        self.prepared_until = self.now + 0.008;
    }

    fn attach(&mut self) {
        self.switch(true);
    }

    fn detach(&mut self) -> f64 {
        self.switch(false);
        self.now
    }

    fn count(&mut self, on: bool) {
        self.counting = on;
    }

    fn glance(&mut self) -> Glance {
        Glance { cpu: self.cpu, hits: self.hits as u64, sampling: 0.0 }
    }

    fn read(&mut self) -> Reading {
        let calls = self.counted.floor() as u64;
        Reading { hits: calls, calls, bytes: 64 * calls }
    }

    fn hit(&self) -> Band {
        let high = 1e9 * self.hit_high;
        Band { low: 0.4 * high, mid: 0.7 * high, high }
    }

    fn settle(&mut self) {}

    fn start_watch(&mut self) {
        self.watch = self.cpu;
    }

    fn watched(&mut self) -> f64 {
        self.cpu - self.watch
    }
}
