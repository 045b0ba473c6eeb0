//! Leak suspects of real programs: a leak among heavy churn is found, and where there is none none is.

use tracer::{
    estimate::growth::Verdict,
    probe::live::LiveOptions,
    profile::{Options, Profile, View},
    record::{assemble::assemble, interval::IntervalSetting, request::Request},
    recording::Recording,
};

use crate::{
    programs::{Build, Compiler, Program},
    recording::{alone, record_and_inspect, request},
};

/// Programs without a leak: as many recordings as there are programs, taken side by side.
const STEADY: usize = 20;
/// Allocations a second of these, and of the one that leaks.
const PACES: [&str; 2] = ["3000", "40000"];
/// A tenth of the blocks is sampled.
const INTERVAL: u64 = 2 << 10;
const SITES: [&str; 6] = ["handle", "message", "session", "cache", "request", "batch"];

/// What a recording of one of the processes alone would be, but for the exact counters.
fn of_process(recording: &Recording, process: u32) -> Recording {
    let mut alone = recording.clone();
    alone.samples.retain(|sample| sample.process == process);
    alone.about.counters.clear();
    alone
}

/// Sites and what is thought of them.
fn verdicts(recording: &Recording) -> Vec<(String, Verdict, String)> {
    let options = Options { view: Some(View::InUse), ..Options::default() };
    let profile = Profile::with_options(recording, &options);
    let heap = profile.live.as_ref().expect("blocks were followed");
    let verdict = |suspect: &tracer::profile::suspects::Suspect| {
        (profile.names.text(suspect.name).to_owned(), suspect.verdict, suspect.evidence())
    };
    heap.suspects.sites.iter().map(verdict).collect()
}

#[test]
fn a_leak_is_found_and_where_there_is_none_none_is() {
    let Some(_guard) = alone() else { return };
    let path = Build::new(Compiler::Gcc, "leaking.c", &["-O2", "-fno-ipa-icf"]).compile();
    let start = |arguments: [&str; 2]| Program::start(&path, &arguments, None);
    let mut leaking = start([PACES[1], "1"]);
    let mut steady: Vec<Program> = (0..STEADY).map(|_| start([PACES[0], "0"])).collect();
    steady.iter_mut().for_each(Program::go);
    let live = LiveOptions { blocks: 1 << 18, sessions: true };
    let wanted = Request { live: Some(live), ..request(IntervalSetting::Fixed(INTERVAL)) };
    let pids: Vec<u32> = std::iter::once(&leaking).chain(&steady).map(Program::pid).collect();
    let (raw, said) = record_and_inspect(
        &pids,
        wanted,
        || {
            leaking.go();
            leaking.line()
        },
        |_| {},
    );
    assert_eq!(said, "leaked");
    for program in steady.into_iter().chain([leaking]) {
        program.finish();
    }
    assert_eq!(raw.losses.samples(), 0);
    let recording = assemble(raw);

    let found = verdicts(&of_process(&recording, pids[0]));
    println!("with a leak, in {:.0} s: {found:#?}", recording.about.duration_ns as f64 / 1e9);
    let growing: Vec<&str> =
        found.iter().filter(|(_, verdict, _)| *verdict == Verdict::Growing).map(|(site, ..)| site.as_str()).collect();
    assert_eq!(growing, ["handle"]);

    let mut is_steady = 0;
    for &pid in &pids[1..] {
        let found = verdicts(&of_process(&recording, pid));
        for site in SITES {
            let (_, verdict, evidence) = found.iter().find(|(name, ..)| name == site).expect("each site has samples");
            assert!(*verdict != Verdict::Growing, "{site}: {evidence}");
            is_steady += usize::from(*verdict == Verdict::Steady);
        }
    }
    println!(
        "{} samples; {is_steady} of {} sites steady, the others unknown",
        recording.samples.len(),
        STEADY * SITES.len()
    );
    // Sites whose blocks live for microseconds at least; to call all unknown would be no art.
    assert!(is_steady >= STEADY * SITES.len() / 4, "{is_steady}");
}
