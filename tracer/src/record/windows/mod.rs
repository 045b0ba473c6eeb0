//! Windows: lets probes come and go as the [`Budget`] plans it, and writes down what was counted meanwhile.
//!
//! Runs in a thread of its own, since probes that must go must not wait for anything else. What it works on is a [`World`]:
//! the kernel, or a simulation.

mod account;
pub mod handle;
pub mod kernel;
#[cfg(test)]
mod simulation;
pub mod stopwatch;
#[cfg(test)]
mod tests;
pub mod world;

pub use self::{
    account::Outcome,
    world::{Glance, Reading, World},
};
use super::budget::{Budget, Flow, Plan, Seen};
use crate::{
    estimate::Estimate,
    recording::about::{Epoch, Window},
};

/// Seconds between two looks at what probes cost while they are in.
const LOOK: f64 = 0.005;
/// The same, where nothing needs to be bounded.
const LOOK_UNBOUNDED: f64 = 0.25;
/// How long before a switch it is prepared, in seconds: the kernel's grace period (RCU), which that takes, is about as long.
const PREPARE: f64 = 0.006;

/// Runs until the world says that the recording is over. Probes are in and counting is on since its begin; when this
/// returns, counting is off, and probes are gone.
pub fn run(world: &mut impl World, budget: &mut Budget) -> Outcome {
    let mut run = Run {
        world,
        budget,
        outcome: Outcome::default(),
        passed: (0.0, Glance::default()),
        read: Reading::default(),
        written: Glance::default(),
        came: Some(0.0),
        prepared: false,
        in_windows: (0.0, 0),
        least: None,
    };
    run.epochs();
    run.rest();
    run.outcome
}

struct Run<'a, W> {
    world: &'a mut W,
    budget: &'a mut Budget,
    outcome: Outcome,
    /// Until when the budget knows what passed.
    passed: (f64, Glance),
    /// What was counted when the last window was closed.
    read: Reading,
    /// What the epochs so far hold.
    written: Glance,
    /// Since when probes are in.
    came: Option<f64>,
    /// The next switch is prepared.
    prepared: bool,
    /// CPU time and hits in windows.
    in_windows: (f64, u64),
    /// What a hit costs at least, in nanoseconds.
    least: Option<Estimate>,
}

/// How waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// The time has come.
    Time,
    /// The budget is used up.
    Stop,
    /// The recording is over.
    Over,
}

