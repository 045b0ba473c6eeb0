//! What a run of the load client came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::latency::Latency;
use super::player::{Failure, Measured, Outcome};
use super::server_log::ServerTicks;

/// A run's totals. Sums are over finished games.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Totals {
    /// Games for which both connections were opened.
    pub games_started: u64,
    /// Games that came to their end.
    pub games_finished: u64,
    /// Games that could not begin, or ended by an error.
    pub games_failed: u64,
    /// Games that were still on when time was up. Not a failure.
    pub games_unfinished: u64,
    /// Failed games by reason.
    pub failures: BTreeMap<String, u64>,
    /// Game time in milliseconds, under the name it has in the protocol. Of both players: a game counts twice.
    pub ticks: u64,
    /// Shots of both players that counted.
    pub bullets_fired: u64,
    /// Of these, the fast player's.
    pub p1_bullets_fired: u64,
    /// And the slow player's.
    pub p2_bullets_fired: u64,
    /// Games won by the fast player.
    pub p1_won: u64,
    /// Length of the run in seconds.
    pub seconds: f64,
    /// Opening a connection: TCP and WebSocket handshake together. One a connection.
    pub connect: Latency,
    /// From both connections of a game being open until `start` came. Two a game.
    pub start: Latency,
    /// How far a game fell behind the clock from `start` to `stop`: wall time less game time. Two a game.
    pub lag: Latency,
    /// From a ping frame to its pong: one way through the server's event loop. Only with `--ping`.
    pub ping: Option<Latency>,
    /// The server's own ticks. Only with `--server-log`.
    pub server: Option<ServerTicks>,
}

/// A game that came to its end: the fast player's outcome and the slow player's.
pub type Finished = (Outcome, Outcome);

/// Collects what a run comes to.
#[derive(Debug, Default)]
pub struct Tally {
    totals: Totals,
    connect: Vec<Duration>,
    start: Vec<Duration>,
    lag: Vec<Duration>,
    ping: Vec<Duration>,
}

impl Tally {
    /// The counts so far; times are left out.
    pub fn counts(&self) -> &Totals {
        &self.totals
    }

    /// Both connections of a game were opened, in these times.
    pub fn started(&mut self, connect: [Duration; 2]) {
        self.totals.games_started += 1;
        self.totals.games_unfinished += 1;
        self.connect.extend(connect);
    }

    /// Takes up a measurement.
    pub fn measured(&mut self, measured: Measured) {
        match measured {
            Measured::Start(time) => self.start.push(time),
            Measured::Ping(time) => self.ping.push(time),
        }
    }

    /// A game that had been started ended.
    pub fn ended(&mut self, result: Result<Finished, Failure>) {
        self.totals.games_unfinished -= 1;
        match result {
            Ok((fast, slow)) => {
                self.totals.games_finished += 1;
                self.totals.ticks += u64::from(fast.ticks) + u64::from(slow.ticks);
                let (p1_fired, p2_fired) = (u64::from(fast.bullets_fired), u64::from(slow.bullets_fired));
                self.totals.bullets_fired += p1_fired + p2_fired;
                self.totals.p1_bullets_fired += p1_fired;
                self.totals.p2_bullets_fired += p2_fired;
                self.totals.p1_won += u64::from(fast.won);
                self.lag.extend([fast.lag, slow.lag]);
            }
            Err(failure) => self.failed(&failure),
        }
    }

    /// A game could not begin.
    pub fn failed(&mut self, failure: &Failure) {
        self.totals.games_failed += 1;
        *self.totals.failures.entry(failure.to_string()).or_default() += 1;
    }

    /// The totals after a run of this length.
    pub fn finish(self, length: Duration, with_pings: bool, server: Option<ServerTicks>) -> Totals {
        Totals {
            seconds: length.as_secs_f64(),
            connect: Latency::of(self.connect),
            start: Latency::of(self.start),
            lag: Latency::of(self.lag),
            ping: with_pings.then(|| Latency::of(self.ping)),
            server,
            ..self.totals
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { games_started, games_finished, games_failed, games_unfinished, .. } = self;
        writeln!(
            f,
            "games: {games_started} started, {games_finished} finished, {games_failed} failed, {games_unfinished} unfinished, in {:.1} s",
            self.seconds
        )?;
        for (reason, count) in &self.failures {
            writeln!(f, "  {count} failed: {reason}")?;
        }
        let Self { ticks, bullets_fired, p1_bullets_fired, p2_bullets_fired, p1_won, .. } = self;
        writeln!(
            f,
            "ticks: {ticks}, bullets fired: {bullets_fired} ({p1_bullets_fired} + {p2_bullets_fired}), p1_won: {p1_won}"
        )?;
        writeln!(f, "connect:       {}", self.connect)?;
        writeln!(f, "open to start: {}", self.start)?;
        writeln!(f, "game lag:      {}", self.lag)?;
        if let Some(ping) = &self.ping {
            writeln!(f, "ping to pong:  {ping}")?;
        }
        if let Some(server) = &self.server {
            writeln!(f, "server ticks:  {server}")?;
        }
        Ok(())
    }
}
