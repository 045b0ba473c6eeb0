//! A client's connection: the WebSocket handshake, and what comes in.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};

use crate::messages::ClientMessage;
use crate::server::Server;

/// A client has so long for the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that takes up nothing for so long is given up.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// The protocol's messages have 15 bytes; a client that sends more than this is at fault.
const LONGEST_MESSAGE: usize = 4096;
/// Messages that may wait for a game. A tick takes up all; a client that sends more than this between two ticks, or before
/// its game has begun, is at fault.
const MOST_MESSAGES: usize = 1024;
/// Buffers of a connection. The library's default of 128 KiB is for few connections with large messages; this is room for
/// dozens of ours.
const BUFFER_SIZE: usize = 1024;

/// Why a connection is no longer of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Closed,
    Failed,
}

/// Messages as they came, each an object of its own.
pub type Messages = Vec<Box<ClientMessage>>;

/// What a client has sent and nobody has read yet. Shared by the connection and the game.
#[derive(Debug)]
pub struct Inbox {
    messages: RefCell<Messages>,
    state: Cell<State>,
    finished: Cell<bool>,
}

impl Inbox {
    /// Whether the client is still there and has sent nothing invalid.
    pub fn is_open(&self) -> bool {
        self.state.get() == State::Open
    }

    /// Takes what has come, and puts a fresh array in its place, also where nothing has come.
    pub fn take(&self) -> Messages {
        self.messages.replace(message_array())
    }

    /// The game has ended: what comes from now on is dropped.
    pub fn finish(&self) {
        self.finished.set(true);
        self.messages.take();
    }

    /// Takes up one frame's payload, text or binary. What cannot be read as a message is the client's end.
    #[inline(never)]
    pub fn on_message(&self, payload: &[u8]) {
        if self.finished.get() {
            return;
        }
        match serde_json::from_slice(payload) {
            Ok(message) if self.messages.borrow().len() < MOST_MESSAGES => self.messages.borrow_mut().push(message),
            _ => self.state.set(State::Failed),
        }
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self { messages: RefCell::new(message_array()), state: Cell::default(), finished: Cell::new(false) }
    }
}

/// On the heap whether a message comes or not: two such arrays a tick are part of the load. 32 bytes each, as empty arrays
/// of the server that this one reproduces.
fn message_array() -> Messages {
    Vec::with_capacity(4)
}

/// A connected client, as matchmaking and the game know it.
#[derive(Debug)]
pub struct Peer {
    /// Counts connections from 1.
    pub id: u64,
    /// What it has sent.
    pub inbox: Rc<Inbox>,
    sink: SplitSink<WebSocketStream<TcpStream>, Message>,
}

impl Peer {
    /// Sends a message, if there is one. What fails is the end of this client's game and of nothing else.
    pub async fn send(&mut self, json: Option<serde_json::Result<String>>) {
        let sent = match json {
            None => return,
            Some(Ok(json)) => timeout(SEND_TIMEOUT, self.sink.send(Message::text(json))).await,
            Some(Err(_)) => Ok(Err(tungstenite::Error::ConnectionClosed)),
        };
        if !matches!(sent, Ok(Ok(()))) && self.inbox.is_open() {
            self.inbox.state.set(State::Failed);
        }
    }
}

/// Serves a connection until the client goes. Nothing that a client does ends more than its own game.
///
/// After the game the server leaves the connection open, as the protocol has it: clients close. A client that has sent
/// something invalid is cut off.
#[inline(never)]
pub fn on_connection(server: Rc<Server>, stream: TcpStream) -> LocalBoxFuture<'static, ()> {
    Box::pin(async move {
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_SIZE)
            .write_buffer_size(BUFFER_SIZE)
            .max_write_buffer_size(64 * BUFFER_SIZE)
            .max_message_size(Some(LONGEST_MESSAGE))
            .max_frame_size(Some(LONGEST_MESSAGE));
        // Messages are small and wanted at once. Failing that, they come a little later.
        let _ = stream.set_nodelay(true);
        let Ok(Ok(socket)) = timeout(HANDSHAKE_TIMEOUT, accept_async_with_config(stream, Some(config))).await else {
            return;
        };
        let id = server.next_connection();
        server.logger.info("new connection");

        let (sink, mut frames) = socket.split();
        let inbox = Rc::new(Inbox::default());
        server.matchmaking.enter(&server, Peer { id, inbox: Rc::clone(&inbox), sink });
        while let Some(frame) = frames.next().await {
            match frame {
                Ok(Message::Text(text)) => inbox.on_message(text.as_bytes()),
                Ok(Message::Binary(bytes)) => inbox.on_message(&bytes),
                // The library answers pings and the closing handshake; the latter ends the stream.
                Ok(Message::Close(_)) => inbox.state.set(State::Closed),
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Err(_) => inbox.state.set(State::Failed),
            }
            if !inbox.is_open() {
                server.matchmaking.leave(id);
            }
            if inbox.state.get() == State::Failed {
                return;
            }
        }
        inbox.state.set(State::Closed);
        server.matchmaking.leave(id);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_once() {
        let inbox = Inbox::default();
        inbox.on_message(br#"{"type":"fire"}"#);
        inbox.on_message(br#"{"type":"dance"}"#);
        assert_eq!(inbox.take().iter().map(|message| message.is_fire()).collect::<Vec<_>>(), [true, false]);
        assert!(inbox.take().is_empty() && inbox.is_open());
    }

    #[test]
    fn invalid_payloads_are_the_clients_end() {
        for payload in [&b"fire"[..], b"", b"\xff", b"null", b"[1]x", b"{\"type\"", &b"[".repeat(4000)] {
            let inbox = Inbox::default();
            inbox.on_message(payload);
            assert!(!inbox.is_open(), "{payload:?}");
        }
    }

    #[test]
    fn a_flood_is_bounded() {
        let inbox = Inbox::default();
        for _ in 0..=MOST_MESSAGES {
            inbox.on_message(b"{}");
        }
        assert!(!inbox.is_open());
        assert_eq!(inbox.take().len(), MOST_MESSAGES);
    }

    #[test]
    fn nothing_is_kept_after_the_game() {
        let inbox = Inbox::default();
        inbox.on_message(b"{}");
        inbox.finish();
        inbox.on_message(b"{}");
        inbox.on_message(b"invalid");
        assert!(inbox.take().is_empty() && inbox.is_open());
    }
}
