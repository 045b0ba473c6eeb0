//! A game between two connected players, from `start` to `stop`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_util::future::{LocalBoxFuture, join};
use tokio::sync::Notify;

use crate::connection::{Inbox, Peer};
use crate::game::rules::LONGEST_STEP_MS;
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
    /// game goes on.
    fn go_on(&mut self, elapsed_ms: u64) -> bool {
        let mut remaining = elapsed_ms;
        while remaining > 0 && self.game.winner().is_none() {
            let step = remaining.min(LONGEST_STEP_MS);
            self.game.update(step);
            remaining -= step;
        }
        for (inbox, side) in self.inboxes.iter().zip([Side::One, Side::Two]) {
            for message in inbox.take() {
                if message.kind == "fire" {
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
        let logger = server.logger.child(&players.0, &players.1, ids.next());
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

/// A game that the global timer calls for each tick.
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
