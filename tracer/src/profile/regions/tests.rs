use super::*;
use crate::profile::{Options, Profile, Split};
use crate::recording::Sample;
use crate::synthetic::simulation::{self, Site};
use crate::synthetic::{Builder, Random, program, random};

fn rules(options: &[&str], file: &str) -> Rules {
    let mut rules = Rules::default();
    for option in options {
        rules.add_option(option).unwrap();
    }
    rules.add_file("regions.toml", file).unwrap();
    rules
}

/// The region of each stack that is written as text.
fn divided(stacks: &[&str], rules: &Rules) -> Vec<String> {
    let mut builder = Builder::default();
    for text in stacks {
        let stack = builder.stack(text);
        builder.recording.samples.push(Sample { stack, size: 1, ..Sample::default() });
    }
    let mut recording = builder.recording;
    recording.modules = ["/usr/bin/game", "/usr/lib/libc.so.6"]
        .map(|path| crate::recording::Module { path: path.into(), ..Default::default() })
        .into();
    let profile = Profile::with_options(&recording, &Options { rules: rules.clone(), ..Default::default() });
    let regions = profile.regions.unwrap();
    regions.of_stack.iter().map(|&region| regions.name(region).to_owned()).collect()
}

const NESTED: &[&str] =
    &["main > a::one > b::two > malloc", "main > b::two > a::one > malloc", "main > c::three > malloc"];

#[test]
fn the_nearest_frame_decides_from_either_end() {
    let both = "[[region]]\nname = \"a\"\nfunction = \"^a::\"\nfrom = \"END\"\n\
                [[region]]\nname = \"b\"\nfunction = \"^b::\"\nfrom = \"END\"";
    assert_eq!(divided(NESTED, &rules(&[], &both.replace("END", "leaf"))), ["b", "a", "other"]);
    assert_eq!(divided(NESTED, &rules(&[], &both.replace("END", "root"))), ["a", "b", "other"]);
    // A step of its own has the first word, wherever its frame is.
    let first_b = both.replacen("END", "leaf", 1).replace("END", "root");
    assert_eq!(divided(NESTED, &rules(&["c=^c::"], &first_b)), ["a", "a", "c"]);
    assert_eq!(divided(NESTED, &rules(&["m=^main$"], &both.replace("END", "leaf"))), ["m", "m", "m"]);
}

#[test]
fn at_one_frame_the_first_rule_decides() {
    assert_eq!(divided(NESTED, &rules(&["first=::one$", "second=^a::"], "")), ["first", "first", "other"]);
    assert_eq!(divided(NESTED, &rules(&["second=^a::", "first=::one$"], "")), ["second", "second", "other"]);
}

#[test]
fn all_subjects_of_a_rule_must_match_one_frame() {
    let rule = |keys: &str| rules(&[], &format!("[[region]]\nname = \"r\"\n{keys}"));
    // In these stacks functions with :: and main lie in game and come from src/game.rs, all others in libc.
    let stacks = &["main > a::one > malloc", "main > calloc", "jit! > jit2!"];
    assert_eq!(divided(stacks, &rule("module = \"libc\"")), ["r", "r", "other"]);
    assert_eq!(divided(stacks, &rule("module = \"libc\"\nfunction = [\"^c\", \"^main\"]")), ["other", "r", "other"]);
    assert_eq!(divided(stacks, &rule("module = \"game\"\nfile = \"game\\\\.rs$\"")), ["r", "other", "other"]);
    assert_eq!(divided(stacks, &rule("function = \"^jit2$\"")), ["other", "other", "r"]);
    assert_eq!(divided(stacks, &rule("function = \"\"")), ["r", "r", "r"]);
}

#[test]
fn inlined_calls_are_frames_too() {
    let stacks = &["main > a::one + b::two > malloc"];
    assert_eq!(divided(stacks, &rules(&["a=^a::", "b=^b::"], "")), ["b"]);
    let from_root = "[[region]]\nname = \"a\"\nfunction = \"^[ab]::\"\nfrom = \"root\"";
    assert_eq!(divided(stacks, &rules(&[], from_root)), ["a"]);
}

