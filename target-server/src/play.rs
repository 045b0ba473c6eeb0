//! A game between two connected players, from `start` to `stop`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_util::future::{LocalBoxFuture, join};
use tokio::sync::Notify;

use crate::connection::{Inbox, Peer};
use crate::game::rules::steps;
use crate::game::{Game, PlayerState, Side};
use crate::messages;
use crate::server::Server;
use crate::ticker::{Tick, Ticker, TimerMode};
use crate::timer::{Callback, GlobalTimer};

/// A game and what drives it.
#[derive(Debug)]
struct Play {
    game: Game,
    ticker: Ticker,
    inboxes: [Rc<Inbox>; 2],
}

impl Play {
    /// Lets time pass, then takes up the shots that have come: a shot enters the game one tick later. Gives whether the
    /// game goes on, which is asked only now: whatever happened, the tick has been played to its end.
    fn go_on(&mut self, elapsed_ms: u64) -> bool {
        for step in steps(elapsed_ms) {
            self.game.update(step);
        }
        for (inbox, side) in self.inboxes.iter().zip([Side::One, Side::Two]) {
            for message in inbox.take() {
                if message.is_fire() {
                    self.game.fire(side);
                }
            }
        }
        self.game.winner().is_none() && self.inboxes.iter().all(|inbox| inbox.is_open())
    }

    /// What each player is told at the end: nothing where it has gone.
    fn stops(&self) -> [Option<serde_json::Result<String>>; 2] {
        let open = [self.inboxes[0].is_open(), self.inboxes[1].is_open()];
        let stop =
            |side, open: bool, other_open: bool| open.then(|| messages::stop(self.game.player(side), !other_open));
        [stop(Side::One, open[0], open[1]), stop(Side::Two, open[1], open[0])]
    }
}

/// Plays a game to its end. Beneath this frame, or [`Run::run`] with the global timer, is all that a running game
/// allocates.
#[inline(never)]
pub fn play_game(server: Rc<Server>, mut one: Peer, mut two: Peer) -> LocalBoxFuture<'static, ()> {
    Box::pin(async move {
        let ids = &server.ids;
        let players = (PlayerState::new(Side::One, ids.next()), PlayerState::new(Side::Two, ids.next()));
        let logger = server.logger.child(&players.0, &players.1, ids.next_game());
        let options = &server.options;
        let game = Game::new(players, options.bullets, options.bullet_speed, Rc::clone(ids), logger);
        join(one.send(Some(messages::start())), two.send(Some(messages::start()))).await;

        let mut play = Play {
            game,
            ticker: Ticker::new(server.clock, Rc::clone(&server.writer)),
            inboxes: [Rc::clone(&one.inbox), Rc::clone(&two.inbox)],
        };
        let stops = match options.timer {
            TimerMode::PerGame => {
                loop {
                    let elapsed = play.ticker.tick_runner().await;
                    if !play.go_on(elapsed) {
                        break;
                    }
                }
                play.stops()
            }
            TimerMode::Global => {
                let run = Run::start(play, Rc::clone(&server.timer));
                run.ended.notified().await;
                run.play.borrow().stops()
            }
        };
        one.inbox.finish();
        two.inbox.finish();
        server.game_played();
        let [stop_one, stop_two] = stops;
        join(one.send(stop_one), two.send(stop_two)).await;
    })
}

/// A game that the global timer calls for each tick. A tick begins at the end of the call before, so time in which the timer
/// is late is game time.
struct Run {
    play: RefCell<Play>,
    /// The tick that has begun.
    tick: Cell<Tick>,
    timer: Rc<GlobalTimer>,
    ended: Notify,
}

impl Run {
    fn start(mut play: Play, timer: Rc<GlobalTimer>) -> Rc<Self> {
        let tick = play.ticker.begin();
        let run = Rc::new(Self { play: RefCell::new(play), tick: Cell::new(tick), timer, ended: Notify::new() });
        run.timer.at(tick.due, Rc::<Self>::clone(&run));
        run
    }
}

