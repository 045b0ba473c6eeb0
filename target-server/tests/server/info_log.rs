//! What a game leaves in a log at the level info.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::client::{Client, FIRE};
use super::process::ServerProcess;

#[tokio::test]
async fn a_game_is_told_from_its_connections_to_its_end() {
    // Slow enough that bullets cannot pass through each other between two updates.
    let server = ServerProcess::start(&["--logLevel", "info", "--bulletSpeed", "1000", "--reportInterval", "3600000"]);
    let [mut one, mut two] = Client::pair(server.port).await;
    // Both in one packet: the second is too early.
    one.0.feed(Message::text(FIRE)).await.unwrap();
    one.0.send(Message::text(FIRE)).await.unwrap();
    two.fire().await;
    // The first bullets meet after a second. The next shot comes when they have.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    two.fire().await;
    assert_eq!(one.receive_stop().await["won"], false);
    assert_eq!(two.receive_stop().await["won"], true);
    let (pid, path) = (server.pid(), server.log_path());
    let log = server.stop();

    let messages: Vec<&str> = log.iter().filter_map(|line| line["msg"].as_str()).collect();
    let begin = ["starting server", "listening on", "new connection", "Player 1 connected", "new connection"];
    assert_eq!(messages[..6], [&begin[..], &["Player 2 connected"]].concat(), "{log:?}");
    let mut game = messages[6..].to_vec();
    // By two connections: which of the first three shots comes when is open.
    game[..3].sort_unstable();
    // The tick in which the bullet hits is played to its end, and it goes on hitting.
    let losses = game.split_off(5);
    assert!(!losses.is_empty() && losses.iter().all(|msg| *msg == "player one lost"), "{log:?}");
    let shots = ["bullet created", "bullet created", "early fire, nothing happened"];
    let then = ["bullets collided", "bullet created"];
    assert_eq!(game, [&shots[..], &then].concat(), "{log:?}");

    let of = |msg: &str| log.iter().find(|line| line["msg"] == msg).unwrap();
    for line in log.iter().filter(|line| line["msg"].is_string()) {
        assert_eq!((&line["level"], &line["pid"]), (&json!(30), &json!(pid)));
        assert!(line["hostname"].is_string(), "{line}");
    }
    let start = of("starting server");
    assert_members(
        start,
        &["host", "port", "logLevel", "logPath", "reportInterval", "bulletSpeed", "bullets", "timer"],
    );
    assert_eq!((&start["port"], &start["bulletSpeed"]), (&json!(0), &json!(1000)));
    assert_eq!(start["logPath"], path.to_str().unwrap());
    for msg in ["listening on", "new connection", "Player 1 connected", "Player 2 connected"] {
        assert_members(of(msg), &[]);
    }
    // A game's lines repeat how it began, and only some add a record.
    for (msg, record) in [
        ("bullet created", &[][..]),
        ("early fire, nothing happened", &[]),
        ("bullets collided", &["b", "other"]),
        ("player one lost", &["s1", "s2", "loopCount"]),
    ] {
        let line = of(msg);
        assert_members(line, &[&["p1", "p2", "id"], record].concat());
        assert_eq!((&line["p1"]["id"], &line["p2"]["id"], &line["id"]), (&json!(1), &json!(2), &json!(2)));
        assert_eq!((&line["p1"]["bulletsFired"], &line["p2"]["lastFire"]), (&json!(0), &json!(-1)));
    }
    let collided = of("bullets collided");
    assert_eq!((&collided["b"]["direction"], &collided["other"]["direction"]), (&json!(1), &json!(-1)));
    let lost = of("player one lost");
    assert_eq!((&lost["s1"]["bulletsFired"], &lost["s2"]["bulletsFired"]), (&json!(1), &json!(2)));
    assert_eq!((&lost["s1"]["won"], &lost["s2"]["won"]), (&json!(false), &json!(false)));
    assert_eq!(lost["s1"]["ticks"], lost["s2"]["ticks"]);
    // Each update lets 1 to 16 ms pass.
    let (ticks, updates) = (lost["s1"]["ticks"].as_u64().unwrap(), lost["loopCount"].as_u64().unwrap());
    assert!((ticks.div_ceil(16)..=ticks).contains(&updates), "{lost}");
}

/// Asserts that a line has what every line has, and these members.
fn assert_members(line: &Value, members: &[&str]) {
    let expected: BTreeSet<&str> = ["level", "time", "pid", "hostname", "msg"].iter().chain(members).copied().collect();
    assert_eq!(line.as_object().unwrap().keys().map(String::as_str).collect::<BTreeSet<_>>(), expected);
}
