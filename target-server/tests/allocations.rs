//! How often the parts of a tick allocate. These habits are what the server is for; a change in Rust, a library or here that
//! loses one of them would make it another load.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use target_server::connection::Inbox;
use target_server::game::{BulletStore, Game, Ids, PlayerState, Side};
use target_server::logger::Logger;
use target_server::statistics::{DataWriter, TICK_ON_TIME, TICK_RUNTIME};
use target_server::ticker::{Clock, Ticker};
use tokio::task::LocalSet;
use tokio::time::advance;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

/// Counts what each thread asks for, and asks the system's allocator.
struct Counting;

fn count(bytes: usize) {
    CALLS.set(CALLS.get() + 1);
    BYTES.set(BYTES.get() + bytes);
}

// SAFETY: hands everything on as it comes. Counting does not allocate: the counters need neither making nor dropping.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's promises are the same.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn now() -> (usize, usize) {
    (CALLS.get(), BYTES.get())
}

/// Calls of the allocator and bytes since then.
fn since((calls, bytes): (usize, usize)) -> (usize, usize) {
    (CALLS.get() - calls, BYTES.get() - bytes)
}

fn game() -> Game {
    let ids = Rc::new(Ids::default());
    let players = (PlayerState::new(Side::One, ids.next()), PlayerState::new(Side::Two, ids.next()));
    Game::new(players, BulletStore::Set, 500, ids, Logger::root())
}

#[test]
fn an_update_makes_an_array_for_removed_bullets_whether_any_are_or_not() {
    let mut game = game();
    game.fire(Side::One);
    for _ in 0..10 {
        let before = now();
        game.update(16);
        assert_eq!(since(before), (1, 32));
    }
}

#[test]
fn a_shot_makes_a_bullet() {
    let mut game = game();
    // The set has room for more than one when it has one.
    game.fire(Side::One);
    game.update(100);
    let before = now();
    game.fire(Side::One);
    assert_eq!(since(before), (1, 24));
    let before = now();
    // Too early.
    game.fire(Side::One);
    assert_eq!(since(before), (0, 0));
}

#[test]
fn records_are_made_and_first_states_serialized_where_nothing_is_logged() {
    let logger = Logger::root();
    let before = now();
    logger.info_with(Box::new(black_box([1_u64, 2])), "bullets collided");
    assert_eq!(since(before), (1, 16));
    let (p1, p2) = (PlayerState::new(Side::One, 1), PlayerState::new(Side::Two, 2));
    let text = json!({"p1": p1, "p2": p2, "id": 3}).to_string();
    let before = now();
    black_box(logger.child(&p1, &p2, 3));
    let (calls, bytes) = since(before);
    assert!(calls >= 1 && bytes >= text.len(), "{calls} calls, {bytes} bytes");
}

#[test]
fn a_message_is_an_object_and_arrays_for_messages_are_made_without_messages() {
    let inbox = Inbox::default();
    let before = now();
    inbox.on_message(br#"{"type":"fire"}"#);
    // The object, and its text.
    assert_eq!(since(before), (2, 24 + 4));
    for _ in 0..2 {
        let before = now();
        drop(inbox.take());
        assert_eq!(since(before), (1, 32));
    }
}

#[tokio::test(start_paused = true)]
async fn each_entry_into_the_statistics_makes_a_future_unless_there_is_a_global_timer() {
    for (async_flush, calls) in [(true, 1), (false, 0)] {
        LocalSet::new()
            .run_until(async {
                let writer = DataWriter::new(Logger::root(), Duration::from_secs(3600), async_flush);
                // Titles and values are entered once, and the report is on its way then.
                writer.write(TICK_RUNTIME, 16);
                writer.count(TICK_ON_TIME);
                for _ in 0..10 {
                    let before = now();
                    writer.write(TICK_RUNTIME, 16);
                    assert_eq!(since(before).0, calls);
                    let before = now();
                    writer.count(TICK_ON_TIME);
                    assert_eq!(since(before).0, calls);
                }
            })
            .await;
    }
}

/// The tick's future, its timer, and three futures of the statistics; none for a timer where the tick is late.
#[tokio::test(start_paused = true)]
async fn a_tick_makes_five_objects_when_it_waits_and_four_when_it_is_late() {
    LocalSet::new()
        .run_until(async {
            let writer = DataWriter::new(Logger::root(), Duration::from_secs(3600), true);
            let mut ticker = Ticker::new(Clock::start(), writer);
            for _ in 0..60 {
                ticker.tick_runner().await;
            }
            for _ in 0..60 {
                let before = now();
                let elapsed = ticker.tick_runner().await;
                assert_eq!((since(before).0, elapsed > 0), (5, true));
            }
            advance(Duration::from_millis(100)).await;
            // Enters the values that a late tick has.
            ticker.tick_runner().await;
            ticker.tick_runner().await;
            let before = now();
            let elapsed = ticker.tick_runner().await;
            assert_eq!((since(before).0, elapsed), (4, 0));
        })
        .await;
}
