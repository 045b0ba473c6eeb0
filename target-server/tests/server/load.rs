//! What the load client says of games, and of a server that does not play them.

use std::process::{Command, Output};

use futures_util::SinkExt;
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

use super::process::ServerProcess;

fn load(port: u16, options: &[&str]) -> Output {
    let mut load = Command::new(env!("CARGO_BIN_EXE_target-server-load"));
    load.args(["--port", &port.to_string()]).args(options).output().unwrap()
}

/// Bullets are so fast that each shot hits before the slow player's first.
#[test]
fn totals_are_the_sums_of_all_games() {
    let server = ServerProcess::start(&["--bulletSpeed", "100000"]);
    let log = server.log_path();
    let output = load(server.port, &["-q", "2", "-g", "6", "--slow", "3600000", "--server-log", log.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("games: 6 started, 6 finished, 0 failed, 0 unfinished, in "), "{text}");
    let (ticks, rest) = lines[1].strip_prefix("ticks: ").unwrap().split_once(", ").unwrap();
    assert_eq!(rest, "bullets fired: 6 (6 + 0), p1_won: 6", "{text}");
    // A shot after 120 ms and a tick or two, counted for twelve players.
    assert!(ticks.parse::<u64>().unwrap() >= 12 * 100, "{text}");
    for (line, title) in lines[2..5].iter().zip(["connect:       ", "open to start: ", "game lag:      "]) {
        assert!(line.starts_with(title) && line.ends_with(" (12 measured)"), "{text}");
    }
    assert!(lines[5].starts_with("server ticks:  "), "{text}");
    assert_eq!(lines.len(), 6, "{text}");
}

/// Sends every connection the same, and keeps it open.
async fn server_that_sends(message: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            let mut socket = accept_async(stream).await.unwrap();
            socket.send(Message::text(message)).await.unwrap();
            open.push(socket);
        }
    });
    port
}

#[tokio::test]
async fn a_stop_before_the_start_fails_the_game_and_the_run() {
    let port = server_that_sends(r#"{"type":"stop","ticks":1,"bulletsFired":2,"won":true}"#).await;
    let output =
        tokio::task::spawn_blocking(move || load(port, &["-q", "1", "-g", "2", "--duration", "20s"])).await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("games: 2 started, 0 finished, 2 failed, 0 unfinished, in "), "{text}");
    assert!(text.contains("\n  2 failed: the server sent something unexpected\n"), "{text}");
    assert!(text.contains("\nticks: 0, bullets fired: 0 (0 + 0), p1_won: 0\n"), "{text}");
}
