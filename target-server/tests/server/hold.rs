//! A thousand connections for a minute.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use super::process::ServerProcess;

#[test]
#[ignore = "takes a minute; `cargo xtask test hold` runs it"]
fn a_thousand_connections_are_held_for_a_minute() {
    let server = ServerProcess::start(&[]);
    let own = sockets(server.pid());
    let load = Command::new(env!("CARGO_BIN_EXE_target-server-load"))
        .args(["--port", &server.port.to_string(), "--parallel", "500", "--games", "1000000"])
        .args(["--duration", "60s", "--ping", "1000", "--json", "--server-log"])
        .arg(server.log_path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    sleep(Duration::from_secs(10));
    let held = sockets(server.pid()) - own;
    let load = load.wait_with_output().unwrap();
    let mut totals: Value = serde_json::from_slice(&load.stdout).unwrap();
    if let Some(server) = totals["server"].as_object_mut() {
        server.remove("histogram");
    }
    println!("{held} connections after 10 s; in the end:\n{totals:#}");

    assert!(load.status.success(), "{:?}", load.status);
    assert!(held >= 1000, "{held}");
    let count = |name: &str| totals[name].as_u64().unwrap();
    assert_eq!(count("games_failed"), 0);
    assert_eq!(totals["failures"], serde_json::json!({}));
    assert!(count("games_finished") >= 500);
    assert_eq!(totals["connect"]["count"].as_u64().unwrap(), 2 * count("games_started"));
    assert!(totals["ping"]["count"].as_u64().unwrap() > 0);

    let log = server.stop();
    let says = |line: &Value, text: &str| line["msg"].as_str().is_some_and(|msg| msg.contains(text));
    assert!(!log.iter().any(|line| says(line, "cannot accept")), "{log:?}");
    assert!(log.iter().any(|line| line["level"] == 50 && line["msg"] == "Played 100 games"));
}

/// Open sockets of a process.
fn sockets(pid: u32) -> usize {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    // A file that was closed meanwhile has no link to read.
    let links = files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}
