//! The server's statistics: histograms and counters, reported into the log every so often.
//!
//! Each report is one line per title, `{title, pointSet: {value: count}}` or `{title, count}`, and begins anew.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::rc::{Rc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde::Serialize;

use crate::logger::Logger;

/// Time between the begins of two ticks of a game that is on time, in milliseconds.
pub const ON_TIME_MS: RangeInclusive<u64> = 15..=17;

/// Histogram of the time between the begins of two ticks of a game, in milliseconds.
pub const TICK_INTERVAL: &str = "tickInterval";
/// Histogram of the time a tick takes including its wait, in milliseconds.
pub const TICK_RUNTIME: &str = "tickRuntime";
/// Counter of ticks that are on time ([`ON_TIME_MS`]).
pub const TICK_ON_TIME: &str = "tickOnTime";
/// Counter of later ticks.
pub const TICK_OVERRUN: &str = "tickIntervalOverrun";
/// Counter of earlier ticks: those of a game that is catching up.
pub const TICK_UNDERRUN: &str = "tickIntervalUnderrun";
/// Counter of ended games.
pub const GAMES_PLAYED: &str = "games-played";

/// Collects and reports. It has to be used within a `LocalSet`.
#[derive(Debug)]
pub struct DataWriter {
    this: Weak<Self>,
    logger: Logger,
    interval: Duration,
    /// Whether `flush` makes a future at each call, as an async function does.
    async_flush: bool,
    armed: Cell<bool>,
    histograms: RefCell<BTreeMap<&'static str, BTreeMap<u64, u64>>>,
    counters: RefCell<BTreeMap<&'static str, u64>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HistogramRecord<'a> {
    title: &'a str,
    point_set: &'a BTreeMap<u64, u64>,
}

#[derive(Serialize)]
struct CounterRecord<'a> {
    title: &'a str,
    count: u64,
}

impl DataWriter {
    /// A writer that reports at most once in `interval`.
    pub fn new(logger: Logger, interval: Duration, async_flush: bool) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            this: this.clone(),
            logger,
            interval,
            async_flush,
            armed: Cell::new(false),
            histograms: RefCell::default(),
            counters: RefCell::default(),
        })
    }

    /// Counts a value into a histogram.
    #[inline(never)]
    pub fn write(&self, title: &'static str, value: u64) {
        *self.histograms.borrow_mut().entry(title).or_default().entry(value).or_default() += 1;
        self.start_flush();
    }

    /// Counts an event.
    #[inline(never)]
    pub fn count(&self, title: &'static str) {
        *self.counters.borrow_mut().entry(title).or_default() += 1;
        self.start_flush();
    }

    /// Reports now what was collected.
    pub fn flush_contents(&self) {
        for (title, point_set) in self.histograms.take() {
            self.logger.warn(Box::new(HistogramRecord { title, point_set: &point_set }), None);
        }
        for (title, count) in self.counters.take() {
            self.logger.warn(Box::new(CounterRecord { title, count }), None);
        }
    }

    fn start_flush(&self) {
        if !self.async_flush {
            return self.arm();
        }
        // Nobody waits for it: it runs at once as far as it can, which is to its end, and is dropped.
        let _: Option<()> = self.flush().now_or_never();
    }

    /// Sees to it that a report is on its way. A future without need: one allocation for each value and event.
    #[inline(never)]
    fn flush(&self) -> LocalBoxFuture<'static, ()> {
        let this = self.this.clone();
        Box::pin(async move {
            if let Some(this) = this.upgrade() {
                this.arm();
            }
        })
    }

    fn arm(&self) {
        if self.armed.replace(true) {
            return;
        }
        // Made here, so that the interval begins now and not when the task first runs.
        let (this, interval) = (self.this.clone(), tokio::time::sleep(self.interval));
        tokio::task::spawn_local(async move {
            interval.await;
            if let Some(this) = this.upgrade() {
                this.armed.set(false);
                this.flush_contents();
            }
        });
    }
}
