//! A player's state.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::rules::PLAYER_DISTANCE;

/// One of the two players of a game.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// At the left, shooting to the right.
    One,
    /// At the right, shooting to the left.
    Two,
}

/// What a game knows about a player. Serialized in this order into logs and into the `stop` message.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlayerState {
    /// Game time of the last shot in milliseconds; -1 before the first.
    pub last_fire: i64,
    /// Shots that counted.
    pub bullets_fired: u32,
    /// Whether this player has won.
    pub won: bool,
    /// Position; players do not move.
    pub x: i32,
    /// Of the player's bullets: 1 to the right, -1 to the left.
    pub direction: i32,
    /// Unique in this process.
    pub id: u64,
    /// Game time so far in milliseconds.
    pub ticks: u64,
    bullets: NotSerialized,
}

impl PlayerState {
    /// A player at the begin of a game.
    pub fn new(side: Side, id: u64) -> Self {
        let direction = match side {
            Side::One => 1,
            Side::Two => -1,
        };
        Self {
            last_fire: -1,
            bullets_fired: 0,
            won: false,
            x: -direction * PLAYER_DISTANCE,
            direction,
            id,
            ticks: 0,
            bullets: NotSerialized,
        }
    }
}

/// The protocol has a member `bullets` that is always `{}`: a set says nothing about its elements in JSON.
#[derive(Clone, Debug)]
struct NotSerialized;

impl Serialize for NotSerialized {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_map(Some(0))?.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_serialized_in_the_order_of_the_protocol() {
        assert_eq!(
            serde_json::to_string(&PlayerState::new(Side::One, 7)).unwrap(),
            r#"{"lastFire":-1,"bulletsFired":0,"won":false,"x":-1000,"direction":1,"id":7,"ticks":0,"bullets":{}}"#
        );
    }
}
