//! `tracer diff` and `tracer report` as users run them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

#[expect(dead_code, reason = "only simulated recordings are needed here")]
mod synthetic;

use std::fs;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use synthetic::Random;
use synthetic::simulation::{self, Site};
use tracer::estimate::Calibration;
use tracer::recording::about::{CpuTime, Source};
use tracer::recording::{Recording, pprof};

const SITES: [Site; 3] = [
    Site { stack: "main > net::read > malloc", size: 512, rate: 4000.0 },
    Site { stack: "main > game::tick > malloc", size: 96, rate: 9000.0 },
    Site { stack: "main > log::write > malloc", size: 64, rate: 2000.0 },
];

fn diff(folder: &Path, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command.current_dir(folder).env_remove("SUDO_UID").env_remove("SUDO_GID");
    command.arg("diff").args(arguments.split_whitespace()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn write(folder: &Path, name: &str, recording: &Recording) {
    let file = fs::File::create(folder.join(name)).unwrap();
    pprof::write(recording, &Calibration::new(recording), file).unwrap();
}

/// A folder with `a.pb.gz`, `again.pb.gz` of the same program, and `more.pb.gz` of one that reads twice as much.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new(42);
    let mut more = SITES;
    more[0].rate *= 2.0;
    for (name, sites) in [("a.pb.gz", &SITES), ("again.pb.gz", &SITES), ("more.pb.gz", &more)] {
        write(folder.path(), name, &simulation::record(sites, 10, 16 << 10, &mut random, |_| 1.0).recording);
    }
    folder
}

#[test]
fn only_what_changed_is_reported() {
    let folder = folder();
    let run = |arguments: &str| {
        let output = diff(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "");
        text(&output.stdout)
    };
    let same = run("a.pb.gz again.pb.gz --region net=^net::");
    assert!(!same.contains("  more  ") && !same.contains("  less  "), "{same}");
    let more = run("a.pb.gz more.pb.gz --region net=^net::");
    let line = |end: &str| more.lines().find(|line| line.ends_with(end)).unwrap();
    for end in ["  more  all", "  more  net", "  more  net::read"] {
        line(end);
    }
    for end in ["  =     other", "  =     game::tick", "  =     log::write"] {
        line(end);
    }
    let less = run("more.pb.gz a.pb.gz");
    assert!(less.contains("  less  all") && less.contains("  less  net::read"), "{less}");
    // Twice the work explains twice the bytes of one function, but then the others are less.
    let unit = run("a.pb.gz more.pb.gz --per-before 1000 --per-after 2000");
    assert!(unit.contains("per unit of work (1000 before, 2000 after)"), "{unit}");
    assert!(unit.contains("  =     net::read") && unit.contains("  less  game::tick"), "{unit}");
}

#[test]
fn growth_can_fail_a_build() {
    let folder = folder();
    let code = |arguments: &str| {
        let output = diff(folder.path(), arguments);
        (output.status.code(), text(&output.stderr))
    };
    assert_eq!(code("a.pb.gz again.pb.gz --fail-on-increase 0%").0, Some(0));
    assert_eq!(code("more.pb.gz a.pb.gz --fail-on-increase 0%").0, Some(0));
    assert_eq!(code("a.pb.gz more.pb.gz --fail-on-increase 300%").0, Some(0));
    let (status, message) = code("a.pb.gz more.pb.gz --region net=^net:: --region log=^log:: --fail-on-increase 10%");
    assert_eq!(status, Some(4));
    assert!(
        message.contains("tracer: the total grew by +") && message.contains("tracer: region net grew by +"),
        "{message}"
    );
    assert!(!message.contains("region log") && message.contains(", more than 10.0 %"), "{message}");
}

/// Recordings of CPU time, one of a program that computes three times as long in one place.
#[test]
fn cpu_time_is_compared_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new(9);
    for (name, rate) in [("before.pb.gz", 60.0), ("after.pb.gz", 20.0)] {
        let site = |stack, rate| Site { stack, size: 10_000_000, rate };
        let sites = [site("main > game::tick > game::move", rate), site("main > net::read > entry_[k]", 15.0)];
        let mut recording = simulation::record(&sites, 10, 1, &mut random, |_| 1.0).recording;
        recording.samples.iter_mut().for_each(|tick| tick.interval = tick.size);
        let accounted = recording.samples.iter().map(|tick| tick.size).sum();
        recording.about.cpu = Some(CpuTime { period_ns: 10_000_000, accounted_ns: Some(accounted) });
        (recording.about.source, recording.about.counters) = (Source::Cpu, Vec::new());
        write(folder.path(), name, &recording);
    }
    let output = diff(folder.path(), "before.pb.gz after.pb.gz -o d.svg -o d.json --region game=^game::");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(
        shown.contains("\nCPU time  per second;") && shown.contains("\nCPU time by site: nearest function"),
        "{shown}"
    );
    let line = |end: &str| shown.lines().find(|line| line.ends_with(end)).unwrap_or_else(|| panic!("{end}: {shown}"));
    assert!(line("  less  game::move").contains(" ms"), "{shown}");
    line("  less  game");
    line("  =     net::read");
    let svg = fs::read_to_string(folder.path().join("d.svg")).unwrap();
    assert!(svg.contains("Change of CPU time per second: simulated (pid 7) to simulated (pid 7)"));
    let json: serde_json::Value = serde_json::from_slice(&fs::read(folder.path().join("d.json")).unwrap()).unwrap();
    assert_eq!((&json["source"], &json["total"]["verdict"]), (&"cpu".into(), &"decrease".into()));
    // Nanoseconds a second.
    assert!((json["sites"][0]["difference"]["value"].as_f64().unwrap() + 4e8).abs() < 2e8, "{}", json["sites"][0]);
    let output = diff(folder.path(), "after.pb.gz before.pb.gz --fail-on-increase 20%");
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains(" ms/s ("), "{}", text(&output.stderr));
}

