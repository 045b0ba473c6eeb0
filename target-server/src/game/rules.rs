//! The constants of the game and the two questions that decide it. Positions are in game units on one line, times in
//! milliseconds of game time.

use super::bullet::Bullet;
use super::player::PlayerState;

/// Distance of each player from the middle of the line.
pub const PLAYER_DISTANCE: i32 = 1000;
/// How close to a player's centre a bullet's centre must come to hit.
pub const PLAYER_RADIUS: i32 = 25;
/// Half of the distance below which two bullets hit each other.
pub const BULLET_RADIUS: i32 = 12;
/// Least time between two shots of one player.
pub const FIRE_INTERVAL_MS: u64 = 100;
/// The longest step by which a game is updated; longer times are split.
pub const LONGEST_STEP_MS: u64 = 16;
/// Time between two ticks of a game: 60 a second.
pub const TICK_MS: f64 = 1000.0 / 60.0;

/// A tick's time in the steps by which a game is updated; none where no time has passed.
pub fn steps(mut ms: u64) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        let step = ms.min(LONGEST_STEP_MS);
        ms -= step;
        (step > 0).then_some(step)
    })
}

/// Whether two bullets hit each other.
pub fn collide(a: &Bullet, b: &Bullet) -> bool {
    (a.x - b.x).abs() < f64::from(2 * BULLET_RADIUS)
}

/// Whether a bullet of the other side has reached this player.
pub fn reached(player: &PlayerState, bullet: &Bullet) -> bool {
    let edge = f64::from(player.x + PLAYER_RADIUS * player.direction);
    if player.direction > 0 { bullet.x < edge } else { bullet.x > edge }
}