impl Callback for Run {
    #[inline(never)]
    fn run(self: Rc<Self>) {
        let mut play = self.play.borrow_mut();
        let elapsed = play.ticker.end(self.tick.get());
        if play.go_on(elapsed) {
            let tick = play.ticker.begin();
            self.tick.set(tick);
            drop(play);
            self.timer.at(tick.due, Rc::<Self>::clone(&self));
        } else {
            self.ended.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::game::{Bullet, BulletStore, Bullets, Ids};
    use crate::logger::Logger;
    use crate::statistics::DataWriter;
    use crate::ticker::Clock;

    const FIRE: &[u8] = br#"{"type":"fire"}"#;

    fn play() -> Play {
        let ids = Rc::new(Ids::default());
        let players = (PlayerState::new(Side::One, ids.next()), PlayerState::new(Side::Two, ids.next()));
        let writer = DataWriter::new(Logger::root(), Duration::from_secs(1), true);
        Play {
            // In one array, bullets are in the order in which they were shot.
            game: Game::new(players, BulletStore::Array, 500, ids, Logger::root()),
            ticker: Ticker::new(Clock::start(), writer),
            inboxes: [Rc::default(), Rc::default()],
        }
    }

    fn bullets(play: &Play) -> Vec<Bullet> {
        match play.game.bullets() {
            Bullets::Array(all) => all.iter().map(|bullet| (**bullet).clone()).collect(),
            Bullets::Sets(..) => Vec::new(),
        }
    }

    /// Positions and directions.
    fn flying(play: &Play) -> Vec<(f64, i32)> {
        bullets(play).iter().map(|bullet| (bullet.x, bullet.direction)).collect()
    }

    #[test]
    fn time_passes_in_steps() {
        let mut play = play();
        assert!(play.go_on(40));
        assert_eq!((play.game.loop_count(), play.game.player(Side::One).ticks), (3, 40));
        // A tick that was caught up.
        assert!(play.go_on(0));
        assert_eq!((play.game.loop_count(), play.game.player(Side::Two).ticks), (3, 40));
    }

    #[test]
    fn shots_come_after_the_update_and_player_ones_first() {
        let mut play = play();
        play.inboxes[1].on_message(FIRE);
        play.inboxes[0].on_message(br#"["fire"]"#);
        play.inboxes[0].on_message(FIRE);
        assert!(play.go_on(16));
        assert_eq!(flying(&play), [(-963.0, 1), (963.0, -1)]);
        assert!(bullets(&play)[0].id < bullets(&play)[1].id);
        // Each shot counts once.
        assert!(play.go_on(100));
        assert_eq!(flying(&play), [(-913.0, 1), (913.0, -1)]);
    }

    #[test]
    fn the_end_is_asked_for_once_a_tick() {
        let mut play = play();
        play.inboxes[0].on_message(FIRE);
        assert!(play.go_on(0));
        assert!(play.go_on(3876));
        let updates = play.game.loop_count();
        // The first of three steps hits. The others are played, and so is a shot.
        play.inboxes[1].on_message(FIRE);
        assert!(!play.go_on(40));
        assert_eq!(play.game.winner(), Some(Side::One));
        assert_eq!((play.game.loop_count() - updates, play.game.player(Side::One).ticks), (3, 3916));
        assert_eq!(play.game.player(Side::Two).bullets_fired, 1);
    }

    #[test]
    fn a_player_that_goes_ends_the_game_after_the_tick() {
        let mut play = play();
        play.inboxes[1].on_message(FIRE);
        play.inboxes[0].on_message(b"null");
        assert!(!play.go_on(17));
        assert_eq!((play.game.winner(), play.game.loop_count()), (None, 2));
        assert_eq!(flying(&play), [(963.0, -1)]);
        let [one, two] = play.stops();
        assert!(one.is_none());
        assert!(two.unwrap().unwrap().contains("Opponent disconnected"));
    }
}
