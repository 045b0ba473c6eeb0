//! When a game ticks: 60 times a second on a fixed grid, in whole milliseconds.
//!
//! A tick that comes late is caught up without limit: the grid does not move, and the ticks that were missed follow at once,
//! without a wait in which sockets or other games would have their turn. They take no time, so they let none pass in the
//! game, which stays behind the clock by what it missed; they show as intervals of 0 ms. Nobody starves, as each of them
//! moves the game one tick along the grid: a second that was missed is 60 rounds without an update.

use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use clap::ValueEnum;
use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use tokio::time::{Instant, Sleep};

use crate::game::rules::TICK_MS;
use crate::statistics::{
    DataWriter, ON_TIME_MS, TICK_INTERVAL, TICK_ON_TIME, TICK_OVERRUN, TICK_RUNTIME, TICK_UNDERRUN,
};

/// How a game waits for its next tick (`--timer`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TimerMode {
    /// Each tick is a future with a timer of its own.
    #[default]
    PerGame,
    /// One timer for all games calls them when they are due.
    Global,
}

/// Counts milliseconds from an arbitrary begin.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Whole milliseconds since the begin.
    pub fn now_ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// When a millisecond begins. Waiting until then, and not for the whole milliseconds that remain, keeps the
    /// fraction of a millisecond that has passed from making every tick late.
    pub fn instant(self, ms: u64) -> Instant {
        self.0 + Duration::from_millis(ms)
    }
}

/// The tick schedule of one game.
#[derive(Debug)]
pub struct Ticker {
    clock: Clock,
    writer: Rc<DataWriter>,
    /// When the next tick ends, in milliseconds of the clock.
    next: f64,
    /// When the last tick began.
    previous: Option<u64>,
}

/// A tick that has begun. Times in milliseconds of the clock.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    began: u64,
    /// When it ends; may have passed.
    pub due: u64,
}

impl Ticker {
    /// A schedule whose first tick ends after one tick's time.
    pub fn new(clock: Clock, writer: Rc<DataWriter>) -> Self {
        Self { clock, writer, next: clock.now_ms() as f64 + TICK_MS, previous: None }
    }

    /// Begins a tick.
    pub fn begin(&mut self) -> Tick {
        let began = self.clock.now_ms();
        if let Some(previous) = self.previous.replace(began) {
            let interval = began - previous;
            self.writer.write(TICK_INTERVAL, interval);
            self.writer.count(if ON_TIME_MS.contains(&interval) {
                TICK_ON_TIME
            } else if interval < *ON_TIME_MS.start() {
                TICK_UNDERRUN
            } else {
                TICK_OVERRUN
            });
        }
        let due = self.next as u64;
        self.next += TICK_MS;
        Tick { began, due }
    }

    /// Ends a tick and gives how long it lasted, in milliseconds: the time by which the game goes on. What the game does
    /// between two ticks does not count, so a busy game falls behind the clock.
    pub fn end(&self, tick: Tick) -> u64 {
        let elapsed = self.clock.now_ms() - tick.began;
        self.writer.write(TICK_RUNTIME, elapsed);
        elapsed
    }

    /// One tick as a future, which gives what [`Self::end`] gives. Allocates itself, and a timer unless the tick is late:
    /// then it is ready at once.
    #[inline(never)]
    pub fn tick_runner(&mut self) -> LocalBoxFuture<'_, u64> {
        Box::pin(async move {
            let tick = self.begin();
            if tick.due > tick.began {
                timeout_at(self.clock.instant(tick.due)).await;
            }
            self.end(tick)
        })
    }
}

/// A timer on the heap.
#[inline(never)]
fn timeout_at(due: Instant) -> Pin<Box<Sleep>> {
    Box::pin(tokio::time::sleep_until(due))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::task::LocalSet;
    use tokio::time::advance;

    use super::*;
    use crate::logger::Logger;

    fn ticker() -> Ticker {
        Ticker::new(Clock::start(), DataWriter::new(Logger::root(), Duration::from_secs(1), true))
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_to_the_grid() {
        LocalSet::new()
            .run_until(async {
                let mut ticker = ticker();
                let mut total = 0;
                for _ in 0..600 {
                    let elapsed = ticker.tick_runner().await;
                    assert!((16..=17).contains(&elapsed), "{elapsed}");
                    total += elapsed;
                }
                assert!((9_999..=10_000).contains(&total), "{total}");
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn catches_up_in_one_go_with_ticks_of_no_time() {
        LocalSet::new()
            .run_until(async {
                let mut ticker = ticker();
                assert_eq!(ticker.tick_runner().await, 16);
                // To 516 ms. The ticks due at 33, 50, … 516 ms were missed, the next is due at 533 ms.
                advance(Duration::from_millis(500)).await;
                let other = tokio::task::spawn_local(async {});
                for missed in 0..30 {
                    assert_eq!(ticker.tick_runner().now_or_never(), Some(0), "{missed}");
                }
                assert!(!other.is_finished());
                assert_eq!(ticker.tick_runner().await, 17);
                assert!(other.is_finished());
            })
            .await;
    }
}
