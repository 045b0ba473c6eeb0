//! One timer for all games (`--timer global`): a map from the millisecond in which something is due to what is due, and
//! one loop that sleeps until the first of it.
//!
//! A turn calls what is due and ends when that has taken [`LONGEST_TURN`]; what is left comes in the next, after sockets and
//! other tasks. Where turns are too short for all games, each is called later: a game that waits for its turn waits in game
//! time, for a tick lasts from the end of one call to the next. Only what the game does within a call is not credited to
//! it, as with a future per tick. (In the server that this one reproduces this version credits everything, and a
//! callback that is entered for a time that has passed is never called.)

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::ticker::Clock;

/// What a timer can call.
pub trait Callback {
    /// Is called once for each time it was entered.
    fn run(self: Rc<Self>);
}

/// After so much time in callbacks, sockets and other tasks have their turn.
const LONGEST_TURN: Duration = Duration::from_millis(2);

/// The timer. Nothing is called unless [`Self::drive`] runs.
pub struct GlobalTimer {
    clock: Clock,
    due: RefCell<BTreeMap<u64, Vec<Rc<dyn Callback>>>>,
    /// Something is due earlier than all before.
    earlier: Notify,
}

impl Debug for GlobalTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GlobalTimer").field("clock", &self.clock).finish_non_exhaustive()
    }
}

impl GlobalTimer {
    /// A timer without entries.
    pub fn new(clock: Clock) -> Self {
        Self { clock, due: RefCell::default(), earlier: Notify::new() }
    }

    /// Enters a callback for a time, in milliseconds of the clock. A time that has passed is due at once.
    pub fn at(&self, ms: u64, callback: Rc<dyn Callback>) {
        let mut due = self.due.borrow_mut();
        if due.first_key_value().is_none_or(|(&first, _)| ms < first) {
            self.earlier.notify_one();
        }
        due.entry(ms).or_default().push(callback);
    }

    /// Calls what is due, for ever.
    pub async fn drive(&self) {
        loop {
            let first = self.due.borrow().first_key_value().map(|(&ms, _)| ms);
            let Some(first) = first else {
                self.earlier.notified().await;
                continue;
            };
            tokio::select! {
                () = sleep_until(self.clock.instant(first)) => {
                    self.run_due(first);
                    tokio::task::yield_now().await;
                }
                () = self.earlier.notified() => {}
            }
        }
    }

    /// One turn: calls what is due at `now` or before. What callbacks enter for such a time is called in the same turn,
    /// unless the turn is over. `now` is the time that was waited for and not the clock's, so that all entries are called
    /// with the same delay, which keeps the intervals of a game even.
    #[inline(never)]
    fn run_due(&self, now: u64) {
        let began = Instant::now();
        while let Some((ms, callbacks)) = self.take_due(now) {
            let mut callbacks = callbacks.into_iter();
            while let Some(callback) = callbacks.next() {
                callback.run();
                if began.elapsed() >= LONGEST_TURN {
                    let mut due = self.due.borrow_mut();
                    due.entry(ms).or_default().splice(0..0, callbacks);
                    return;
                }
            }
        }
    }

    fn take_due(&self, now: u64) -> Option<(u64, Vec<Rc<dyn Callback>>)> {
        let mut due = self.due.borrow_mut();
        if *due.first_key_value()?.0 > now {
            return None;
        }
        due.pop_first()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    struct Again {
        timer: Rc<GlobalTimer>,
        called: Cell<u64>,
        every: u64,
    }

    impl Callback for Again {
        fn run(self: Rc<Self>) {
            self.called.set(self.called.get() + 1);
            if self.called.get() < 100 {
                self.timer.at(self.called.get() * self.every, Rc::<Self>::clone(&self));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_what_is_due_and_not_before() {
        let timer = Rc::new(GlobalTimer::new(Clock::start()));
        let slow = Rc::new(Again { timer: Rc::clone(&timer), called: Cell::new(0), every: 10 });
        let past = Rc::new(Again { timer: Rc::clone(&timer), called: Cell::new(0), every: 0 });
        timer.at(0, Rc::<Again>::clone(&slow));
        timer.at(0, Rc::<Again>::clone(&past));
        let ended = tokio::time::timeout(Duration::from_millis(495), timer.drive()).await;
        assert!(ended.is_err());
        // At 0, 10, 20, … 490.
        assert_eq!((slow.called.get(), past.called.get()), (50, 100));
    }
}
