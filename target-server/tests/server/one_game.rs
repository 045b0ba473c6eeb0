//! One real game of about 27 seconds between the two binaries.

use std::process::Command;

use serde_json::Value;

use super::process::ServerProcess;

fn one_game(options: &[&str]) {
    let server = ServerProcess::start(options);
    let load = Command::new(env!("CARGO_BIN_EXE_target-server-load"))
        .args(["--port", &server.port.to_string(), "--games", "1", "--ping", "1000", "--json", "--server-log"])
        .arg(server.log_path())
        .output()
        .unwrap();
    assert!(load.status.success(), "{load:?}");
    let totals: Value = serde_json::from_slice(&load.stdout).unwrap();
    let count = |name: &str| totals[name].as_u64().unwrap();
    assert_eq!(["games_started", "games_finished", "games_failed", "games_unfinished"].map(count), [1, 1, 0, 0]);
    assert_eq!(count("p1_won"), 1);
    assert!((220..=229).contains(&count("p1_bullets_fired")), "{totals}");
    assert!((190..=199).contains(&count("p2_bullets_fired")), "{totals}");
    for (times, measured) in [("connect", 2), ("start", 2), ("lag", 2)] {
        assert_eq!(totals[times]["count"], measured, "{totals}");
    }
    assert!(totals["ping"]["count"].as_u64().unwrap() > 0, "{totals}");
    assert!(totals["server"]["intervals"].as_u64().unwrap() > 0, "{totals}");

    // Every tick but the first has an interval, every tick has a run time, and both are reported in the end.
    let log = server.stop();
    let points = |title: &str| -> u64 {
        let sets = log.iter().filter(|line| line["title"] == title).map(|line| line["pointSet"].as_object().unwrap());
        sets.flat_map(|set| set.values()).map(|count| count.as_u64().unwrap()).sum()
    };
    let counted = |title: &str| -> u64 {
        log.iter().filter(|line| line["title"] == title).map(|line| line["count"].as_u64().unwrap()).sum()
    };
    let ticks = points("tickRuntime");
    assert_eq!(points("tickInterval"), ticks - 1);
    assert_eq!(
        ["tickOnTime", "tickIntervalOverrun", "tickIntervalUnderrun"].map(counted).iter().sum::<u64>(),
        ticks - 1
    );
    assert_eq!(counted("games-played"), 1);
    assert!(log.iter().all(|line| line["level"] == 40), "{log:?}");
}

#[test]
fn comes_out_as_it_should() {
    one_game(&[]);
}

#[test]
fn comes_out_the_same_with_an_array_and_the_global_timer() {
    one_game(&["--bullets", "array", "--timer", "global"]);
}
