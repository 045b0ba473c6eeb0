//! Stacks deeper than the limit: as much as it allows of the right stack, and everywhere it says so.

use tracer::{
    profile::{Node, Profile},
    record::assemble::assemble,
    recording::{Recording, StackEnd},
};
use tracer_ebpf::abi::sample::{MAX_FRAMES, WalkStatus};

use crate::{
    comparison::{Report, Verdict},
    ground_truth::{C, CXX, sampled},
    programs::{Build, Compiler, prepare_shims},
    recording::alone,
};

const REASON: &str = "deeper than --max-depth";
/// How the frames above such stacks are called; the module follows.
const ROOT: &str = "[truncated: deeper than --max-depth in ";

#[test]
fn stacks_end_at_the_limit_and_say_so() {
    let Some(_guard) = alone() else { return };
    prepare_shims();
    for build in [Build::new(Compiler::Gcc, C, &["-O2"]), Build::new(Compiler::Clangxx, CXX, &["-O2"])] {
        cut(&build, "700", 128);
        cut(&build, "2000", MAX_FRAMES);
    }
}

/// Samples a program that recurses so deep with a limit that cuts such stacks.
fn cut(build: &Build, levels: &str, limit: usize) {
    let (raw, truth) = sampled(build, &["1", "2", "600", levels], limit as u32);
    let report = Report::new(&raw, &truth);
    println!("{build}, limit {limit}: {report}");
    assert!(report.is_sound(), "{build}: {report}");
    let (mut whole, mut deeper) = (0, 0);
    for judged in &report.judged {
        let got = (judged.frames, judged.status, judged.verdict);
        if judged.whole <= limit {
            whole += 1;
            assert_eq!(got, (judged.whole, WalkStatus::Complete, Verdict::Exact), "{build}");
        } else {
            deeper += 1;
            assert_eq!(got, (limit, WalkStatus::TooDeep, Verdict::CorrectPrefix), "{build}");
        }
    }
    assert!(whole > 100 && deeper > 100, "{build}: {whole} within the limit, {deeper} beyond, prove too little");
    says_so(&assemble(raw), deeper);
}

/// The recording says why these samples are truncated, where, and what helps; in the tree they are under frames that say why.
fn says_so(recording: &Recording, samples: u64) {
    let truncated = &recording.about.unwinding.truncated;
    assert!(
        truncated.iter().all(|t| t.reason == REASON && t.hint == "raise --max-depth (up to 1024)"),
        "{truncated:?}"
    );
    assert_eq!(truncated.iter().map(|t| t.samples).sum::<u64>(), samples);

    let is_cut = |end: &StackEnd| matches!(end, StackEnd::Truncated(reason) if reason.starts_with(REASON));
    let ends = recording.samples.iter().map(|sample| &recording.stacks[sample.stack as usize].end);
    assert_eq!(ends.filter(|end| is_cut(end)).count() as u64, samples);

    let profile = Profile::new(recording);
    let named = |node: &Node| node.frame.is_some_and(|frame| profile.names.text(frame.name()).starts_with(ROOT));
    let at_root = profile.tree.nodes.iter().filter(|node| node.depth == 1 && named(node));
    assert_eq!(at_root.map(|node| node.total.samples).sum::<u64>(), samples);
}
