//! One player: connects, waits for `start`, fires at its beat until `stop`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Bytes, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// An open connection to the server.
pub type Socket = WebSocketStream<TcpStream>;

/// A server that has not accepted a connection after this time does not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Messages are small, connections many.
const BUFFER_SIZE: usize = 4096;
const FIRE: &str = r#"{"type":"fire"}"#;

/// Why a game did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No TCP connection.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// No TCP connection or no handshake for long.
    #[error("connecting took more than {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout,
    /// The WebSocket handshake or a later frame failed.
    #[error("WebSocket: {0}")]
    WebSocket(#[from] tungstenite::Error),
    /// The server closed the connection.
    #[error("the server closed the connection before the game ended")]
    Closed,
    /// The server does not speak the protocol.
    #[error("the server sent something unexpected")]
    Unexpected,
    /// The other player went.
    #[error("the opponent disconnected")]
    OpponentDisconnected,
}

/// How a game went for one player.
#[derive(Debug)]
pub struct Outcome {
    /// Game time at the end in milliseconds.
    pub ticks: u32,
    /// Shots that counted.
    pub bullets_fired: u32,
    /// Whether this player has won.
    pub won: bool,
    /// From `start` until `stop`, less the game time: how far the game fell behind the clock.
    pub lag: Duration,
}

/// What is measured while a game is on.
#[derive(Clone, Copy, Debug)]
pub enum Measured {
    /// From both connections being open until `start` came.
    Start(Duration),
    /// From a ping to its pong.
    Ping(Duration),
}

/// How a player plays.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Time between two shots.
    pub beat: Duration,
    /// Time between two pings.
    pub ping: Option<Duration>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum ServerMessage {
    Start,
    Stop(Stop),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stop {
    error_msg: Option<String>,
    ticks: u32,
    bullets_fired: u32,
    won: bool,
}

/// Opens a connection, and says how long that took with the handshake.
pub async fn connect(address: SocketAddr) -> Result<(Socket, Duration), Failure> {
    let began = Instant::now();
    let connecting = async {
        let stream = TcpStream::connect(address).await.map_err(Failure::Connect)?;
        stream.set_nodelay(true).map_err(Failure::Connect)?;
        let config = WebSocketConfig::default().read_buffer_size(BUFFER_SIZE).write_buffer_size(BUFFER_SIZE);
        let (socket, _response) = client_async_with_config(format!("ws://{address}/"), stream, Some(config)).await?;
        Ok(socket)
    };
    let socket = timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or(Err(Failure::Timeout))?;
    Ok((socket, began.elapsed()))
}

/// Plays one game. The first shot comes one beat after `start`; a `stop` before it fails the game.
pub async fn play(
    mut socket: Socket,
    style: Style,
    both_open: Instant,
    measured: impl Fn(Measured),
) -> Result<Outcome, Failure> {
    loop {
        match next_message(&mut socket).await? {
            Received::Message(ServerMessage::Start) => break,
            Received::Message(ServerMessage::Stop(_)) => return Err(Failure::Unexpected),
            Received::Pong(_) | Received::Other => {}
        }
    }
    let started = Instant::now();
    measured(Measured::Start(started - both_open));
    let mut last_shot = started;
    let mut ping_beat = interval(style.ping.unwrap_or(Duration::MAX / 4));
    ping_beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            received = next_message(&mut socket) => match received? {
                Received::Pong(sent_us) => {
                    measured(Measured::Ping(started.elapsed().saturating_sub(Duration::from_micros(sent_us))));
                }
                Received::Other => {}
                Received::Message(ServerMessage::Start) => return Err(Failure::Unexpected),
                Received::Message(ServerMessage::Stop(Stop { error_msg: Some(_), .. })) => {
                    return Err(Failure::OpponentDisconnected);
                }
                Received::Message(ServerMessage::Stop(Stop { ticks, bullets_fired, won, .. })) => {
                    let lag = started.elapsed().saturating_sub(Duration::from_millis(ticks.into()));
                    return Ok(Outcome { ticks, bullets_fired, won, lag });
                }
            },
            () = sleep_until(last_shot + style.beat) => {
                socket.send(Message::text(FIRE)).await?;
                last_shot = Instant::now();
            }
            _ = ping_beat.tick(), if style.ping.is_some() => {
                let sent_us = started.elapsed().as_micros() as u64;
                socket.send(Message::Ping(Bytes::copy_from_slice(&sent_us.to_le_bytes()))).await?;
            }
        }
    }
}

enum Received {
    Message(ServerMessage),
    /// With what the ping held.
    Pong(u64),
    Other,
}

/// The next frame. Cancel safe.
async fn next_message(socket: &mut Socket) -> Result<Received, Failure> {
    match socket.next().await {
        Some(Ok(Message::Text(text))) => {
            serde_json::from_str(text.as_str()).map(Received::Message).map_err(|_| Failure::Unexpected)
        }
        Some(Ok(Message::Pong(payload))) => {
            let sent = <[u8; 8]>::try_from(&*payload).map_err(|_| Failure::Unexpected)?;
            Ok(Received::Pong(u64::from_le_bytes(sent)))
        }
        Some(Ok(Message::Ping(_) | Message::Frame(_))) => Ok(Received::Other),
        Some(Ok(Message::Binary(_))) => Err(Failure::Unexpected),
        Some(Ok(Message::Close(_))) | None => Err(Failure::Closed),
        Some(Err(error)) => Err(error.into()),
    }
}