impl<W: World> Run<'_, W> {
    fn epochs(&mut self) {
        let mut start = 0.0;
        let mut plan = self.plan();
        loop {
            let next = match plan {
                Plan::Throughout { length } => self.throughout(start, length),
                Plan::Window { length, probability, begin, end } => {
                    self.window(start, length, probability, start + begin..start + end)
                }
                Plan::Never => self.never(start),
            };
            match next {
                Some(next) => (start, plan) = next,
                None => return,
            }
        }
    }

    /// An epoch with probes in all the time. The next one's begin and plan; `None` when the recording is over.
    fn throughout(&mut self, start: f64, length: f64) -> Option<(f64, Plan)> {
        let before = self.passed;
        let mut opened = start;
        if self.came.is_none() {
            if !self.prepared {
                self.prepare();
            }
            opened = self.come();
        }
        let ended = self.watch(start + length, f64::INFINITY);
        let flow = self.since(before);
        let end = self.passed.0;
        let mut seen = Seen { flow, lag: 0.0, stopped: ended == Wait::Stop };
        let plan = match ended {
            Wait::Time => {
                self.budget.seen(seen);
                Some(self.plan())
            }
            Wait::Stop | Wait::Over => None,
        };
        let stays = matches!(plan, Some(Plan::Throughout { .. }));
        if !stays {
            self.world.count(false);
        }
        let counted = self.counted();
        self.learn(flow.cpu, counted.hits);
        if !stays {
            seen.lag = self.go();
        }
        self.write(Epoch {
            start_ns: nanoseconds(start),
            length_ns: nanoseconds(end - start),
            probability: 1.0,
            cpu_ns: nanoseconds(flow.cpu),
            hits: 0,
            sampling_ns: 0,
            window: Window {
                start_ns: nanoseconds(opened),
                length_ns: nanoseconds(end - opened),
                planned_ns: 0,
                cpu_ns: nanoseconds(flow.cpu),
                hits: counted.hits,
                calls: counted.calls,
                bytes: counted.bytes,
                capped: false,
            },
        });
        match ended {
            Wait::Time => plan.map(|plan| (end, plan)),
            Wait::Stop => {
                self.budget.seen(seen);
                Some((end, self.plan()))
            }
            Wait::Over => None,
        }
    }

    /// An epoch with one window.
    fn window(
        &mut self,
        start: f64,
        length: f64,
        probability: f64,
        window: std::ops::Range<f64>,
    ) -> Option<(f64, Plan)> {
        let epoch_before = self.passed;
        let mut epoch = Epoch { start_ns: nanoseconds(start), probability, ..Epoch::default() };
        let mut over = false;
        if !self.prepared {
            over = self.idle(window.start - PREPARE) == Wait::Over;
            if !over {
                self.prepare();
            }
        }
        if !over {
            let opened = self.come();
            self.pass();
            let before = self.passed;
            // It may have come late, and is as long as planned all the same: late windows are those of a busy machine.
            let planned = window.end - window.start;
            let close = opened + planned;
            let mut ended = self.watch(close - PREPARE, close);
            if ended == Wait::Time && planned > PREPARE {
                self.prepare();
            }
            if ended == Wait::Time {
                ended = self.watch(close, close);
            }
            self.world.count(false);
            let cpu = self.world.watched();
            let closed = self.world.now();
            let counted = self.counted();
            let flow = Flow { cpu, ..self.since(before) };
            self.learn(cpu, counted.hits);
            let lag = self.go();
            let stopped = ended == Wait::Stop;
            over = ended == Wait::Over;
            self.budget.seen(Seen { flow, lag, stopped });
            epoch.window = Window {
                start_ns: nanoseconds(opened),
                length_ns: nanoseconds(closed - opened),
                planned_ns: nanoseconds(planned),
                cpu_ns: nanoseconds(cpu),
                hits: counted.hits,
                calls: counted.calls,
                bytes: counted.bytes,
                capped: stopped,
            };
        }
        self.prepared = false;
        let plan = self.plan();
        let end = (start + length).max(self.world.now());
        if !over {
            // The next window may begin with its epoch.
            let early = match plan {
                Plan::Throughout { .. } => -PREPARE,
                Plan::Window { begin, .. } => (begin - PREPARE).min(0.0),
                Plan::Never => 0.0,
            };
            over = self.idle(end + early) == Wait::Over;
            if !over && early < 0.0 {
                self.prepare();
                over = self.idle(end) == Wait::Over;
            }
        }
        let flow = self.since(epoch_before);
        epoch.cpu_ns = nanoseconds(flow.cpu);
        epoch.length_ns = nanoseconds(if over { self.world.now() } else { end } - start);
        self.write(epoch);
        (!over).then_some((end, plan))
    }

    /// The rest of a recording whose probes cannot come back.
    fn never(&mut self, start: f64) -> Option<(f64, Plan)> {
        let before = self.passed;
        while self.idle(self.world.now() + 1.0) == Wait::Time {}
        let flow = self.since(before);
        self.write(Epoch {
            start_ns: nanoseconds(start),
            length_ns: nanoseconds(self.world.now() - start),
            cpu_ns: nanoseconds(flow.cpu),
            ..Epoch::default()
        });
        None
    }

    fn plan(&mut self) -> Plan {
        let random = self.world.random();
        self.budget.plan(random)
    }

    /// Waits while nothing is watched.
    fn idle(&mut self, until: f64) -> Wait {
        if until > self.world.now() && !self.world.wait(until) {
            return Wait::Over;
        }
        Wait::Time
    }

    /// Waits with an eye on what probes cost that stay until `end`.
    fn watch(&mut self, until: f64, end: f64) -> Wait {
        let look = if self.budget.is_bounded() { LOOK } else { LOOK_UNBOUNDED };
        loop {
            let now = self.world.now();
            if now >= until {
                self.pass();
                return Wait::Time;
            }
            let goes_on = self.world.wait(until.min(now + look));
            self.pass();
            if !goes_on {
                return Wait::Over;
            }
            if self.budget.must_stop(end - self.passed.0) {
                return Wait::Stop;
            }
        }
    }

    fn prepare(&mut self) {
        self.world.prepare();
        self.prepared = true;
    }

    /// Lets probes in; counting is on when this returns. When it began: a sample that was taken later is of this window.
    fn come(&mut self) -> f64 {
        self.came = Some(self.world.now());
        self.world.attach();
        self.world.start_watch();
        let opened = self.world.now();
        self.world.count(true);
        self.prepared = false;
        opened
    }

    /// Lets probes go, with counting off. How long breakpoints were in besides the time since counting was on.
    fn go(&mut self) -> f64 {
        let begin = self.world.now();
        let gone = self.world.detach();
        self.pass();
        self.prepared = false;
        let Some(came) = self.came.take() else { return 0.0 };
        self.outcome.in_place += gone - came;
        self.outcome.disturbed += self.world.now().max(gone) - came;
        gone - begin
    }

    /// Tells the budget what passed.
    fn pass(&mut self) {
        let now = (self.world.now(), self.world.glance());
        self.budget.pass(self.flow(self.passed, now));
        self.passed = now;
    }

    fn since(&mut self, before: (f64, Glance)) -> Flow {
        self.pass();
        self.flow(before, self.passed)
    }

    fn flow(&self, before: (f64, Glance), after: (f64, Glance)) -> Flow {
        let hits = after.1.hits.saturating_sub(before.1.hits) as f64;
        Flow {
            length: after.0 - before.0,
            cpu: (after.1.cpu - before.1.cpu).max(0.0),
            spent: hits * self.hit_bound() + (after.1.sampling - before.1.sampling).max(0.0),
        }
    }
}

fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}
