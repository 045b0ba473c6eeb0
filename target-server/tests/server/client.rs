//! A client that does as it is told, also what it should not do.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Ends a test that would wait for ever.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Client(pub WebSocketStream<TcpStream>);

impl Client {
    pub async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        Self(client_async("ws://127.0.0.1/", stream).await.unwrap().0)
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
        self.send(r#"{"type":"fire"}"#).await;
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
