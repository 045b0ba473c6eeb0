//! What `go tool pprof` makes of a recording. Skipped where there is no go.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

#[expect(dead_code, reason = "only the small recording is needed here")]
mod synthetic;

use std::collections::HashMap;
use std::process::Command;

use tracer::profile::Profile;
use tracer::recording::pprof;

/// Runs `go tool pprof` on the recording; `None` without go.
fn go_tool_pprof(arguments: &[&str]) -> Option<String> {
    if Command::new("go").arg("version").output().is_err() {
        eprintln!("skipped: go is not installed");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pb.gz");
    let recording = synthetic::program::recording();
    let calibration = Profile::new(&recording).calibration;
    pprof::write(&recording, &calibration, std::fs::File::create(&path).unwrap()).unwrap();
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

#[test]
fn its_table_is_ours() {
    let Some(text) = go_tool_pprof(&["-top", "-unit=B", "-nodefraction=0", "-nodecount=100000"]) else { return };
    let recording = synthetic::program::recording();
    let profile = Profile::new(&recording);
    assert!(text.contains("Type: alloc_space"), "{text}");
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
    let exact = profile.exact().unwrap();
    assert!((flat_sum - exact.bytes as f64).abs() < 100.0, "{flat_sum} is not {}", exact.bytes);
    let slack = recording.stacks.len() as f64 + 1.0;
    let mut compared = 0;
    for (function, raw) in recording.functions.iter().zip(0..) {
        let row = profile.functions.iter().find(|row| row.name == profile.names.of_function(raw)).unwrap();
        // Templates and blanks are kept, since the mangled name differs from the shown one.
        let shown = function.name.split_whitespace().collect::<Vec<_>>().join(" ");
        let theirs = cumulative.get(&shown).unwrap_or_else(|| panic!("{shown} is not in\n{text}"));
        assert!((theirs - row.total.bytes.value).abs() <= slack, "{shown}: {theirs} is not {}", row.total.bytes.value);
        compared += 1;
    }
    assert!(compared > 20);
}

#[test]
fn it_shows_objects_labels_and_the_comment() {
    let Some(text) = go_tool_pprof(&["-raw"]) else { return };
    assert!(text.contains("Comment: tracer 0.1.0: allocations of game-server, process 4242"), "{text}");
    assert!(text.contains("PeriodType: space bytes") && text.contains("Period: 65536"), "{text}");
    assert!(text.contains("alloc_objects/count alloc_space/bytes[dflt]"), "{text}");
    assert!(text.contains("bytes:[50000000 bytes]") && text.contains("thread:[net-0]"), "{text}");
    assert!(text.contains("/usr/bin/game-server c0ffee [FN]"), "{text}");
}
