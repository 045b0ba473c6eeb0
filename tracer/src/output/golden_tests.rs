//! What each format looks like, whole. `TRACER_BLESS=1 cargo test -p tracer golden` writes the expected files anew.

use std::path::Path;

use super::*;
use crate::{
    profile::{Options, Split, View},
    synthetic::program,
};

fn compare(name: &str, actual: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("TRACER_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, actual).unwrap();
        return;
    }
    let expected = std::fs::read(&path).unwrap_or_default();
    if expected != actual {
        let actual = String::from_utf8_lossy(actual);
        let expected = String::from_utf8_lossy(&expected);
        let line = expected.lines().zip(actual.lines()).position(|(e, a)| e != a);
        let line = line.unwrap_or(expected.lines().count().min(actual.lines().count()));
        panic!(
            "{} differs in line {}:\n- {}\n+ {}\nIf that is right, run with TRACER_BLESS=1.",
            path.display(),
            line + 1,
            expected.lines().nth(line).unwrap_or("(end)"),
            actual.lines().nth(line).unwrap_or("(end)")
        );
    }
}

fn all_formats(name: &str, recording: &Recording) {
    let profile = Profile::new(recording);
    let mut svg = Vec::new();
    svg::write(recording, &profile, svg::Options { script: false }, &mut svg).unwrap();
    compare(&format!("{name}.svg"), &svg);
    for format in [Format::Folded, Format::Json] {
        let mut out = Vec::new();
        format.write(recording, &profile, &mut out).unwrap();
        compare(&format!("{name}{}", format.ending()), &out);
    }
    let files = ["game.svg", "game.pb.gz"].map(|name| Destination::parse(Path::new(name)).unwrap());
    let mut summary = Vec::new();
    text::write(recording, &profile, &files, &mut summary).unwrap();
    compare(&format!("{name}.txt"), &summary);
}

#[test]
fn golden_files() {
    all_formats("program", &program::recording());
    all_formats("live", &program::live());
}

#[test]
fn golden_files_of_windows() {
    all_formats("windows", &program::in_windows(1));
}

#[test]
fn golden_files_of_lower_bounds() {
    all_formats("bounds", &program::in_windows(4));
}

#[test]
fn golden_views() {
    let recording = program::live();
    for view in View::ALL {
        let options = Options { view: Some(view), ..Options::default() };
        let profile = Profile::with_options(&recording, &options);
        let mut folded = Vec::new();
        folded::write(&profile, &mut folded).unwrap();
        let name = if view == View::InUse { "live.folded".to_owned() } else { format!("live-{view}.folded") };
        compare(&name, &folded);
    }
}

#[test]
fn golden_files_by_thread() {
    let recording = program::recording();
    let profile = Profile::with_options(&recording, &Options { split: Some(Split::Thread), ..Options::default() });
    let mut folded = Vec::new();
    folded::write(&profile, &mut folded).unwrap();
    compare("by-thread.folded", &folded);
    let mut summary = Vec::new();
    text::write(&recording, &profile, &[], &mut summary).unwrap();
    compare("by-thread.txt", &summary);
    // JSON and picture say the same.
    let mut json = Vec::new();
    json::write(&recording, &profile, &mut json).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["split"], "thread");
    let parts: Vec<&str> =
        json["parts"].as_array().unwrap().iter().map(|part| part["part"].as_str().unwrap()).collect();
    assert_eq!(parts, ["[game-server 4242]", "[net-1 4244]", "[net-0 4243]"]);
    let nodes = json["tree"].as_array().unwrap().iter().filter(|node| node["kind"] == "part");
    let names: Vec<_> =
        nodes.map(|node| (&node["parent"], &json["names"][node["name"].as_u64().unwrap() as usize])).collect();
    assert_eq!(names.len(), 3);
    assert!(names.iter().all(|(parent, name)| **parent == 0 && parts.contains(&name.as_str().unwrap())), "{names:?}");
    let mut picture = Vec::new();
    svg::write(&recording, &profile, svg::Options::default(), &mut picture).unwrap();
    let picture = String::from_utf8(picture).unwrap();
    assert!(parts.iter().all(|part| picture.contains(&format!("<title>{part} ("))));
    // The recording is not changed by it.
    let (mut split, mut whole) = (Vec::new(), Vec::new());
    Format::Pprof.write(&recording, &profile, &mut split).unwrap();
    Format::Pprof.write(&recording, &Profile::new(&recording), &mut whole).unwrap();
    assert_eq!(split, whole);
}

