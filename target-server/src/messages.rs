//! The protocol: JSON objects in text frames, told apart by `type`.
//!
//! | who | type | when |
//! |---|---|---|
//! | server | `start` | both players are connected; the game begins |
//! | client | `fire` | a shot |
//! | server | `stop` | the game has ended; with the player's state, of which `ticks` is game time in milliseconds |
//!
//! Where a player goes before the end, only the other one gets `stop`, with `errorMsg`.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::game::PlayerState;

/// What a client sends. Everything that is JSON will do, and all but an object with the type `fire` is ignored; `null`
/// alone is no message, as it has no members that could be asked for.
#[derive(Debug)]
pub struct ClientMessage {
    kind: Option<String>,
}

impl ClientMessage {
    /// Whether it is a shot.
    pub fn is_fire(&self) -> bool {
        self.kind.as_deref() == Some("fire")
    }
}

impl<'de> Deserialize<'de> for ClientMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyButNull)
    }
}

struct AnyButNull;

impl<'de> Visitor<'de> for AnyButNull {
    type Value = ClientMessage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value but null")
    }

    fn visit_bool<E>(self, _: bool) -> Result<ClientMessage, E> {
        Ok(ClientMessage { kind: None })
    }

    fn visit_i64<E>(self, _: i64) -> Result<ClientMessage, E> {
        Ok(ClientMessage { kind: None })
    }

    fn visit_u64<E>(self, _: u64) -> Result<ClientMessage, E> {
        Ok(ClientMessage { kind: None })
    }

    fn visit_f64<E>(self, _: f64) -> Result<ClientMessage, E> {
        Ok(ClientMessage { kind: None })
    }

    fn visit_str<E>(self, _: &str) -> Result<ClientMessage, E> {
        Ok(ClientMessage { kind: None })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<ClientMessage, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(ClientMessage { kind: None })
    }

    /// Of members with one name the last counts, as everywhere in JavaScript.
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<ClientMessage, A::Error> {
        #[derive(Deserialize)]
        enum Name {
            #[serde(rename = "type")]
            Type,
            #[serde(other)]
            Other,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Type {
            Text(String),
            Other(IgnoredAny),
        }
        let mut kind = None;
        while let Some(name) = members.next_key()? {
            match name {
                Name::Type => {
                    kind = match members.next_value()? {
                        Type::Text(text) => Some(text),
                        Type::Other(IgnoredAny) => None,
                    }
                }
                Name::Other => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(ClientMessage { kind })
    }
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
    fn only_an_object_of_type_fire_is_a_shot() {
        let is_fire = |text| serde_json::from_str::<ClientMessage>(text).unwrap().is_fire();
        for shot in [
            r#"{"type":"fire"}"#,
            r#" {"with":[{"type":null}],"type":"fire","type2":1} "#,
            r#"{"type":"dance","type":"fire"}"#,
            r#"{"ty\u0070e":"f\u0069re"}"#,
        ] {
            assert!(is_fire(shot), "{shot}");
        }
        for other in [
            "{}",
            r#"{"type":"Fire"}"#,
            r#"{"type":"fire","type":1}"#,
            r#"{"type":["fire"]}"#,
            r#"{"type":null}"#,
            r#"{"message":{"type":"fire"}}"#,
            r#"["fire"]"#,
            r#"[{"type":"fire"},null]"#,
            r#""fire""#,
            "5",
            "-5",
            "0.5",
            "true",
        ] {
            assert!(!is_fire(other), "{other}");
        }
    }

    #[test]
    fn null_and_what_is_no_json_are_no_messages() {
        for text in
            ["null", "", "fire", "{", r#"{"type":"fire"}x"#, r#"{"type"}"#, r#"{"type":nul}"#, "[1,]", r#"{"a":[}"#]
        {
            assert!(serde_json::from_str::<ClientMessage>(text).is_err(), "{text}");
        }
    }
}
