//! What `tracer diff` says of real recordings: nothing of a program that is the same, and what changed of one that is not.

use tracer::{
    profile::{
        Rules,
        difference::{Chance, Change, Difference, Row, Scale, Side, Verdict},
    },
    record::{assemble::assemble, interval::IntervalSetting},
    recording::Recording,
};

use crate::{
    programs::{Build, Compiler, Program},
    recording::{alone, record, request},
};

const PROGRAM: Build = Build::new(Compiler::Gcc, "busy.c", &["-O2"]);
/// Units of work in a recording: a second or two, of which begin and end are a small part.
const ROUNDS: u32 = 80_000;
/// Allocations of each request's parser, before and after the change.
const PARSES: [&str; 2] = ["20", "10"];
/// A thousand samples or two.
const INTERVAL: IntervalSetting = IntervalSetting::Fixed(128 << 10);
/// Recordings of the same program; 21 pairs.
const SAME: usize = 7;

/// A recording of one run. Every run has other random numbers.
fn run(seed: usize, parses: &str) -> Recording {
    let mut program = Program::start(&PROGRAM.compile(), &[&seed.to_string(), &ROUNDS.to_string(), parses], None);
    let (raw, said) = record(program.pid(), request(INTERVAL), || {
        program.go();
        program.line()
    });
    assert_eq!(said, "done");
    program.finish();
    assemble(raw)
}

/// Compares per round: how fast the machine does them has no say.
fn compared(before: &Recording, after: &Recording) -> Difference {
    let side = |recording| Side { recording, scale: Scale::Per(ROUNDS.into()) };
    let mut rules = Rules::default();
    for rule in ["parser=^parse$", "answers=^answer$"] {
        rules.add_option(rule).expect("the rule is sound");
    }
    Difference::new(side(before), side(after), &rules, Chance::Time)
}

/// What is said to have changed.
fn reported(difference: &Difference) -> Vec<&str> {
    let told = |change: &Change| matches!(change.verdict(), Verdict::Increase | Verdict::Decrease);
    let tables = [&difference.regions, &difference.sites, &difference.functions];
    let rows = tables.into_iter().flatten().filter(|row: &&Row| told(&row.change)).map(|row| row.name.as_str());
    let frames = difference.nodes.iter().flatten().filter(|change| told(change)).map(|_| "a frame");
    rows.chain(frames).chain(told(&difference.total).then_some("the total")).collect()
}

fn verdict(rows: &[Row], name: &str) -> Verdict {
    let row = rows.iter().find(|row| row.name == name);
    row.unwrap_or_else(|| panic!("{name} is not in the table")).change.verdict()
}

#[test]
fn the_same_program_has_not_changed_and_another_has() {
    let Some(_guard) = alone() else { return };
    let same: Vec<Recording> = (0..SAME).map(|seed| run(seed, PARSES[0])).collect();
    let pairs = same.iter().enumerate().flat_map(|(i, before)| same[i + 1..].iter().map(move |after| (before, after)));
    let (mut pairs_told, mut wrong) = (0, 0);
    for (before, after) in pairs {
        let difference = compared(before, after);
        let reported = reported(&difference);
        println!("{} and {} samples: {reported:?}", before.samples.len(), after.samples.len());
        pairs_told += 1;
        wrong += usize::from(!reported.is_empty());
    }
    // One pair in twenty may differ. That of 21 more than 4 do would come once in 300 times, were they independent; what the rate
    // is, many more recordings say that are made up (`profile::difference::tests`).
    assert!(wrong <= 4, "{wrong} of {pairs_told} pairs of recordings of one program differ");

    let changed = run(1000, PARSES[1]);
    for before in &same[..3] {
        let difference = compared(before, &changed);
        println!("changed: {:?}", reported(&difference));
        assert_eq!(verdict(&difference.regions, "parser"), Verdict::Decrease);
        assert_eq!(verdict(&difference.sites, "parse"), Verdict::Decrease);
        for same in ["read_request", "look_up", "answer", "log_line"] {
            assert_ne!(verdict(&difference.sites, same), Verdict::Increase, "{same}");
        }
    }
}
