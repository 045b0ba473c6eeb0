//! For how long calls were counted so far, while windows open and close in another thread.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// See the module.
#[derive(Debug)]
pub struct Stopwatch(Mutex<Laps>);

#[derive(Clone, Copy, Debug)]
struct Laps {
    over: Duration,
    begun: Option<Instant>,
}

impl Stopwatch {
    /// Runs since `begin`.
    pub fn running(begin: Instant) -> Self {
        Self(Mutex::new(Laps { over: Duration::ZERO, begun: Some(begin) }))
    }

    /// Goes on, or stops; nothing changes where it did before.
    pub fn run(&self, on: bool, now: Instant) {
        let mut laps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        laps.over = laps.at(now);
        laps.begun = on.then_some(now);
    }

    /// How long it ran.
    pub fn at(&self, now: Instant) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).at(now)
    }
}

impl Laps {
    fn at(self, now: Instant) -> Duration {
        self.over + self.begun.map_or(Duration::ZERO, |begun| now.saturating_duration_since(begun))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_while_it_runs() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let watch = Stopwatch::running(begin);
        assert_eq!(watch.at(after(2)).as_secs(), 2);
        for (at, on) in [(3, false), (5, false), (10, true), (11, true)] {
            watch.run(on, after(at));
        }
        assert_eq!(watch.at(after(20)).as_secs(), 13);
        watch.run(false, after(21));
        assert_eq!(watch.at(after(90)).as_secs(), 14);
    }
}
