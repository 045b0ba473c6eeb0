//! The server: one thread that accepts connections and runs everything.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::spawn_local;

use crate::cli::Options;
use crate::connection::on_connection;
use crate::game::Ids;
use crate::logger::Logger;
use crate::matchmaking::Matchmaking;
use crate::statistics::{DataWriter, GAMES_PLAYED};
use crate::ticker::{Clock, TimerMode};
use crate::timer::GlobalTimer;

/// What games and connections share.
#[derive(Debug)]
pub struct Server {
    /// As given on the command line.
    pub options: Options,
    /// The logger without a game.
    pub logger: Logger,
    /// Statistics of all games.
    pub writer: Rc<DataWriter>,
    /// The clock of all games.
    pub clock: Clock,
    /// The timer of all games with `--timer global`.
    pub timer: Rc<GlobalTimer>,
    /// Numbers for players, games and bullets.
    pub ids: Rc<Ids>,
    /// The player that waits.
    pub matchmaking: Matchmaking,
    connections: Cell<u64>,
    games: Cell<u64>,
}

#[derive(Serialize)]
struct Failure {
    error: String,
}

impl Server {
    /// A server without connections. Its clock begins now.
    pub fn new(options: Options) -> Rc<Self> {
        let clock = Clock::start();
        let interval = Duration::from_millis(options.report_interval);
        let async_flush = options.timer == TimerMode::PerGame;
        Rc::new(Self {
            options,
            logger: Logger::root(),
            writer: DataWriter::new(Logger::root(), interval, async_flush),
            clock,
            timer: Rc::new(GlobalTimer::new(clock)),
            ids: Rc::default(),
            matchmaking: Matchmaking::default(),
            connections: Cell::new(0),
            games: Cell::new(0),
        })
    }

    /// Accepts connections for ever. It has to run within a `LocalSet`.
    pub async fn serve(self: Rc<Self>, listener: TcpListener) {
        let timer = Rc::clone(&self.timer);
        spawn_local(async move { timer.drive().await });
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    spawn_local(on_connection(Rc::clone(&self), stream));
                }
                Err(error) => self.cannot_accept(&error).await,
            }
        }
    }

    /// A number for a connection, from 1.
    pub fn next_connection(&self) -> u64 {
        self.connections.set(self.connections.get() + 1);
        self.connections.get()
    }

    /// Counts a game that has ended.
    pub fn game_played(&self) {
        self.writer.count(GAMES_PLAYED);
        self.games.set(self.games.get() + 1);
        if self.games.get().is_multiple_of(100) {
            self.logger.error(&format!("Played {} games", self.games.get()));
        }
    }

    /// A client that went before it was accepted is no matter. Without free file descriptors the server goes on with the
    /// connections it has, and tries again when some of them may have closed.
    async fn cannot_accept(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::ConnectionAborted {
            return;
        }
        let advice = "cannot accept a connection; if files are too few, restart after `ulimit -n N` with a larger N";
        self.logger.warn(Box::new(Failure { error: error.to_string() }), Some(advice));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
