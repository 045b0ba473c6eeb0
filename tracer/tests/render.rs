//! `tracer render` as users run it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

#[expect(dead_code, reason = "only the small recording is needed here")]
mod synthetic;

use std::fs;
use std::os::unix::{
    fs::{MetadataExt as _, PermissionsExt as _},
    process::CommandExt as _,
};
use std::path::Path;

use assert_cmd::Command;
use tracer::estimate::Calibration;
use tracer::recording::pprof;

const NOBODY: u32 = 65534;

fn tracer(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command.current_dir(folder).env_remove("SUDO_UID").env_remove("SUDO_GID");
    command
}

/// A folder with the recordings `x.pb.gz`, and `live.pb.gz` which has releases.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, recording) in [("x", synthetic::program::recording()), ("live", synthetic::program::live())] {
        let file = fs::File::create(folder.path().join(format!("{name}.pb.gz"))).unwrap();
        pprof::write(&recording, &Calibration::new(&recording), file).unwrap();
    }
    folder
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_recording_becomes_every_format() {
    let folder = folder();
    let arguments = "render x.pb.gz -o a.svg -o a.folded -o a.json -o a.pb.gz".split(' ');
    let output = tracer(folder.path()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert!(read("a.svg").starts_with(b"<?xml") && read("a.json").starts_with(b"{"));
    assert_eq!(read("a.pb.gz"), read("x.pb.gz"));
    // `-` is the same as a .folded file, and nothing else is on stdout.
    let output = tracer(folder.path()).args(["render", "x.pb.gz", "-o", "-"]).output().unwrap();
    assert_eq!(output.stdout, read("a.folded"));
    assert_eq!(stderr(&output), "");
}

#[test]
fn views_of_a_live_recording() {
    let folder = folder();
    let render = |arguments: &str| {
        let output = tracer(folder.path()).args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", stderr(&output));
        output.stdout
    };
    let in_use = render("render live.pb.gz -o -");
    assert_eq!(in_use, render("render live.pb.gz --view in-use -o -"));
    let views = ["allocated", "peak", "temporary"].map(|view| render(&format!("render live.pb.gz --view {view} -o -")));
    assert!(views.iter().all(|view| *view != in_use && !view.is_empty()));
    let longer = render("render live.pb.gz --view temporary --temporary-within 1s -o -");
    assert!(longer.len() > views[2].len());
    render("render live.pb.gz --view peak --snapshot-every 3s -o a.json -o a.svg -o a.pb.gz");
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert_eq!(read("a.pb.gz"), read("live.pb.gz"));
    assert!(String::from_utf8(read("a.svg")).unwrap().contains("Bytes in use at the peak, after "));
    let json: serde_json::Value = serde_json::from_slice(&read("a.json")).unwrap();
    assert_eq!(json["view"], "peak");
    assert_eq!(
        json["live"]["snapshots"]["times_ns"],
        serde_json::json!([3e9 as u64, 6e9 as u64, 9e9 as u64, 1e10 as u64])
    );
}

#[test]
fn threads_and_processes_are_told_apart_on_request() {
    let folder = folder();
    let folded = |arguments: &[&str]| {
        let output = tracer(folder.path()).args(["render", "x.pb.gz", "-o", "-"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let sum =
        |text: &str| text.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum::<u64>();
    let whole = folded(&[]);
    for (by, first) in [("process", "[game-server 4242];"), ("thread", "[net-1 4244];")] {
        let split = folded(&["--split", by]);
        assert!(split.lines().any(|line| line.starts_with(first)), "{split}");
        assert!(split.lines().all(|line| line.starts_with('[')), "{split}");
        assert_eq!(sum(&split), sum(&whole));
    }
}

#[test]
fn mistakes_are_named_with_what_to_do() {
    let folder = folder();
    fs::write(folder.path().join("there.svg"), "mine").unwrap();
    fs::write(folder.path().join("text.pb.gz"), "hello").unwrap();
    for (arguments, code, message) in [
        ("", 2, "Usage: tracer"),
        ("render x.pb.gz", 2, "--output <FILE>"),
        ("rendr x.pb.gz", 2, "'render'"),
        ("render x.pb.gz -o - --split function", 2, "[possible values: process, thread]"),
        ("render x.pb.gz -o x.png", 2, "outputs end in .svg, .pb.gz, .folded or .json"),
        ("render x.pb.gz -o there.svg", 1, "there.svg: it exists; --force replaces it"),
        ("render x.pb.gz -o no/x.svg", 1, "there is no folder no; create it first"),
        ("render missing.pb.gz -o y.svg", 1, "cannot read the recording missing.pb.gz: No such file"),
        ("render x.pb.gz -o y.svg --view in-use", 1, "releases were not followed in this recording"),
        ("render x.pb.gz -o y.svg --view leaks", 2, "[possible values: allocated, in-use, peak, temporary]"),
        ("render live.pb.gz -o y.svg --snapshot-every 5", 2, "a time is a number and a unit"),
        ("record --pid 1 --view peak -o y.svg", 2, "add --live"),
        ("render text.pb.gz -o y.svg", 1, "cannot read the recording text.pb.gz: it is not a recording"),
    ] {
        let output = tracer(folder.path()).args(arguments.split_whitespace()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {}", stderr(&output));
        assert!(stderr(&output).contains(message), "{arguments}: {}", stderr(&output));
    }
    let left: usize = fs::read_dir(&folder).unwrap().count();
    assert_eq!(left, 4, "an output that failed left a file behind");
    assert_eq!(fs::read(folder.path().join("there.svg")).unwrap(), b"mine");
    tracer(folder.path()).args("render x.pb.gz -o there.svg --force".split(' ')).assert().success();
}

#[test]
fn regions_are_shown_or_refused_with_the_rule() {
    let folder = folder();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("regions.toml", "[[region]]\nname = \"net\"\nfunction = '^game::net::'\n");
    write("bad.toml", "[[region]]\nname = \"net\"\nfunction = '('\n");
    let arguments = "render x.pb.gz --region ai=^game::ai:: --regions regions.toml --regions builtin:serde";
    let output =
        tracer(folder.path()).args(arguments.split(' ')).args(["-o", "a.svg", "-o", "a.json"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let json = fs::read_to_string(folder.path().join("a.json")).unwrap();
    let svg = fs::read_to_string(folder.path().join("a.svg")).unwrap();
    for region in ["ai", "net", "serde", "other"] {
        assert!(json.contains(&format!("{{\"region\":\"{region}\",\"samples\":")), "{region}");
        assert!(svg.contains(&format!(">{region}: ")), "{region}");
    }
    for (arguments, code, message) in [
        ("--region ai", 2, "--region ai: a region is NAME=PATTERN"),
        ("--regions bad.toml", 1, "bad.toml, line 3: region `net`: function pattern `(` is no regular expression"),
        ("--regions none.toml", 1, "cannot read the rules none.toml: No such file"),
        (
            "--regions builtin:x",
            2,
            "--regions builtin:x: there is no set `x` of rules; there are collections, libstdc++",
        ),
    ] {
        let arguments = format!("render x.pb.gz -o b.svg {arguments}");
        let output = tracer(folder.path()).args(arguments.split(' ')).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {}", stderr(&output));
        assert!(stderr(&output).contains(message), "{arguments}: {}", stderr(&output));
    }
}

/// A recording that root made is for everybody to look at.
#[test]
fn any_user_can_render() {
    let folder = folder();
    let copy = folder.path().join("tracer");
    fs::copy(env!("CARGO_BIN_EXE_tracer"), &copy).unwrap();
    for (path, mode) in [(folder.path(), 0o777), (&copy, 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut command = std::process::Command::new(&copy);
    command.current_dir(&folder).args("render x.pb.gz -o a.svg -o a.folded -o -".split(' '));
    if fs::metadata(&folder).unwrap().uid() == 0 {
        command.uid(NOBODY).gid(NOBODY);
    } else {
        eprintln!("not as another user: only root can become one");
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let mut whole = tracer(folder.path());
    let whole = whole.args(["render", "x.pb.gz", "-o", "-"]).output().unwrap();
    assert!(!whole.stdout.is_empty());
    assert_eq!(output.stdout, whole.stdout);
    assert_eq!(fs::read(folder.path().join("a.folded")).unwrap(), whole.stdout);
    assert!(fs::read(folder.path().join("a.svg")).unwrap().starts_with(b"<?xml"));
}

#[test]
fn with_sudo_files_belong_to_the_caller() {
    let folder = folder();
    if fs::metadata(&folder).unwrap().uid() != 0 {
        eprintln!("skipped: only root can give files away");
        return;
    }
    let mut command = tracer(folder.path());
    command.env("SUDO_UID", "1234").env("SUDO_GID", "1235").args(["render", "x.pb.gz", "-o", "y.svg"]);
    command.assert().success();
    let metadata = fs::metadata(folder.path().join("y.svg")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (1234, 1235));
}
