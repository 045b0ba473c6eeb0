//! The game: two players who stand on a line and shoot at each other until a bullet gets through. It knows no clock and
//! no socket; time comes in by [`Game::update`], shots by [`Game::fire`].
//!
//! Functions that allocate are not inlined, so that an allocation flame graph shows them under their own names.

mod bullet;
mod player;
pub mod rules;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::rc::Rc;

use serde::Serialize;

pub use bullet::{Bullet, BulletStore, Bullets, create_bullet};
pub use player::{PlayerState, Side};

use crate::logger::Logger;
use bullet::Step;
use rules::FIRE_INTERVAL_MS;

/// Numbers for everything that has an id: players, games and bullets share one sequence.
#[derive(Debug, Default)]
pub struct Ids(Cell<u64>);

impl Ids {
    /// The next id, from 1, for a player or a bullet.
    pub fn next(&self) -> u64 {
        let id = self.0.get() + 1;
        self.0.set(id);
        id
    }

    /// An id for a game. It is the last one that was given to a player, and takes one out of the sequence all the same:
    /// the server that this one reproduces counts before it numbers players and bullets, and after it numbers games.
    pub fn next_game(&self) -> u64 {
        self.next() - 1
    }
}

/// A running or finished game.
#[derive(Debug)]
pub struct Game {
    p1: PlayerState,
    p2: PlayerState,
    bullets: Bullets,
    winner: Option<Side>,
    /// Milliseconds since the begin.
    current_time: u64,
    loop_count: u64,
    /// Units a millisecond.
    bullet_speed: f64,
    ids: Rc<Ids>,
    logger: Logger,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Lost<'a> {
    s1: &'a PlayerState,
    s2: &'a PlayerState,
    loop_count: u64,
}

impl Game {
    /// A new game. `bullet_speed` is in units a second.
    pub fn new(
        (p1, p2): (PlayerState, PlayerState),
        store: BulletStore,
        bullet_speed: u32,
        ids: Rc<Ids>,
        logger: Logger,
    ) -> Self {
        Self {
            p1,
            p2,
            bullets: Bullets::new(store),
            winner: None,
            current_time: 0,
            loop_count: 0,
            bullet_speed: f64::from(bullet_speed) / 1000.0,
            ids,
            logger,
        }
    }

    /// Lets `delta` milliseconds pass: bullets move, meet, and may end the game. A tick in which a bullet hits is played
    /// to its end, so an update may follow on the one that ended the game; should the other player be hit then, that one
    /// has lost.
    #[inline(never)]
    pub fn update(&mut self, delta: u64) {
        self.p1.ticks += delta;
        self.p2.ticks += delta;
        self.loop_count += 1;
        self.current_time += delta;

        // A fresh array in every update, which is mostly left empty: part of the load that the server is.
        let mut removed = Vec::with_capacity(4);
        let step =
            Step { distance: delta as f64 * self.bullet_speed, p1: &self.p1, p2: &self.p2, logger: &self.logger };
        if let Some(winner) = self.bullets.advance(&step, &mut removed) {
            let lost = Box::new(Lost { s1: &self.p1, s2: &self.p2, loop_count: self.loop_count });
            self.logger.info_with(lost, if winner == Side::One { "player two lost" } else { "player one lost" });
            self.winner = Some(winner);
            self.p1.won = winner == Side::One;
            self.p2.won = winner == Side::Two;
            return;
        }
        self.bullets.remove(&removed);
    }

    /// Shoots for one player, unless the last shot is less than [`FIRE_INTERVAL_MS`] of game time ago.
    #[inline(never)]
    pub fn fire(&mut self, side: Side) {
        if let Ok(last) = u64::try_from(self.player(side).last_fire)
            && self.current_time - last < FIRE_INTERVAL_MS
        {
            self.logger.info("early fire, nothing happened");
            return;
        }
        let now = i64::try_from(self.current_time).unwrap_or(i64::MAX);
        let state = self.player_mut(side);
        state.last_fire = now;
        state.bullets_fired += 1;
        let bullet = create_bullet(self.player(side), self.ids.next());
        self.bullets.insert(bullet);
        self.logger.info("bullet created");
    }

    /// Who has won, by the latest hit; `None` while the game is on.
    pub fn winner(&self) -> Option<Side> {
        self.winner
    }

    /// A player's state.
    pub fn player(&self, side: Side) -> &PlayerState {
        match side {
            Side::One => &self.p1,
            Side::Two => &self.p2,
        }
    }

    /// Number of updates so far.
    pub fn loop_count(&self) -> u64 {
        self.loop_count
    }

    /// Bullets in flight.
    pub fn bullets(&self) -> &Bullets {
        &self.bullets
    }

    fn player_mut(&mut self, side: Side) -> &mut PlayerState {
        match side {
            Side::One => &mut self.p1,
            Side::Two => &mut self.p2,
        }
    }
}