#[test]
fn every_format_is_written() {
    let folder = folder();
    let output = diff(folder.path(), "a.pb.gz more.pb.gz -o d.svg -o d.folded -o d.json --json");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert_eq!(output.stdout, read("d.json"));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["format"], &json["version"]), (&"tracer-difference".into(), &1.into()));
    assert_eq!(json["total"]["verdict"], "increase");
    let sites = json["sites"].as_array().unwrap();
    assert_eq!((&sites[0]["name"], &sites[0]["verdict"]), (&"net::read".into(), &"increase".into()));
    for site in sites {
        let of = |key: &str, end: &str| site[key][end].as_f64().unwrap();
        for key in ["before", "after", "difference"] {
            assert!(of(key, "low") <= of(key, "value") && of(key, "value") <= of(key, "high"));
        }
        assert!((of("after", "value") - of("before", "value") - of("difference", "value")).abs() < 0.01);
    }
    let svg = text(&read("d.svg"));
    assert!(svg.starts_with("<?xml") && svg.contains("<title>net::read (before "), "{}", &svg[..200]);
    let folded = text(&read("d.folded"));
    assert!(folded.lines().any(|line| line.starts_with("main;net::read;malloc ")), "{folded}");
    let output = diff(folder.path(), "a.pb.gz more.pb.gz -o -");
    assert_eq!(text(&output.stdout), folded);
    assert!(text(&output.stderr).contains("Allocation sites"));
}

#[test]
fn a_report_is_text_or_json() {
    let folder = folder();
    let report = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
        command.current_dir(&folder).args(arguments.split_whitespace()).output().unwrap()
    };
    let output = report("report more.pb.gz --region net=^net::");
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    let shown = text(&output.stdout);
    for part in
        ["Bytes per second over time", "  all\n", "  net\n", "Sizes (exact)", "512 B to 1 KiB", "Allocation sites"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let output = report("report more.pb.gz --region net=^net:: --json");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["format"], "tracer-report");
    let course = |i: usize| json["over_time"][i]["bytes_per_second"].as_array().unwrap().clone();
    assert_eq!((course(0).len(), course(1).len()), (60, 60));
    // The mean of the course is the rate of the table.
    let mean = course(1).iter().map(|rate| rate["value"].as_f64().unwrap()).sum::<f64>() / 60.0;
    let rate = json["regions"][0]["bytes_per_second"]["value"].as_f64().unwrap();
    assert!((mean / rate - 1.0).abs() < 1e-6, "{mean} {rate}");
    let output = report("report none.pb.gz");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot read the recording none.pb.gz: No such file"));
}

#[test]
fn mistakes_are_named_with_what_to_do() {
    let folder = folder();
    let mut recording = simulation::record(&SITES, 1, 16 << 10, &mut Random::new(1), |_| 1.0).recording;
    recording.about.source = Source::Cpu;
    write(folder.path(), "cpu.pb.gz", &recording);
    recording.about.source = Source::Allocations;
    recording.about.process.executable = "/usr/bin/another".into();
    write(folder.path(), "another.pb.gz", &recording);
    recording.samples.clear();
    write(folder.path(), "empty.pb.gz", &recording);
    fs::write(folder.path().join("text.pb.gz"), "hello").unwrap();
    for (arguments, code, message) in [
        ("a.pb.gz", 2, "<AFTER>"),
        ("a.pb.gz more.pb.gz -o x.pb.gz", 2, "a difference is no recording; name a .svg, .json or .folded file"),
        ("a.pb.gz more.pb.gz --per 0", 2, "larger than 0"),
        ("a.pb.gz more.pb.gz --per-before 3", 2, "--per-after"),
        ("a.pb.gz more.pb.gz --per 3 --per-after 3", 2, "cannot be used with"),
        ("a.pb.gz more.pb.gz --fail-on-increase lots", 2, "such as 10%"),
        ("a.pb.gz more.pb.gz --json -o -", 2, "both write to stdout"),
        ("a.pb.gz text.pb.gz", 1, "cannot read the recording text.pb.gz: it is not a recording"),
        ("a.pb.gz cpu.pb.gz", 1, "a.pb.gz has samples of allocations, cpu.pb.gz of CPU time"),
        ("a.pb.gz empty.pb.gz", 1, "empty.pb.gz has no samples: there is nothing to compare; record longer"),
        (
            "a.pb.gz another.pb.gz",
            0,
            "note: these are recordings of different programs: /usr/bin/simulated and /usr/bin/another",
        ),
        ("a.pb.gz a.pb.gz", 0, "note: both are the same recording"),
    ] {
        let output = diff(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(message), "{arguments}: {}", text(&output.stderr));
    }
}