#[test]
fn golden_files_of_a_report() {
    let recording = program::recording();
    let mut rules = crate::profile::Rules::default();
    rules.add_option("net=^game::net::").unwrap();
    let profile = Profile::with_options(&recording, &Options { rules, ..Options::default() });
    let timeline = crate::profile::timeline::Timeline::new(&recording, profile.regions.as_ref());
    let report = report::Report { recording: &recording, profile: &profile, timeline: &timeline };
    let mut out = Vec::new();
    report.write_text(&mut out).unwrap();
    compare("report.txt", &out);
    let mut out = Vec::new();
    report.write_json(&mut out).unwrap();
    compare("report.json", &out);
}

/// Every field is in docs/json.md.
#[test]
fn documents_are_documented() {
    const DOCUMENTATION: &str = include_str!("../../../docs/json.md");
    fn fields(value: &serde_json::Value, found: &mut std::collections::BTreeSet<String>) {
        match value {
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    found.insert(key.clone());
                    // Documented by its type.
                    if key != "about" {
                        fields(value, found);
                    }
                }
            }
            serde_json::Value::Array(values) => values.iter().for_each(|value| fields(value, found)),
            _ => {}
        }
    }
    let mut found = std::collections::BTreeSet::new();
    for name in ["program.json", "live.json", "bounds.json", "windows.json", "report.json", "difference.json"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        fields(&serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap(), &mut found);
    }
    assert!(found.len() > 30, "{found:?}");
    for field in found.iter().filter(|field| !["value", "low", "high", "calls"].contains(&field.as_str())) {
        assert!(DOCUMENTATION.contains(&format!("`{field}`")), "{field}");
    }
}

/// The small program, and the same without its parser and with busier players.
#[test]
fn golden_files_of_a_difference() {
    use crate::output::difference::{Compared, Per};
    use crate::profile::difference::{Chance, Difference, Scale, Side};
    let (before, mut after) = (program::recording(), program::recording());
    let parser = after.functions.iter().position(|function| function.name == "game::chat::Message::parse").unwrap();
    let parses = |stack: &crate::recording::Stack| {
        let lines = stack.frames.iter().flat_map(|&frame| &after.locations[frame as usize].lines);
        lines.into_iter().any(|line| line.function as usize == parser)
    };
    let parsing: Vec<bool> = after.stacks.iter().map(parses).collect();
    after.samples.retain(|sample| !parsing[sample.stack as usize]);
    after.about.counters.clear();
    after.about.duration_ns /= 2;
    after.samples.iter_mut().for_each(|sample| sample.time_ns /= 2);
    let mut rules = crate::profile::Rules::default();
    rules.add_option("net=^game::net::").unwrap();
    let side = |recording, seconds| Side { recording, scale: Scale::Per(seconds) };
    let difference = Difference::new(side(&before, 10.0), side(&after, 5.0), &rules, Chance::Time);
    let compared = Compared {
        names: ["before.pb.gz", "after.pb.gz"],
        recordings: [&before, &after],
        difference: &difference,
        per: Per::Second,
        chance: Chance::Time,
    };
    let mut out = Vec::new();
    compared.write_text(&mut out).unwrap();
    compare("difference.txt", &out);
    let mut out = Vec::new();
    svg::write_difference(&compared, svg::Options { script: false }, &mut out).unwrap();
    compare("difference.svg", &out);
    let mut out = Vec::new();
    compared.write(Format::Folded, &mut out).unwrap();
    compare("difference.folded", &out);
    let mut out = Vec::new();
    compared.write(Format::Json, &mut out).unwrap();
    compare("difference.json", &out);

    let side = |recording| Side { recording, scale: Scale::Share };
    let difference = Difference::new(side(&before), side(&after), &rules, Chance::Time);
    let compared = Compared { difference: &difference, per: Per::All, ..compared };
    for (name, format) in [("shares.folded", Format::Folded), ("shares.json", Format::Json)] {
        let mut out = Vec::new();
        compared.write(format, &mut out).unwrap();
        compare(name, &out);
    }
    let mut out = Vec::new();
    compared.write_text(&mut out).unwrap();
    compare("shares.txt", &out);
}

#[test]
fn golden_files_of_regions() {
    let recording = program::recording();
    let mut rules = crate::profile::Rules::default();
    for rule in ["ai=^game::ai::", "world <1>=^game::World::", "net=^game::net::", "vendor=module:libvendor"] {
        rules.add_option(rule).unwrap();
    }
    let profile = Profile::with_options(&recording, &Options { rules: rules.clone(), ..Default::default() });
    let mut svg = Vec::new();
    svg::write(&recording, &profile, svg::Options { script: false }, &mut svg).unwrap();
    compare("regions.svg", &svg);
    let mut summary = Vec::new();
    text::write(&recording, &profile, &[], &mut summary).unwrap();
    compare("regions.txt", &summary);
    let mut json = Vec::new();
    json::write(&recording, &profile, &mut json).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&json).unwrap();
    compare("regions.json", serde_json::to_string_pretty(&document["regions"]).unwrap().as_bytes());
}
