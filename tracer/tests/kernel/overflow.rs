//! A ring buffer that is far too small loses samples, counts every one of them, and leaves the exact counters exact.

use rustix::process::Signal;
use tracer::record::request::Request;

use crate::{
    ending::Run,
    programs::{Build, Compiler, Program},
    recording::{EVERY, alone, record, request},
};

#[test]
fn samples_lost_are_counted() {
    let Some(_guard) = alone() else { return };
    let path = Build::new(Compiler::Gcc, "allocate.c", &["-O2"]).compile();
    let mut program = Program::start(&path, &["3", "200", "1"], None);
    // A page: about ten samples.
    let tiny = Request { ring_bytes: 4096, ..request(EVERY) };
    let (recording, ()) = record(program.pid(), tiny, || {
        program.go();
        program.line();
    });
    program.finish();
    let calls: u64 = recording.counters.iter().flatten().map(|class| class.calls).sum();
    let (taken, lost) = (recording.parts.samples.len() as u64, recording.losses.samples());
    println!("{calls} calls, {taken} samples, {lost} lost: {:?}", recording.losses);
    assert!(recording.losses.ring_full > 0, "nothing was lost: the ring is not too small");
    assert!(taken > 0, "everything was lost");
    assert_eq!(taken + lost, calls);
}

#[test]
fn the_command_says_so_wherever_the_number_is_read() {
    let Some(_guard) = alone() else { return };
    let path = Build::new(Compiler::Gcc, "allocate.c", &["-O2"]).compile();
    let mut program = Program::start(&path, &["3", "200", "1"], None);
    let pid = program.pid();
    let mut run = Run::start(pid, "--interval 1 --max-overhead none --ring-buffer 4KiB");
    program.go();
    program.line();
    run.signal(Signal::INT);
    let (code, said) = run.wait();
    program.finish();
    assert_eq!(code, Some(3), "{said}");

    let losses = run.recording(pid).about.losses;
    println!("{losses:?}");
    assert!(losses.ring_full > 0, "nothing was lost: the ring is not too small");
    let of_summary = |what: &str| -> u64 {
        let lines = said.lines().filter_map(|line| line.split_once(what));
        lines.map(|(before, _)| number(before.strip_prefix("lost").unwrap_or(before))).sum()
    };
    assert_eq!(of_summary(" x sample: "), losses.ring_full + losses.scratch_busy, "{said}");
    assert_eq!(of_summary(" x record: "), losses.undecodable, "{said}");
    let picture = run.picture(pid);
    let subtitle = picture.lines().find(|line| line.contains("id=\"subtitle\"")).expect("it has a subtitle");
    let of_picture = subtitle.split(" | ").find_map(|fact| fact.split_once(" samples lost"));
    assert_eq!(of_picture.map(|(lost, _)| number(lost)), Some(losses.samples()), "{subtitle}");
}

/// Reads what is written `1,234`.
fn number(text: &str) -> u64 {
    text.trim().replace(',', "").parse().expect("it is a number")
}
