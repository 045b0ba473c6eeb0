//! The statistics in the log, in simulated time. Logging is begun once a process, hence one test.

use std::time::Duration;

use serde_json::{Value, json};
use target_server::logger::{LogLevel, Logger, start};
use target_server::statistics::{DataWriter, GAMES_PLAYED, TICK_RUNTIME};
use target_server::ticker::{Clock, Ticker};
use tokio::task::{LocalSet, yield_now};
use tokio::time::advance;

/// Lets time pass, and what is due then happen.
async fn pass(ms: u64) {
    advance(Duration::from_millis(ms)).await;
    for _ in 0..10 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn are_reported_once_an_interval_and_begin_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server.log");
    let guard = start(LogLevel::Warn, Some(&path)).unwrap();
    LocalSet::new()
        .run_until(async {
            let writer = DataWriter::new(Logger::root(), Duration::from_millis(1000), true);
            // Nothing is reported where nothing happens.
            pass(5000).await;
            writer.count(GAMES_PLAYED);
            writer.write(TICK_RUNTIME, 3);
            pass(999).await;
            writer.write(TICK_RUNTIME, 5);
            writer.write(TICK_RUNTIME, 3);
            pass(1).await;
            // After the first report; the second follows one interval after what it begins with.
            pass(500).await;
            writer.count(GAMES_PLAYED);
            writer.count(GAMES_PLAYED);
            pass(999).await;
            writer.write(TICK_RUNTIME, 7);
            pass(1).await;
            // Ticks 14, 15, 17 and 18 ms after the last. The first has no last.
            let mut ticker = Ticker::new(Clock::start(), writer);
            ticker.begin();
            for ms in [14, 15, 17, 18] {
                pass(ms).await;
                ticker.begin();
            }
            pass(1000).await;
            pass(5000).await;
        })
        .await;
    drop(guard);

    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["level"], 40);
        for name in ["level", "time", "pid", "hostname"] {
            line.as_object_mut().unwrap().remove(name).unwrap();
        }
        line
    });
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [
            json!({"title": "tickRuntime", "pointSet": {"3": 2, "5": 1}}),
            json!({"title": "games-played", "count": 1}),
            json!({"title": "tickRuntime", "pointSet": {"7": 1}}),
            json!({"title": "games-played", "count": 2}),
            json!({"title": "tickInterval", "pointSet": {"14": 1, "15": 1, "17": 1, "18": 1}}),
            json!({"title": "tickIntervalOverrun", "count": 1}),
            json!({"title": "tickIntervalUnderrun", "count": 1}),
            json!({"title": "tickOnTime", "count": 2}),
        ]
    );
}