#[test]
fn regions_add_up_to_the_total() {
    let recording = program::recording();
    let rules = rules(&["net=^game::net::", "ai=^game::ai::", "empty=^nowhere$"], "builtin = [\"collections\"]");
    let profile = Profile::with_options(&recording, &Options { rules: rules.clone(), ..Default::default() });
    let regions = profile.regions.as_ref().unwrap();
    let attributed = profile.calibration.attributed();
    let sum = |of: fn(&Measure) -> f64| regions.rows.iter().map(|row| of(&row.total)).sum::<f64>();
    assert!((sum(|m| m.bytes.value) / attributed.bytes.value - 1.0).abs() < 1e-12);
    assert!((sum(|m| m.objects.value) / attributed.objects.value - 1.0).abs() < 1e-12);
    assert_eq!(sum(|m| m.samples as f64) as usize, recording.samples.len());
    let names: Vec<&str> = regions.rows.iter().map(|row| regions.name(row.region)).collect();
    assert_eq!(names.last(), Some(&OTHER));
    assert!(names.contains(&"empty") && names.contains(&"collections"), "{names:?}");
}

/// Telling threads apart changes nothing about regions.
#[test]
fn regions_are_the_same_in_every_split() {
    let recording = program::recording();
    let rules = || rules(&["ai=^game::ai::", "game=module:game"], "");
    let of = |split| {
        Profile::with_options(&recording, &Options { split, rules: rules(), ..Options::default() }).regions.unwrap()
    };
    let (whole, split) = (of(None), of(Some(Split::Thread)));
    assert!(whole.rows.iter().filter(|row| row.total.samples > 0).count() > 1);
    for (a, b) in whole.rows.iter().zip(&split.rows) {
        assert_eq!((a.region, a.total.samples), (b.region, b.total.samples));
        assert!((a.total.bytes.value - b.total.bytes.value).abs() < 1e-3);
    }
}

#[test]
fn frames_take_the_region_of_nearly_all_their_bytes() {
    let mut builder = Builder::default();
    for (text, size) in [("main > a::f > malloc", 95), ("main > a::f > b::g > malloc", 5), ("main > b::g > malloc", 50)]
    {
        let stack = builder.stack(text);
        builder.recording.samples.push(Sample { stack, size, ..Sample::default() });
    }
    let profile = Profile::with_options(
        &builder.recording,
        &Options { rules: rules(&["a=^a::", "b=^b::"], ""), ..Default::default() },
    );
    let regions = profile.regions.as_ref().unwrap();
    let shown: Vec<_> = profile
        .tree
        .nodes
        .iter()
        .zip(&regions.of_node)
        .map(|(node, of)| {
            let name = node.frame.map_or("all", |frame| profile.names.text(frame.name()));
            format!("{name} {}", of.map_or("-", |region| regions.name(region)))
        })
        .collect();
    assert_eq!(shown, ["all -", "main -", "a::f a", "b::g b", "malloc b", "malloc a", "b::g b", "malloc b"]);
}

#[test]
fn a_large_recording_is_divided_like_its_stacks() {
    let recording = random::recording(&mut Random::new(5), 3000, 20);
    let rules = rules(&["odd=method_\\d*[13579]$", "x=^large::module_4"], "builtin = [\"collections\", \"tokio\"]");
    let profile = Profile::with_options(&recording, &Options { rules: rules.clone(), ..Default::default() });
    let regions = profile.regions.unwrap();
    for (stack, &region) in recording.stacks.iter().zip(&regions.of_stack) {
        let names = stack.frames.iter().flat_map(|&at| &recording.locations[at as usize].lines);
        let mut names = names.map(|line| recording.functions[line.function as usize].name.as_str());
        let odd = |name: &str| name.ends_with(['1', '3', '5', '7', '9']);
        let decided = names.find(|name| odd(name) || name.starts_with("large::module_4"));
        let expected = decided.map_or("other", |name| if odd(name) { "odd" } else { "x" });
        assert_eq!(regions.name(region), expected);
    }
}

