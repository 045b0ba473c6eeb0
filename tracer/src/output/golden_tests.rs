//! What each format looks like, whole. `TRACER_BLESS=1 cargo test -p tracer golden` writes the expected files anew.

use std::path::Path;

use super::*;
use crate::{
    profile::{Options, Split},
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

#[test]
fn golden_files() {
    let recording = program::recording();
    let profile = Profile::new(&recording);
    let mut svg = Vec::new();
    svg::write(&recording, &profile, svg::Options { script: false }, &mut svg).unwrap();
    compare("program.svg", &svg);
    for format in [Format::Folded, Format::Json] {
        let mut out = Vec::new();
        format.write(&recording, &profile, &mut out).unwrap();
        compare(&format!("program{}", format.ending()), &out);
    }
    let files = ["game.svg", "game.pb.gz"].map(|name| Destination::parse(Path::new(name)).unwrap());
    let mut summary = Vec::new();
    text::write(&recording, &profile, &files, &mut summary).unwrap();
    compare("program.txt", &summary);
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
