//! What `go tool pprof` makes of a recording. Skipped where there is no go.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

#[expect(dead_code, reason = "only the small recording is needed here")]
mod synthetic;

use std::collections::HashMap;
use std::process::Command;

use tracer::estimate::Calibration;
use tracer::profile::{Options, Profile, View};
use tracer::recording::{Recording, pprof};

/// Runs `go tool pprof` on a recording; `None` without go.
fn go_tool_pprof(recording: &Recording, arguments: &[&str]) -> Option<String> {
    if Command::new("go").arg("version").output().is_err() {
        eprintln!("skipped: go is not installed");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pb.gz");
    pprof::write(recording, &Calibration::new(recording), std::fs::File::create(&path).unwrap()).unwrap();
    let output = Command::new("go")
        .args(["tool", "pprof"])
        .args(arguments)
        .arg(&path)
        .current_dir(&folder)
        .env("HOME", folder.path())
        .env("GOPROXY", "off")
        .env("GOFLAGS", "-mod=mod")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Compares the table of a value with the functions of a view.
fn compare(recording: &Recording, view: View, value: &str, arguments: &[&str]) {
    let all = ["-top", "-unit=B", "-nodefraction=0", "-nodecount=100000"];
    let Some(text) = go_tool_pprof(recording, &[&all, arguments].concat()) else { return };
    let options = Options { view: Some(view), ..Options::default() };
    let profile = Profile::with_options(recording, &options);
    assert!(text.contains(&format!("Type: {value}")), "{text}");
    // Lines such as `50000000B 52.4% 52.4%  50000000B 52.4%  malloc (inline)`: flat, flat %, sum %, cum, cum %, name.
    let mut cumulative = HashMap::new();
    let mut flat_sum = 0.0;
    for line in text.lines().skip_while(|line| !line.contains("flat%")).skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let bytes = |field: &str| field.trim_end_matches('B').parse::<f64>().unwrap();
        flat_sum += bytes(fields[0]);
        let name = fields[5..].join(" ");
        *cumulative.entry(name.trim_end_matches(" (inline)").to_owned()).or_insert(0.0) += bytes(fields[3]);
    }
    let slack = recording.stacks.len() as f64 + 1.0;
    let total = profile.total().bytes.value;
    assert!((flat_sum - total).abs() <= slack, "{flat_sum} is not {total}");
    let mut compared = 0;
    for (function, raw) in recording.functions.iter().zip(0..) {
        let row = profile.functions.iter().find(|row| row.name == profile.names.of_function(raw));
        let ours = row.map_or(0.0, |row| row.total.bytes.value);
        // Templates and blanks are kept, since the mangled name differs from the shown one.
        let shown = function.name.split_whitespace().collect::<Vec<_>>().join(" ");
        let theirs = cumulative.get(&shown).copied().unwrap_or_default();
        assert!((theirs - ours).abs() <= slack, "{shown}: {theirs} is not {ours} in\n{text}");
        compared += usize::from(ours > 0.0);
    }
    assert!(compared > 10, "{compared}");
}

#[test]
fn its_table_is_ours() {
    compare(&synthetic::program::recording(), View::Allocated, "alloc_space", &[]);
}

/// What is drawn are estimates of everything from what windows saw; both tools must make the same of it.
#[test]
fn of_windows_too() {
    compare(&synthetic::program::in_windows(1), View::Allocated, "alloc_space", &[]);
}

#[test]
fn a_live_recording_has_both_tables() {
    let recording = synthetic::program::live();
    compare(&recording, View::InUse, "inuse_space", &[]);
    compare(&recording, View::InUse, "inuse_space", &["-sample_index=inuse_space"]);
    compare(&recording, View::Allocated, "alloc_space", &["-sample_index=alloc_space"]);
    let Some(text) = go_tool_pprof(&recording, &["-raw"]) else { return };
    let types = "alloc_objects/count alloc_space/bytes inuse_objects/count inuse_space/bytes[dflt]";
    assert!(text.contains(types), "{text}");
}

#[test]
fn it_shows_objects_labels_and_the_comment() {
    let Some(text) = go_tool_pprof(&synthetic::program::recording(), &["-raw"]) else { return };
    assert!(text.contains("Comment: tracer 0.1.0: allocations of game-server, process 4242"), "{text}");
    assert!(text.contains("PeriodType: space bytes") && text.contains("Period: 65536"), "{text}");
    assert!(text.contains("alloc_objects/count alloc_space/bytes[dflt]"), "{text}");
    assert!(text.contains("bytes:[50000000 bytes]") && text.contains("thread:[net-0]"), "{text}");
    assert!(text.contains("/usr/bin/game-server c0ffee [FN]"), "{text}");
}
