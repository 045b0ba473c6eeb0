//! A client that does as it is told, also what it should not do.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// A shot.
pub const FIRE: &str = r#"{"type":"fire"}"#;

/// Ends a test that would wait for ever.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Client(pub WebSocketStream<TcpStream>);

impl Client {
    pub async fn connect(port: u16) -> Self {
        Self::connect_to(port, "/").await
    }

    /// Asks for a path, which may have a query.
    pub async fn connect_to(port: u16, path: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        Self(client_async(format!("ws://127.0.0.1{path}"), stream).await.unwrap().0)
    }

    /// Two connected players whose game has begun.
    pub async fn pair(port: u16) -> [Self; 2] {
        let mut pair = [Self::connect(port).await, Self::connect(port).await];
        for client in &mut pair {
            assert_eq!(client.receive().await.unwrap(), r#"{"type":"start"}"#);
        }
        pair
    }

    pub async fn send(&mut self, message: impl Into<Message>) {
        self.0.send(message.into()).await.unwrap();
    }

    pub async fn fire(&mut self) {
        self.send(FIRE).await;
    }

    /// Sends a ping and expects its answer, as the next that comes.
    pub async fn expect_pong(&mut self, payload: &'static [u8]) {
        self.send(Message::Ping(Bytes::from_static(payload))).await;
        let answer = timeout(PATIENCE, self.0.next()).await.expect("the server sends nothing");
        assert_eq!(answer.unwrap().unwrap(), Message::Pong(Bytes::from_static(payload)));
    }

    /// The next text; `None` where the server has closed or cut the connection.
    pub async fn receive(&mut self) -> Option<String> {
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("the server sends nothing") {
                Some(Ok(Message::Text(text))) => return Some(text.to_string()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    pub async fn receive_stop(&mut self) -> Value {
        let stop: Value = serde_json::from_str(&self.receive().await.expect("cut off instead of a stop")).unwrap();
        assert_eq!(stop["type"], "stop");
        stop
    }
}
