//! The protocol: JSON objects in text frames, told apart by `type`.
//!
//! | who | type | when |
//! |---|---|---|
//! | server | `start` | both players are connected; the game begins |
//! | client | `fire` | a shot |
//! | server | `stop` | the game has ended; with the player's state, of which `ticks` is game time in milliseconds |
//!
//! Where a player goes before the end, only the other one gets `stop`, with `errorMsg`.

use serde::{Deserialize, Serialize};

use crate::game::PlayerState;

/// What a client sends. Types other than `fire` are ignored.
#[derive(Debug, Deserialize)]
pub struct ClientMessage {
    /// `fire`.
    #[serde(default, rename = "type")]
    pub kind: String,
}

#[derive(Serialize)]
struct Start {
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct Stop<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "errorMsg", skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(flatten)]
    state: &'a PlayerState,
}

/// The message that begins a game.
pub fn start() -> serde_json::Result<String> {
    serde_json::to_string(&Start { kind: "start" })
}

/// The message that ends a game.
pub fn stop(state: &PlayerState, opponent_gone: bool) -> serde_json::Result<String> {
    serde_json::to_string(&Stop { kind: "stop", error: opponent_gone.then_some("Opponent disconnected"), state })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::game::Side;

    #[test]
    fn have_the_members_and_order_of_the_protocol() {
        assert_eq!(start().unwrap(), r#"{"type":"start"}"#);
        let state = PlayerState::new(Side::Two, 2);
        let members =
            r#""lastFire":-1,"bulletsFired":0,"won":false,"x":1000,"direction":-1,"id":2,"ticks":0,"bullets":{}}"#;
        assert_eq!(stop(&state, false).unwrap(), format!(r#"{{"type":"stop",{members}"#));
        assert_eq!(
            stop(&state, true).unwrap(),
            format!(r#"{{"type":"stop","errorMsg":"Opponent disconnected",{members}"#)
        );
    }

    #[test]
    fn unknown_types_are_read() {
        for (text, kind) in [(r#"{"type":"fire"}"#, "fire"), (r#"{"type":"x","y":[{}]}"#, "x"), ("{}", "")] {
            assert_eq!(serde_json::from_str::<ClientMessage>(text).unwrap().kind, kind);
        }
    }
}
