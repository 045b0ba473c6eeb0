use super::name::{NameKind, UNATTRIBUTED};
use super::*;
use crate::synthetic::{Builder, program, random};

/// Node names with their depth, as an outline.
fn outline(profile: &Profile) -> Vec<String> {
    let nodes = profile.tree.nodes.iter();
    nodes
        .map(|node| {
            let name = node.frame.map_or("all".into(), |frame| profile.names.folded(frame));
            format!("{}{name}", ".".repeat(node.depth as usize))
        })
        .collect()
}

fn of_stacks(stacks: &[(&str, u64)]) -> Profile {
    let mut builder = Builder::default();
    for &(text, size) in stacks {
        let stack = builder.stack(text);
        builder.recording.samples.push(crate::recording::Sample {
            stack,
            process: 1,
            thread: 1,
            time_ns: 0,
            size,
            interval: 0,
            counter: 0,
            ..Default::default()
        });
    }
    Profile::new(&builder.recording)
}

#[test]
fn stacks_merge_into_a_tree_with_inlined_calls_and_reasons() {
    let profile = of_stacks(&[
        ("main > f + g > malloc", 1),
        ("main > f + g > malloc", 2),
        ("main > f > malloc", 4),
        ("? no mapping > f > malloc", 8),
        ("main", 16),
    ]);
    assert_eq!(
        outline(&profile),
        ["all", ".[truncated: no mapping]", "..f", "...malloc", ".main", "..f", "...g_[i]", "....malloc", "...malloc"]
    );
    let bytes: Vec<f64> = profile.tree.nodes.iter().map(|n| n.total.bytes.value).collect();
    assert_eq!(bytes, [31.0, 8.0, 8.0, 8.0, 23.0, 7.0, 3.0, 3.0, 4.0]);
    assert_eq!(profile.tree.nodes[4].own_bytes, 16.0);
    assert_eq!(profile.tree.nodes[6].total.samples, 2);
}

#[test]
fn a_recursive_function_counts_once() {
    let profile = of_stacks(&[("main > f > f > f > malloc", 10), ("main > g > f > malloc", 1)]);
    let row = |name: &str| profile.functions.iter().find(|r| profile.names.text(r.name) == name).unwrap().total;
    assert_eq!((row("f").bytes.value, row("main").bytes.value, row("g").bytes.value), (11.0, 11.0, 1.0));
}

#[test]
fn sites_are_callers_outside_the_plumbing() {
    let profile = of_stacks(&[
        ("main > game::spawn > alloc::raw_vec::RawVec<T,A>::grow_one > __rust_alloc > malloc", 1),
        ("main > game::spawn + alloc::vec::Vec<T,A>::push > malloc", 2),
        ("main > custom_allocator", 4),
        ("? too deep > alloc::vec::Vec<T,A>::push > malloc", 8),
        ("malloc", 16),
    ]);
    let sites: Vec<_> = profile.sites.iter().map(|r| (profile.names.text(r.name), r.total.bytes.value)).collect();
    assert_eq!(sites, [("malloc", 16.0), ("alloc::vec::Vec<T,A>::push", 8.0), ("main", 4.0), ("game::spawn", 3.0)]);
}

#[test]
fn every_view_adds_up_to_the_exact_total() {
    let recording = program::recording();
    let profile = Profile::new(&recording);
    let exact = profile.exact().unwrap();
    assert!((profile.total().bytes.value / exact.bytes as f64 - 1.0).abs() < 1e-12);
    assert!((profile.total().objects.value / exact.calls as f64 - 1.0).abs() < 1e-12);
    let unattributed = profile.calibration.unattributed();
    assert_eq!(unattributed.calls, 17);
    let sites: f64 = profile.sites.iter().map(|row| row.total.bytes.value).sum();
    assert!((sites - (exact.bytes - unattributed.bytes) as f64).abs() < 1.0);
    let own: f64 = profile.tree.nodes.iter().map(|node| node.own_bytes).sum();
    assert!((own / exact.bytes as f64 - 1.0).abs() < 1e-12);
    let last = profile.tree.nodes.last().unwrap().frame.unwrap();
    assert_eq!(profile.names.text(last.name()), UNATTRIBUTED);
    assert_eq!(profile.names.kind(last.name()), NameKind::Unattributed);
}

#[test]
fn nodes_are_the_sum_of_their_children() {
    let recording = random::recording(&mut crate::synthetic::Random::new(3), 2000, 12);
    let tree = Profile::new(&recording).tree;
    let mut sums: Vec<f64> = tree.nodes.iter().map(|node| node.own_bytes).collect();
    for (i, node) in tree.nodes.iter().enumerate().skip(1) {
        assert!((node.parent as usize) < i && tree.nodes[node.parent as usize].depth + 1 == node.depth);
        sums[node.parent as usize] += node.total.bytes.value;
    }
    for (node, sum) in tree.nodes.iter().zip(sums) {
        assert!((node.total.bytes.value / sum - 1.0).abs() < 1e-9);
    }
}

#[test]
fn an_empty_recording_has_a_root() {
    let profile = Profile::new(&Recording::default());
    assert_eq!(outline(&profile), ["all"]);
    assert_eq!((profile.total(), profile.sites.len()), (Measure::default(), 0));
}

/// Whatever a function is called: it is in every view, and in none twice.
#[test]
fn nothing_sampled_is_all_unattributed() {
    let mut recording = program::recording();
    recording.samples.clear();
    let profile = Profile::new(&recording);
    assert_eq!(outline(&profile), ["all".to_owned(), format!(".{UNATTRIBUTED}")]);
    assert_eq!(profile.total().bytes.value, profile.exact().unwrap().bytes as f64);
}
