//! Whole games in simulated time, with players that fire on a beat of their own.

use std::rc::Rc;

use super::rules::{TICK_MS, steps};
use super::{BulletStore, Game, Ids, PlayerState, Side};
use crate::logger::Logger;

fn game(store: BulletStore, bullet_speed: u32) -> Game {
    let ids = Rc::new(Ids::default());
    let players = (PlayerState::new(Side::One, ids.next()), PlayerState::new(Side::Two, ids.next()));
    Game::new(players, store, bullet_speed, ids, Logger::root())
}

/// What a game came to.
#[derive(Debug, PartialEq)]
struct Result {
    winner: Option<Side>,
    fired: (u32, u32),
    collisions: u64,
    ticks: u64,
    updates: u64,
    game_ms: u64,
    most_bullets: usize,
}

/// Plays as the server does: ticks 60 times a second, in whole milliseconds; steps of at most 16 ms; shots that arrived
/// since the last tick after the update.
fn play(store: BulletStore, beats: (u64, u64)) -> Result {
    let mut game = game(store, 500);
    let (mut ticks, mut now, mut collisions, mut most_bullets) = (0_u64, 0_u64, 0, 0);
    let mut next_shots = beats;
    while game.winner().is_none() && ticks < 100_000 {
        ticks += 1;
        let tick_end = (ticks as f64 * TICK_MS) as u64;
        for step in steps(tick_end - now) {
            let before = game.bullets().len();
            game.update(step);
            collisions += (before - game.bullets().len()) / 2;
        }
        now = tick_end;
        for (side, beat, next) in [(Side::One, beats.0, &mut next_shots.0), (Side::Two, beats.1, &mut next_shots.1)] {
            while *next <= now {
                *next += beat;
                game.fire(side);
            }
        }
        most_bullets = most_bullets.max(game.bullets().len());
    }
    let (one, two) = (game.player(Side::One), game.player(Side::Two));
    assert_eq!((one.ticks, two.ticks), (now, now));
    Result {
        winner: game.winner(),
        fired: (one.bullets_fired, two.bullets_fired),
        collisions: collisions as u64,
        ticks,
        updates: game.loop_count(),
        game_ms: now,
        most_bullets,
    }
}

/// Checked against an independent simulation. A beat is one millisecond longer than the client's 120 and 140, as timers
/// come late by about that much.
#[test]
fn the_faster_player_wins_after_27_seconds() {
    assert_eq!(
        play(BulletStore::Set, (121, 141)),
        Result {
            winner: Some(Side::One),
            fired: (226, 194),
            collisions: 193,
            ticks: 1642,
            updates: 2736,
            game_ms: 27_366,
            most_bullets: 34,
        }
    );
}

#[test]
fn both_stores_give_the_same_games() {
    for beats in [(120, 140), (140, 120), (100, 101), (113, 457), (3000, 1000), (10_000_000, 150)] {
        let with_sets = play(BulletStore::Set, beats);
        assert!(with_sets.winner.is_some(), "{beats:?}");
        assert_eq!(with_sets, play(BulletStore::Array, beats), "{beats:?}");
    }
}

#[test]
fn the_slower_player_loses_on_either_side() {
    assert_eq!(play(BulletStore::Set, (140, 120)).winner, Some(Side::Two));
    assert_eq!(play(BulletStore::Set, (120, 140)).winner, Some(Side::One));
}

#[test]
fn a_lone_bullet_hits_after_crossing_the_line() {
    let mut game = game(BulletStore::Set, 500);
    game.fire(Side::Two);
    // From 963 to beyond -975 at 0.5 units a millisecond.
    for _ in 0..3876 {
        game.update(1);
    }
    assert_eq!(game.winner(), None);
    game.update(1);
    assert_eq!(game.winner(), Some(Side::Two));
    assert!(game.player(Side::Two).won && !game.player(Side::One).won);
}

#[test]
fn time_is_split_into_steps_of_at_most_16_ms() {
    for (ms, expected) in [(0, &[][..]), (1, &[1]), (16, &[16]), (17, &[16, 1]), (40, &[16, 16, 8])] {
        assert_eq!(steps(ms).collect::<Vec<_>>(), expected, "{ms}");
    }
}

#[test]
fn updates_after_a_hit_count_and_the_last_hit_decides() {
    for store in [BulletStore::Set, BulletStore::Array] {
        let mut game = game(store, 500);
        let won = |game: &Game| [Side::One, Side::Two].map(|side| game.player(side).won);
        game.fire(Side::One);
        game.update(3876);
        game.fire(Side::Two);
        assert_eq!((game.winner(), won(&game)), (None, [false, false]));
        // The first bullet is 0.5 units further on, and hits before it could meet the second.
        game.update(1);
        assert_eq!((game.winner(), won(&game)), (Some(Side::One), [true, false]));
        // Far enough for the second.
        game.update(3900);
        assert_eq!((game.winner(), won(&game)), (Some(Side::Two), [false, true]), "{store:?}");
        assert_eq!([Side::One, Side::Two].map(|side| game.player(side).ticks), [7777, 7777]);
        assert_eq!(game.loop_count(), 3);
    }
}

#[test]
fn a_game_has_the_id_of_its_second_player_and_takes_one_more() {
    let ids = Ids::default();
    assert_eq!((ids.next(), ids.next(), ids.next_game(), ids.next()), (1, 2, 2, 4));
}

#[test]
fn shots_within_100_ms_of_game_time_do_not_count() {
    let mut game = game(BulletStore::Set, 500);
    game.fire(Side::One);
    game.fire(Side::One);
    game.update(99);
    game.fire(Side::One);
    assert_eq!(game.player(Side::One).bullets_fired, 1);
    game.fire(Side::Two);
    game.update(1);
    game.fire(Side::One);
    assert_eq!((game.player(Side::One).bullets_fired, game.player(Side::Two).bullets_fired), (2, 1));
    assert_eq!(game.player(Side::One).last_fire, 100);
}

#[test]
fn a_bullet_of_player_two_can_be_met_twice_in_one_update() {
    for store in [BulletStore::Set, BulletStore::Array] {
        // Slow bullets: player one's two are only 20 apart.
        let mut game = game(store, 200);
        game.fire(Side::One);
        game.update(100);
        game.fire(Side::One);
        game.fire(Side::Two);
        assert_eq!(game.bullets().len(), 3);
        // Each flies 958: to 15, -5 and 5.
        game.update(4790);
        assert_eq!((game.bullets().len(), game.winner()), (0, None), "{store:?}");
    }
}
