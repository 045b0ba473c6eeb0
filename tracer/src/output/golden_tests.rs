//! What each format looks like, whole. `TRACER_BLESS=1 cargo test -p tracer golden` writes the expected files anew.

use std::path::Path;

use super::*;
use crate::profile::{Options, View};
use crate::synthetic::program;

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
fn golden_views() {
    let recording = program::live();
    for view in View::ALL {
        let options = Options { view: Some(view), ..Options::default() };
        let profile = Profile::with_options(&recording, &options).unwrap();
        let mut folded = Vec::new();
        folded::write(&profile, &mut folded).unwrap();
        let name = if view == View::InUse { "live.folded".to_owned() } else { format!("live-{view}.folded") };
        compare(&name, &folded);
    }
}
