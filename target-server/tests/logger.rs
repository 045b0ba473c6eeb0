//! The form of log lines, as they come out of a file. Logging is begun once a process, hence one test.

use serde_json::{Value, json};
use target_server::game::{PlayerState, Side};
use target_server::logger::{LogLevel, Logger, start};

#[test]
fn lines_are_objects_and_those_of_a_game_repeat_how_it_began() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server.log");
    std::fs::write(&path, "{}\n").unwrap();
    let guard = start(LogLevel::Info, Some(&path)).unwrap();

    let (mut p1, p2) = (PlayerState::new(Side::One, 1), PlayerState::new(Side::Two, 2));
    let logger = Logger::root().child(&p1, &p2, 3);
    p1.ticks = 99;
    let p1_now = p1.ticks;
    logger.info_with(Box::new(json!({"b": [p1_now], "quote": "\""})), "bullets collided");
    Logger::root().warn(Box::new(json!({"title": "tickOnTime", "count": 4})), None);
    Logger::root().info_with(Box::new(json!({})), "empty");
    logger.info("bullet created");
    Logger::root().error("Played 100 games");
    drop(guard);

    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 6, "{text}");
    assert_eq!(lines[1]["level"], 30);
    assert_eq!(lines[1]["p1"]["ticks"], 0);
    assert_eq!(lines[1]["p2"]["x"], 1000);
    assert_eq!(lines[1]["id"], 3);
    assert_eq!(lines[1]["b"], json!([99]));
    assert_eq!(lines[1]["quote"], "\"");
    assert_eq!(lines[1]["msg"], "bullets collided");
    // A message without a record adds nothing to what the game began with, whose numbers are as wide then as now.
    let created = text.lines().nth(4).unwrap();
    let hostname = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let began = r#"{"level":30,"time":"#;
    let (time, rest) = created.strip_prefix(began).unwrap().split_once(',').unwrap();
    assert!(time.parse::<u64>().unwrap() > 1_600_000_000_000);
    let player = |x: i32, direction: i32, id: u32| {
        format!(
            r#"{{"lastFire":-1,"bulletsFired":0,"won":false,"x":{x},"direction":{direction},"id":{id},"ticks":0,"bullets":{{}}}}"#
        )
    };
    let (p1, p2) = (player(-1000, 1, 1), player(1000, -1, 2));
    let pid = std::process::id();
    assert_eq!(
        rest,
        format!(r#""pid":{pid},"hostname":"{hostname}","p1":{p1},"p2":{p2},"id":3,"msg":"bullet created"}}"#)
    );
    for line in [&lines[2], &lines[3], &lines[5]] {
        let rest = line.as_object().unwrap().iter();
        let rest = rest.filter(|(name, _)| !["time", "pid", "hostname"].contains(&name.as_str()));
        let rest = Value::Object(rest.map(|(name, value)| (name.clone(), value.clone())).collect());
        assert!(
            [
                json!({"level": 40, "title": "tickOnTime", "count": 4}),
                json!({"level": 30, "msg": "empty"}),
                json!({"level": 50, "msg": "Played 100 games"}),
            ]
            .contains(&rest),
            "{rest}"
        );
    }
}
