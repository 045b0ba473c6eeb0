//! CPU samples against what threads know of their own CPU time.

use std::{collections::BTreeMap, num::NonZeroU32};

use tracer::{
    estimate::Interval,
    probe::{
        kernel_event::KernelEvent,
        multi::Point,
        programs::{Options, Programs},
    },
    profile::Profile,
    record::{assemble::assemble, interval::IntervalSetting, raw::RawRecording, request::Request},
    recording::{KERNEL_MARK, Recording, StackEnd},
};

use crate::{
    cpu_stacks::assert_callers,
    load::settings,
    programs::{Build, Compiler, Program},
    recording::{alone, record, request},
    return_probe::file_offset,
};

const PROGRAM: Build = Build::new(Compiler::Gcc, "cpu.c", &["-O2"]);

/// `frequency`: samples a second of CPU time.
pub fn cpu(frequency: u64) -> Request {
    let period_ns = 1_000_000_000 / frequency;
    Request { event: Some(KernelEvent::Cpu { period_ns }), ..request(IntervalSetting::Fixed(period_ns)) }
}

/// CPU time by function, in nanoseconds, as the program knows it.
pub type Truth = BTreeMap<String, u64>;

/// What a program says at its end: names and numbers.
pub fn truth(said: &str) -> Truth {
    let words: Vec<&str> = said.split_whitespace().collect();
    words.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].parse().expect("a number"))).collect()
}

/// Runs the program in a mode while it is recorded.
pub fn run(mode: &str, request: Request) -> (RawRecording, Truth) {
    let mut program = Program::start(&PROGRAM.compile(), &[mode], None);
    let (recording, said) = record(program.pid(), request, || {
        program.go();
        program.line()
    });
    program.finish();
    (recording, truth(&said))
}

/// Names of a stack's functions, leaf first.
pub fn names(recording: &Recording, stack: u32) -> Vec<&str> {
    let locations = recording.stacks[stack as usize].frames.iter().map(|&frame| &recording.locations[frame as usize]);
    let lines = locations.flat_map(|location| &location.lines);
    lines.map(|line| &recording.functions[line.function as usize].name[..]).collect()
}

/// The interval, two and a half times as wide: chance does not go beyond it in a million tests.
fn stretched(value: f64, Interval { low, high }: Interval) -> Interval {
    Interval { low: value - 2.5 * (value - low), high: value + 2.5 * (high - value) }
}

/// Every function of the truth has its share of the time that all of them have, within the interval; and stacks are complete, but
/// for some percent.
fn assert_shares(recording: &Recording, truth: &Truth, truncated_percent: usize) {
    let profile = Profile::new(recording);
    let all: u64 = truth.values().sum();
    let row = |name: &str| profile.functions.iter().find(|row| profile.names.text(row.name) == name);
    let found = truth.keys().filter_map(|name| row(name)).map(|row| row.total.bytes.value).sum::<f64>();
    println!("{} samples, {:.3} of {:.3} s in the functions", recording.samples.len(), found / 1e9, all as f64 / 1e9);
    for (name, &spent) in truth {
        let row = row(name).unwrap_or_else(|| panic!("{name} has no sample"));
        let (value, expected) = (row.total.bytes.value, spent as f64 / all as f64 * found);
        let Interval { low, high } = profile.bytes_interval(&row.total);
        println!(
            "{name}: {:.3} s [{:.3} to {:.3}], expected {:.3}",
            value / 1e9,
            low / 1e9,
            high / 1e9,
            expected / 1e9
        );
        let wide = stretched(value, Interval { low, high });
        assert!(wide.low <= expected && expected <= wide.high, "{name}: {expected} is not in {wide:?}");
    }
    // Their functions are all that the program does.
    assert!(found > 0.9 * profile.total().bytes.value, "{found} of {}", profile.total().bytes.value);
    let (truncated, all) = (truncated(recording), recording.samples.len());
    assert!(truncated * 100 <= truncated_percent * all, "{truncated} stacks of {all} are truncated");
}

fn truncated(recording: &Recording) -> usize {
    let ends = recording.samples.iter().map(|sample| &recording.stacks[sample.stack as usize].end);
    ends.filter(|end| **end != StackEnd::Complete).inspect(|end| println!("{end:?}")).count()
}

