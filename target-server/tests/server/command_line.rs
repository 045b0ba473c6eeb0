//! Errors say what to do.

use std::process::{Command, Output};

use serde_json::Value;

use super::process::ServerProcess;

fn stderr_of(program: &str, options: &[&str]) -> String {
    let output = Command::new(program).args(options).output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_port_in_use_is_named() {
    let server = ServerProcess::start(&[]);
    let port = server.port.to_string();
    let stderr = stderr_of(env!("CARGO_BIN_EXE_target-server"), &["--port", &port]);
    assert!(stderr.contains(&port) && stderr.contains("--port"), "{stderr}");
}

#[test]
fn a_log_that_cannot_be_written_is_named() {
    let stderr = stderr_of(env!("CARGO_BIN_EXE_target-server"), &["--port", "0", "--logPath", "/nowhere/server.log"]);
    assert!(stderr.contains("/nowhere/server.log"), "{stderr}");
}

#[test]
fn a_load_client_without_server_says_where_it_looked() {
    // A port that was free a moment ago and is closed now.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let stderr = stderr_of(env!("CARGO_BIN_EXE_target-server-load"), &["--port", &port.to_string()]);
    assert!(stderr.contains(&format!("127.0.0.1:{port}")), "{stderr}");
}

/// Runs the load client under a limit that a shell sets, in the options of its `ulimit`.
fn load_with_limit(limit: &str, options: &[&str]) -> Output {
    let load = format!(r#"ulimit {limit} && exec "$0" "$@""#);
    let load = ["-c", &load, env!("CARGO_BIN_EXE_target-server-load")];
    Command::new("sh").args(load).args(options).output().unwrap()
}

#[test]
fn a_hard_limit_of_files_that_is_too_low_says_what_to_type() {
    let output = load_with_limit("-n 64", &["-q", "100"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("only 64 are allowed") && stderr.contains("`ulimit -n 264`"), "{stderr}");
}

/// A hundred games at once are 200 connections.
#[test]
fn a_soft_limit_of_files_is_raised() {
    let server = ServerProcess::start(&["--bulletSpeed", "5000"]);
    let output = load_with_limit("-Sn 64", &["-p", &server.port.to_string(), "-q", "100", "-g", "100", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let totals: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&totals["games_finished"], &totals["games_failed"]), (&100.into(), &0.into()), "{totals}");
}

#[test]
fn a_load_that_needs_too_many_files_says_what_to_type() {
    let stderr = stderr_of(env!("CARGO_BIN_EXE_target-server-load"), &["--parallel", "1000000"]);
    assert!(stderr.contains("ulimit -n 2000064") || stderr.contains("is there a target-server"), "{stderr}");
}
