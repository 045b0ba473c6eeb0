//! One real game of about 27 seconds between the two binaries.

use std::process::Command;

use serde_json::Value;

use super::process::ServerProcess;

/// Timers come late on a busy machine, and players then fire less than they should. What the game itself does to the
/// numbers is the same in every game, so it is enough that one of a few comes out right.
const ATTEMPTS: u64 = 5;

fn one_game(options: &[&str]) {
    let server = ServerProcess::start(options);
    let games = (1..=ATTEMPTS).find(|_| {
        let totals = play(&server);
        let count = |name: &str| totals[name].as_u64().unwrap();
        assert_eq!(["games_started", "games_finished", "games_failed", "games_unfinished"].map(count), [1, 1, 0, 0]);
        assert_eq!(["connect", "start", "lag"].map(|times| totals[times]["count"].as_u64().unwrap()), [2, 2, 2]);
        assert!(totals["ping"]["count"].as_u64().unwrap() > 0, "{totals}");
        assert!(totals["server"]["intervals"].as_u64().unwrap() > 0, "{totals}");
        count("p1_won") == 1
            && (220..=229).contains(&count("p1_bullets_fired"))
            && (190..=199).contains(&count("p2_bullets_fired"))
            // Both players' game time: 27.0 to 27.8 s each.
            && (54_000..=55_600).contains(&count("ticks"))
    });
    let games = games
        .expect("a game in which the first player fires 220 to 229 times, the second 190 to 199, and the first wins after 27.4 s");

    // Every tick of a game but the first has an interval, every tick has a run time, and both are reported in the end.
    let log = server.stop();
    let points = |title: &str| -> u64 {
        let sets = log.iter().filter(|line| line["title"] == title).map(|line| line["pointSet"].as_object().unwrap());
        sets.flat_map(|set| set.values()).map(|count| count.as_u64().unwrap()).sum()
    };
    let counted = |title: &str| -> u64 {
        log.iter().filter(|line| line["title"] == title).map(|line| line["count"].as_u64().unwrap()).sum()
    };
    let ticks = points("tickRuntime");
    assert_eq!(points("tickInterval"), ticks - games);
    assert_eq!(
        ["tickOnTime", "tickIntervalOverrun", "tickIntervalUnderrun"].map(counted).iter().sum::<u64>(),
        ticks - games
    );
    assert_eq!(counted("games-played"), games);
    assert!(log.iter().all(|line| line["level"] == 40), "{log:?}");
}

/// The totals of one game.
fn play(server: &ServerProcess) -> Value {
    let load = Command::new(env!("CARGO_BIN_EXE_target-server-load"))
        .args(["--port", &server.port.to_string(), "--games", "1", "--ping", "1000", "--json", "--server-log"])
        .arg(server.log_path())
        .output()
        .unwrap();
    assert!(load.status.success(), "{load:?}");
    serde_json::from_slice(&load.stdout).unwrap()
}

#[test]
fn comes_out_as_it_should() {
    one_game(&[]);
}

#[test]
fn comes_out_the_same_with_an_array_and_the_global_timer() {
    one_game(&["--bullets", "array", "--timer", "global"]);
}
