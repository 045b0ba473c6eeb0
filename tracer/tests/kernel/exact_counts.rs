//! The exact counters agree with a program that counts for itself, and so does every sample when every call is sampled.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use serde::Deserialize;
use tracer::{
    allocators::ProbePoint,
    record::{raw::RawRecording, request::Request},
};
use tracer_ebpf::abi::allocation::size_class;

use crate::{
    names::ProgramNames,
    programs::{Build, Compiler, Program},
    recording::{EVERY, ONLY_KEYED, alone, record, request},
};

pub const PROGRAM: Build = Build::new(Compiler::Gcc, "allocate.c", &["-O2"]);
const THREADS: &str = "3";
/// Sizes from here on are beyond the address space.
const UNGRANTED: u64 = 1 << 47;

/// Calls that are alike, as the program made them.
#[derive(Clone, Debug, Deserialize)]
pub struct Calls {
    thread: String,
    pub site: String,
    function: String,
    pub size: u64,
    alignment: u64,
    null_pointer: bool,
    pub calls: u64,
}

impl Calls {
    /// glibc's `realloc`, where the block's arena has no room, asks `malloc` for memory of another: a call that no memory can
    /// satisfy shows up in both.
    fn is_retried(&self) -> bool {
        self.served_by() == "realloc" && self.size >= UNGRANTED
    }

    /// The function that serves the call in the end: glibc's hand some on, and each is to be counted once, where it is served.
    fn served_by(&self) -> &str {
        match self.function.as_str() {
            "realloc" | "reallocarray" if self.null_pointer => "malloc",
            "reallocarray" => "realloc",
            // 16 is what malloc guarantees.
            "posix_memalign" | "aligned_alloc" | "memalign" if self.alignment <= 16 => "malloc",
            function => function,
        }
    }
}

/// Runs the program under a recording; what it says it did comes along. `failures`: how often it asks for what cannot be had.
pub fn run(request: Request, rounds: &str, failures: &str) -> (RawRecording, Vec<Calls>) {
    let mut program = Program::start(&PROGRAM.compile(), &[THREADS, rounds, failures], None);
    let (recording, said) = record(program.pid(), request, || {
        program.go();
        program.line()
    });
    program.finish();
    (recording, serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}")))
}

/// Calls and bytes by serving function and size class.
type Counts = BTreeMap<(String, usize), (u64, u64)>;

fn counted(recording: &RawRecording) -> Counts {
    let mut counts = Counts::new();
    for (probed, counters) in recording.points.iter().zip(&recording.counters) {
        for (class, counter) in counters.iter().enumerate().filter(|(_, counter)| counter.calls > 0) {
            let count = counts.entry((probed.point.function.clone(), class)).or_default();
            count.0 += counter.calls;
            count.1 += counter.bytes;
        }
    }
    counts
}

fn expected(recording: &RawRecording, truth: &[Calls]) -> Counts {
    // Functions at one address share a counter, which has one of their names.
    let counter = |name: &str| {
        let has_name = |point: &ProbePoint| point.function == name || point.aliases.iter().any(|alias| alias == name);
        let probed = recording.points.iter().find(|probed| has_name(&probed.point));
        probed.map_or_else(|| format!("{name}, which is not probed"), |probed| probed.point.function.clone())
    };
    let mut counts = Counts::new();
    let retries = truth.iter().filter(|calls| calls.is_retried()).map(|calls| (calls, "malloc"));
    for (calls, by) in truth.iter().map(|calls| (calls, calls.served_by())).chain(retries) {
        let count = counts.entry((counter(by), size_class(calls.size))).or_default();
        count.0 += calls.calls;
        count.1 += calls.calls * calls.size;
    }
    counts
}

#[test]
fn counters_are_exact() {
    let Some(_guard) = alone() else { return };
    let (recording, truth) = run(request(ONLY_KEYED), "2000", "1");
    let calls: u64 = truth.iter().map(|calls| calls.calls).sum();
    println!("{calls} calls from {THREADS} threads, {} kinds", truth.len());
    assert!(calls > 300_000, "{calls}");
    assert_same(&counted(&recording), &expected(&recording, &truth));
}

#[test]
fn every_call_is_sampled_where_it_was_made() {
    let Some(_guard) = alone() else { return };
    let (recording, truth) = run(request(EVERY), "100", "1");
    assert_eq!(recording.losses.samples(), 0);
    // By thread, site and size.
    let mut expected: BTreeMap<(String, String, u64), u64> = BTreeMap::new();
    for calls in &truth {
        *expected.entry((calls.thread.clone(), calls.site.clone(), calls.size)).or_default() +=
            calls.calls * (1 + u64::from(calls.is_retried()));
    }
    let mut names = ProgramNames::new(&recording, &PROGRAM.compile());
    let mut sampled: BTreeMap<(String, String, u64), u64> = BTreeMap::new();
    for sample in &recording.parts.samples {
        let stack = &recording.parts.stacks[sample.stack as usize];
        let site = names.of_stack(stack).find(|name| name.starts_with("site_"));
        let thread = recording.parts.thread_names[sample.thread_name as usize].clone();
        *sampled.entry((thread, site.unwrap_or_default(), sample.size)).or_default() += 1;
    }
    println!("{} samples of {} kinds", recording.parts.samples.len(), sampled.len());
    assert_same(&sampled, &expected);
}

/// Compares, and shows only what differs.
fn assert_same<K: Ord + Debug, V: PartialEq + Debug>(got: &BTreeMap<K, V>, truth: &BTreeMap<K, V>) {
    let keys: BTreeSet<&K> = got.keys().chain(truth.keys()).collect();
    let different: Vec<String> = keys
        .into_iter()
        .filter(|key| got.get(key) != truth.get(key))
        .map(|key| format!("{key:?}: {:?}, in truth {:?}", got.get(key), truth.get(key)))
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}
