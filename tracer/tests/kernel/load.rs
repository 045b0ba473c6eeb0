//! The BPF object loads, and stays far below the verifier's limit.

use tracer::probe::{
    kernel_event::KernelEvent,
    live::LiveOptions,
    programs::{CALIBRATION, Options, Programs},
};
use tracer_ebpf::abi::settings::Settings;

use crate::recording::alone;

/// Instructions that the verifier may follow in one program. It gives up at a million, and what it follows grows and
/// shrinks from one kernel to the next.
const BUDGET: u64 = 50_000;

/// Settings of programs that do nothing yet.
pub fn settings() -> Settings {
    Settings { interval: 1 << 19, max_frames: 128, enabled: 0, wakeup_bytes: 1 << 20, ..Settings::default() }
}

fn load(calibration: &[&'static str], live: Option<LiveOptions>) -> Programs {
    let loaded = Programs::load_with(&Options { settings: settings(), ring_bytes: 1 << 22, live }, calibration);
    loaded.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn programs_load_and_attach() {
    let Some(_guard) = alone() else { return };
    let programs = load(&[], None);
    if let Some(error) = programs.multi_refused() {
        panic!("{error}");
    }
}

#[test]
fn budget() {
    let Some(_guard) = alone() else { return };
    // Programs that a recording loads only when it needs them are asked for like those of the benchmarks.
    let on_demand = [&CALIBRATION[..], &["libraries_loaded"]].concat();
    let mut programs = load(&on_demand, None);
    for event in KernelEvent::ALL {
        programs.attach_event(event).unwrap_or_else(|error| panic!("{event:?}: {error}"));
    }
    let mut counts = programs.verified_instructions().unwrap();
    drop(programs);
    // Returns are seen in one way or the other.
    for sessions in [true, false] {
        let live = LiveOptions { blocks: 1024, sessions };
        counts.extend(load(&[], Some(live)).verified_instructions().unwrap());
    }
    // Those of tracer/bpf/tracer.bpf.txt.
    let recorded = include_str!("../../bpf/tracer.bpf.txt").lines().filter_map(|line| line.strip_prefix("program "));
    let names: Vec<_> = recorded.filter_map(|line| line.split(' ').next()).collect();
    assert!(!names.is_empty());
    for name in names {
        let count = counts.get(name).unwrap_or_else(|| panic!("{name} is not loaded"));
        println!("{name} {count}");
        assert!((1..=BUDGET).contains(count), "{name}: {count} instructions");
    }
}
