//! Who plays whom: one connection waits, the next one plays with it.

use std::cell::RefCell;
use std::rc::Rc;

use crate::connection::Peer;
use crate::play::play_game;
use crate::server::Server;

/// The place for one waiting player.
#[derive(Debug, Default)]
pub struct Matchmaking {
    waiting: RefCell<Option<Peer>>,
}

impl Matchmaking {
    /// Lets a new connection wait, or begins a game between the one that waits and the new one. What a player sends while
    /// it waits counts when the game has begun.
    pub fn enter(&self, server: &Rc<Server>, peer: Peer) {
        let waiting = self.waiting.take();
        match waiting {
            None => {
                server.logger.info("Player 1 connected");
                self.waiting.replace(Some(peer));
            }
            Some(first) => {
                server.logger.info("Player 2 connected");
                tokio::task::spawn_local(play_game(Rc::clone(server), first, peer));
            }
        }
    }

    /// A connection is of no use any more. If it waits, it is let go. (The server this one reproduces keeps it, and so
    /// loses the next player as well.)
    ///
    /// A peer that vanishes without a word stays. It does no harm: it is matched, does not fire, and loses.
    pub fn leave(&self, id: u64) {
        self.waiting.borrow_mut().take_if(|waiting| waiting.id == id);
    }
}