/// Over many recordings of a program whose shares are known, the intervals hold the truth in about 95 %.
#[test]
fn intervals_hold_the_truth() {
    const RUNS: u32 = 400;
    let site = |stack, size, rate| Site { stack, size, rate };
    let sites = [
        site("main > a::read > alloc::vec::Vec<T>::push > malloc", 96, 9000.0),
        site("main > a::parse > malloc", 40, 12_000.0),
        site("main > a::parse > b::log > malloc", 200, 1500.0),
        site("main > b::flush > malloc", 4096, 30.0),
        site("main > c::rare > malloc", 64, 500.0),
        site("main > d::large > malloc", 300_000, 0.7),
        site("main > malloc", 64, 8000.0),
    ];
    let rules = rules(&["a=^a::", "b=^b::", "c=^c::", "d=^d::"], "");
    let region_of = [0, 0, 1, 1, 2, 3, 4];
    let mut random = Random::new(20_261_124);
    let mut covered = [0u32; 5];
    for _ in 0..RUNS {
        let run = simulation::record(&sites, 2, 32 << 10, &mut random, |_| 1.0);
        let profile = Profile::with_options(&run.recording, &Options { rules: rules.clone(), ..Default::default() });
        for row in &profile.regions.as_ref().unwrap().rows {
            let of_region = region_of.iter().zip(&run.truth).filter(|(region, _)| **region == row.region);
            let truth = of_region.map(|(_, bytes)| *bytes as f64).sum::<f64>();
            let interval = profile.bytes_interval(&row.total);
            covered[usize::from(row.region)] += u32::from(interval.low <= truth && truth <= interval.high);
        }
    }
    let coverage = covered.map(|covered| f64::from(covered) / f64::from(RUNS));
    println!("coverage {coverage:?}");
    assert!(coverage.iter().all(|coverage| *coverage >= 0.90), "{coverage:?}");
    // Intervals that are too wide are wrong too, but those of few samples cannot be exact, and large blocks are certain.
    assert!([0, 1, 4].iter().all(|region| coverage[*region] <= 0.985), "{coverage:?}");
}

/// The rules that the reference server comes with, on frames that it has.
#[test]
fn the_regions_of_the_reference_server() {
    const MAIN: &str =
        "main > std::rt::lang_start_internal > target_server::main > tokio::runtime::runtime::Runtime::block_on";
    let rules = rules(&[], include_str!("../../../../target-server/regions.toml"));
    let regions = [
        ("target_server::game::Game::update > malloc", "game"),
        ("target_server::game::Game::fire > target_server::game::bullet::create_bullet > malloc", "bullets"),
        ("target_server::ticker::Ticker::tick_runner > malloc", "ticker"),
        (
            "target_server::ticker::Ticker::tick_runner::{{closure}} > target_server::statistics::DataWriter::flush > malloc",
            "statistics",
        ),
        ("target_server::play::play_game > target_server::logger::Logger::child > core::fmt::write > malloc", "logger"),
        ("target_server::connection::Inbox::on_message > serde_json::de::from_trait > malloc", "websocket"),
        (
            "<tokio_tungstenite::handshake::StartedHandshakeFuture<F,S> as core::future::future::Future>::poll > tungstenite::protocol::WebSocketContext::new > malloc",
            "http upgrade",
        ),
        ("tokio::task::local::spawn_local > malloc", "runtime"),
    ];
    let stacks: Vec<String> = regions.iter().map(|(stack, _)| format!("{MAIN} > {stack}")).collect();
    let stacks: Vec<&str> = stacks.iter().map(String::as_str).collect();
    assert_eq!(divided(&stacks, &rules), regions.map(|(_, region)| region));
}