#[test]
fn functions_have_their_shares_and_the_kernel_its_frames() {
    let Some(_guard) = alone() else { return };
    let (raw, truth) = run("shares", cpu(499));
    assert_eq!(raw.losses.samples(), 0);
    let accounted = raw.cpu.as_ref().and_then(|cpu| cpu.accounted_ns).expect("the process lives");
    assert!(accounted >= truth.values().sum(), "{accounted} ns accounted for, {truth:?}");
    let recording = assemble(raw);
    assert_shares(&recording, &truth, 1);
    assert_callers(
        &recording,
        "shares",
        &[("burn_three", "work"), ("burn_one", "work"), ("in_kernel", "enter_kernel")],
    );
    let exact = Profile::new(&recording).exact().expect("the kernel's account is exact");
    assert_eq!((exact.bytes, exact.calls), (accounted, recording.samples.len() as u64));
    // Most of a system call's time is spent in the kernel, whose frames lie below the caller's.
    let in_kernel =
        recording.samples.iter().map(|sample| names(&recording, sample.stack)).filter(|names| {
            names.contains(&"in_kernel") && names.first().is_some_and(|leaf| leaf.ends_with(KERNEL_MARK))
        });
    assert!(in_kernel.count() > 20);
    for sample in &recording.samples {
        let names = names(&recording, sample.stack);
        let kernel = names.iter().take_while(|name| name.ends_with(KERNEL_MARK)).count();
        assert!(names.iter().skip(kernel).all(|name| !name.ends_with(KERNEL_MARK)), "{names:?}");
    }
}

#[test]
fn threads_have_their_shares_side_by_side() {
    let Some(_guard) = alone() else { return };
    let (raw, truth) = run("threads", cpu(499));
    assert_shares(&assemble(raw), &truth, 1);
}

/// At a hundred ticks a second none of these threads lives from one tick to the next. A tick that finds a thread at its end,
/// without memory, gives no stack.
#[test]
fn threads_shorter_than_a_tick_are_not_overlooked() {
    let Some(_guard) = alone() else { return };
    let (raw, truth) = run("short", cpu(99));
    assert_shares(&assemble(raw), &truth, 10);
}

#[test]
fn children_have_their_shares_when_they_are_asked_for() {
    let Some(_guard) = alone() else { return };
    let (raw, truth) = run("children", Request { children: true, ..cpu(499) });
    assert_eq!(raw.cpu.as_ref().and_then(|cpu| cpu.accounted_ns), None, "no clock says it all");
    assert_shares(&assemble(raw), &truth, 1);
    let (raw, _) = run("children", cpu(499));
    let recording = assemble(raw);
    let of_child = |sample: &&tracer::recording::Sample| names(&recording, sample.stack).contains(&"in_child");
    assert_eq!(recording.samples.iter().filter(of_child).count(), 0);
}

/// While a thread is inside a probe's trap it stands one byte behind the probed instruction, or has done it already without moving
/// on. Its stack is that of the instruction; at worst it ends there.
#[test]
fn probes_in_the_way_hide_no_caller() {
    let Some(_guard) = alone() else { return };
    let path = PROGRAM.compile();
    let mut program = Program::start(&path, &["probed"], None);
    let pid = program.pid();
    let options = Options { settings: settings(), ring_bytes: 1 << 12, live: None };
    let programs = Programs::load_with(&options, &["empty"]).unwrap_or_else(|error| panic!("{error}"));
    let point = Point { file_offset: file_offset(&path, "victim"), cookie: 0 };
    let probe = programs.attach_program("empty", &path, &[point], NonZeroU32::new(pid));
    let probe = probe.unwrap_or_else(|error| panic!("{error}"));
    let (raw, _) = record(pid, cpu(999), || {
        program.go();
        program.line()
    });
    drop(probe);
    program.finish();
    let recording = assemble(raw);
    let mut trapped = 0;
    for sample in &recording.samples {
        let names = names(&recording, sample.stack);
        if names.contains(&"victim") && recording.stacks[sample.stack as usize].end == StackEnd::Complete {
            trapped += usize::from(names[0] != "victim");
            assert!(names.ends_with(&["main", "__libc_start_call_main", "__libc_start_main", "_start"]), "{names:?}");
            assert!(names.contains(&"call_victim") && names.contains(&"in_probed"), "{names:?}");
        }
    }
    let truncated = truncated(&recording);
    println!("{trapped} of {} samples in traps, {truncated} stacks truncated", recording.samples.len());
    assert!(trapped * 2 > recording.samples.len(), "the probe was not in");
    assert!(truncated * 20 < recording.samples.len(), "{truncated} stacks are truncated");
}
