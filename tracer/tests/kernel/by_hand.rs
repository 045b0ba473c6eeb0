//! Allocation functions that the user names, in a program whose allocator nobody knows: counts equal its own, to the call and to
//! the byte.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use object::{Object as _, ObjectSymbol as _};
use tracer::recording::{Recording, StackEnd};

use crate::{
    matrix::{
        command::Tracer,
        comparison::stack_names,
        program::{Program, Truth},
    },
    programs::{Build, Compiler},
    recording::alone,
};

const PROGRAM: Build =
    Build::new(Compiler::Gcc, "by_hand.c", &["-O1", "-static", "-fcf-protection=full", "-fno-omit-frame-pointer"]);

/// A copy without symbols.
fn stripped(program: &Path) -> PathBuf {
    let copy = program.with_extension("stripped");
    let status =
        Command::new("strip").arg("-o").args([&copy, program]).status().expect("strip runs; it is in binutils");
    assert!(status.success());
    copy
}

/// Address of a function.
fn address(program: &Path, name: &str) -> u64 {
    let bytes = fs::read(program).expect("the program is readable");
    let file = object::File::parse(bytes.as_slice()).expect("it is ELF");
    file.symbols().find(|symbol| symbol.name() == Ok(name)).expect("it has the function").address()
}

/// Records the program's work.
fn record(program: &Path, rounds: u32, arguments: &[String]) -> (Recording, String, Truth) {
    let mut program = Program::start(Command::new(program).arg(rounds.to_string()));
    let arguments: Vec<&str> = ["--interval", "1"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    let tracer = Tracer::start(program.pid(), &arguments);
    let truth = program.work();
    let (recording, summary) = tracer.interrupt();
    (recording, summary, truth)
}

/// Calls and bytes by function.
fn counted(recording: &Recording) -> BTreeMap<String, (u64, u64)> {
    let counters = recording.about.counters.iter().filter(|counter| !counter.classes.is_empty());
    let sums = counters.map(|counter| {
        assert_eq!(counter.family, "named by hand");
        let sum = counter.classes.iter().fold((0, 0), |sum, class| (sum.0 + class.calls, sum.1 + class.bytes));
        (counter.function.clone(), sum)
    });
    sums.collect()
}

fn expected(truth: &Truth, name: impl Fn(&str) -> String) -> BTreeMap<String, (u64, u64)> {
    truth.counts.iter().map(|count| (name(&count.kind), (count.calls, count.calls * count.size))).collect()
}

/// Every sample was taken in `leaf`, and its stack reaches the thread's start through as many frames as were called.
fn assert_stacks(recording: &Recording, leaf: impl Fn(u64) -> String) {
    assert_eq!(recording.about.losses.samples(), 0);
    let names = stack_names(recording);
    for sample in &recording.samples {
        let (stack, names) = (&recording.stacks[sample.stack as usize], &names[sample.stack as usize]);
        assert_eq!((&stack.end, names[0]), (&StackEnd::Complete, leaf(sample.size).as_str()), "{names:?}");
        assert!(names.len() >= 4, "{names:?}");
    }
}

#[test]
fn by_name() {
    let Some(_guard) = alone() else { return };
    let arguments = ["--symbol", "pool_alloc", "--symbol", "pool_calloc:0*1", "--symbol", "pool_resize:2"];
    let (recording, summary, truth) = record(&PROGRAM.compile(), 700, &arguments.map(String::from));
    let mut counters = counted_by_hand(&recording);
    counters.retain(|_, (calls, _)| *calls > 0);
    assert_eq!(counters, expected(&truth, str::to_owned));
    let by_hand = "what was named by hand: pool_alloc, pool_calloc, pool_resize. Memory";
    assert!(summary.contains(by_hand), "{summary}");
    let kind = |size| truth.counts.iter().find(|count| count.size == size).map(|count| count.kind.clone());
    assert_stacks(&recording, |size| kind(size).expect("a kind"));
    // Under the function that called.
    let names = stack_names(&recording);
    assert!(recording.samples.iter().all(|sample| names[sample.stack as usize][1..3] == ["work", "main"]));
}

/// Those of the program's own functions: the unstripped program has glibc's allocator too, which it does not use.
fn counted_by_hand(recording: &Recording) -> BTreeMap<String, (u64, u64)> {
    assert!(recording.about.counters.iter().any(|counter| counter.family == "glibc" && counter.classes.is_empty()));
    counted(recording)
}

#[test]
fn by_address_without_any_symbol() {
    let Some(_guard) = alone() else { return };
    let whole = PROGRAM.compile();
    let program = stripped(&whole);
    let file = program.file_name().and_then(|name| name.to_str()).expect("a name of text").to_owned();
    let offset = |name: &str| format!("{file}+{:#x}", address(&whole, name));
    let forms = [("pool_alloc", ""), ("pool_calloc", ":0*1"), ("pool_resize", ":2")];
    let arguments = forms.iter().flat_map(|(name, form)| ["--offset".to_owned(), offset(name) + form]);
    let (recording, summary, truth) = record(&program, 700, &arguments.collect::<Vec<_>>());
    assert_eq!(counted(&recording), expected(&truth, offset));
    assert!(summary.contains("counted is what was named by hand: "), "{summary}");
    let kind = |size| truth.counts.iter().find(|count| count.size == size).map(|count| offset(&count.kind));
    assert_stacks(&recording, |size| kind(size).expect("a kind"));
}

#[test]
fn what_is_given_back_is_not_in_use() {
    let Some(_guard) = alone() else { return };
    let mut program = Program::start(Command::new(PROGRAM.compile()).args(["100", "release"]));
    let named = ["--symbol", "pool_alloc", "--symbol", "pool_realloc:realloc", "--symbol", "pool_free:free"];
    let tracer = Tracer::start(program.pid(), &[&["--live", "--interval", "1"], &named[..]].concat());
    let truth = program.work();
    let (recording, _) = tracer.interrupt();
    assert_eq!(recording.about.losses.samples(), 0);
    for count in &truth.counts {
        let samples = recording.samples.iter().filter(|sample| sample.size == count.size);
        let in_use = samples.clone().filter(|sample| sample.block.is_some_and(|block| block.released_ns.is_none()));
        let expected = if count.kind == "pool_realloc" { count.calls } else { 0 };
        assert_eq!((samples.count() as u64, in_use.count() as u64), (count.calls, expected), "{count:?}");
    }
}

/// A program that tracer starts runs the one with the function later: until then it is not missed.
#[test]
fn behind_another_program() {
    let Some(_guard) = alone() else { return };
    let program = PROGRAM.compile();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let run = |symbol: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_tracer"))
            .current_dir(&folder)
            .args(["--force", "-o", "x.json", "--symbol", symbol, "--", "env", "X=1"])
            .args([program.to_str().expect("a path of text"), "300"])
            .stdin(std::process::Stdio::null())
            .output()
            .expect("tracer runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let json = fs::read(folder.path().join("x.json")).expect("it was written");
        let json: serde_json::Value = serde_json::from_slice(&json).expect("it is JSON");
        (json["about"].clone(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (about, _) = run("pool_calloc:0*1");
    let counters = about["counters"].as_array().expect("counters");
    let counter = counters.iter().find(|counter| counter["function"] == "pool_calloc").expect("it was counted");
    assert_eq!(counter["classes"], serde_json::json!([{"class": 13, "calls": 300, "bytes": 300 * 7000}]));
    let (about, said) = run("pool_cal:0*1");
    let note = "not counted: pool_cal: no function has this name; there are pool_calloc";
    assert!(about["notes"][0].as_str().is_some_and(|text| text.starts_with(note)), "{about}");
    assert!(said.contains(note), "{said}");
}
