//! A raw recording, named: what is written to disk.

use std::time::UNIX_EPOCH;

use tracer_ebpf::abi::sample::{Frame, NO_COUNTER};

use super::{discover::Probed, ends::Ends, live::Fate, raw::RawRecording, stacks::RawStack};
use crate::{
    probe::{counters::ClassCounters, kernel_event::KernelEvent},
    recording::{
        About, Block, Function, Location, LocationIndex, Recording, Sample, Stack,
        about::{Counter, Epoch, Process, SizeClass, Source},
    },
    symbolize::{self, Frames, Symbolized, kernel},
    target::{self, Modules},
};

/// Names all frames and puts the recording together.
pub fn assemble(raw: RawRecording) -> Recording {
    let mut frames = Frames::default();
    let mut processes = raw.targets.iter().map(process);
    let process = processes.next().unwrap_or_default();
    let pid = process.pid;
    let ends = Ends { modules: &raw.modules, without_table: &raw.without_table };
    let stacks: Vec<Stack> = raw.parts.stacks.iter().map(|stack| named_stack(stack, &mut frames, &ends)).collect();
    let unwinding = ends.count(&raw.parts.stacks, &raw.parts.samples);
    let leaves: Vec<(LocationIndex, &str)> = raw
        .points
        .iter()
        .map(|probed| {
            let address = probed.point.instruction_address() & 0xffff_ffff_ffff;
            let leaf = Frame(u64::from(probed.module) << 48 | address);
            (frames.location(pid, leaf), probed.point.function.as_str())
        })
        .collect();
    let Symbolized { modules, mut functions, mut locations, .. } =
        symbolize::symbolize(&frames, &raw.modules, &raw.names, symbolize::Settings::default());
    name_leaves(&leaves, &mut functions, &mut locations);
    let mut samples: Vec<Sample> = raw
        .parts
        .samples
        .iter()
        .map(|sample| Sample {
            stack: sample.stack,
            process: sample.process,
            thread: sample.thread,
            thread_name: raw.parts.thread_names.get(sample.thread_name as usize).cloned().unwrap_or_default(),
            time_ns: sample.time_ns.saturating_sub(raw.start_ns),
            size: sample.size,
            interval: sample.interval,
            // CPU samples have none, and there are no counters then.
            counter: if sample.function == NO_COUNTER { 0 } else { sample.function },
            epoch: epoch_of(&raw.epochs, sample.time_ns.saturating_sub(raw.start_ns)),
            block: block(sample.fate, raw.start_ns),
        })
        .collect();
    // The ring buffer keeps the order of CPUs, not quite that of time.
    samples.sort_by_key(|sample| sample.time_ns);
    let counters = match raw.event {
        None => raw
            .points
            .iter()
            .zip(&raw.counters)
            .map(|(point, counters)| counter(point, counters, &raw.modules))
            .collect(),
        Some(event) => {
            event.counters().iter().zip(&raw.counters).map(|(name, counters)| of_kernel(name, counters)).collect()
        }
    };
    let about = About {
        tracer: env!("CARGO_PKG_VERSION").to_owned(),
        process,
        other_processes: processes.collect(),
        started_unix_ns: raw.started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64),
        duration_ns: raw.duration.as_nanos() as u64,
        ended: raw.ended,
        counters,
        thinned: raw.parts.thinned,
        losses: raw.losses,
        source: raw.event.map_or(Source::Allocations, KernelEvent::source),
        epochs: raw.epochs,
        cost: raw.cost,
        cpu: raw.cpu,
        live: raw.live,
        unwinding,
        notes: raw.notes,
    };
    Recording { about, modules, functions, locations, stacks, samples }
}

/// The epoch in whose window a sample was taken, by its time: the last window that began before. What was under way when a
/// window was closed belongs to it.
fn epoch_of(epochs: &[Epoch], time_ns: u64) -> u32 {
    let begun = epochs.partition_point(|epoch| epoch.start_ns <= time_ns);
    let has_begun = |epoch: &Epoch| epoch.window.length_ns > 0 && epoch.window.start_ns <= time_ns;
    epochs[..begun].iter().rposition(has_begun).unwrap_or(0) as u32
}

fn block(fate: Fate, start_ns: u64) -> Option<Block> {
    match fate {
        Fate::Unknown => None,
        Fate::InUse => Some(Block { released_ns: None, released_by: 0 }),
        Fate::Released { ns, by } => Some(Block { released_ns: Some(ns.saturating_sub(start_ns)), released_by: by }),
    }
}

fn process(target: &target::Process) -> Process {
    Process { pid: target.pid, name: target.name.clone(), executable: target.executable.to_string_lossy().into_owned() }
}

/// Calls probed functions what the counters call them. Debug information prefers names such as `__GI___libc_malloc`.
fn name_leaves(leaves: &[(LocationIndex, &str)], functions: &mut Vec<Function>, locations: &mut [Location]) {
    for (leaf, name) in leaves {
        let Some(location) = locations.get_mut(*leaf as usize) else { continue };
        let Some(line) = location.lines.last_mut() else { continue };
        let Some(known) = functions.get(line.function as usize) else { continue };
        let named = Function { name: (*name).to_owned(), ..known.clone() };
        line.function = match functions.iter().position(|function| *function == named) {
            Some(index) => index as u32,
            None => {
                functions.push(named);
                functions.len() as u32 - 1
            }
        };
    }
}

fn counter(probed: &Probed, counters: &ClassCounters, modules: &Modules) -> Counter {
    Counter {
        function: probed.point.function.clone(),
        module: path(modules, probed.module).to_owned(),
        family: probed.point.family.to_owned(),
        classes: classes(counters),
    }
}

/// The counter of an event of the kernel.
fn of_kernel(name: &str, counters: &ClassCounters) -> Counter {
    let (function, module) = (name.to_owned(), kernel::MODULE.to_owned());
    Counter { function, module, family: "kernel".to_owned(), classes: classes(counters) }
}

fn classes(counters: &ClassCounters) -> Vec<SizeClass> {
    (0u8..)
        .zip(counters)
        .filter(|(_, counter)| counter.calls > 0)
        .map(|(class, counter)| SizeClass { class, calls: counter.calls, bytes: counter.bytes })
        .collect()
}

fn named_stack(stack: &RawStack, frames: &mut Frames, ends: &Ends<'_>) -> Stack {
    Stack {
        frames: stack.frames.iter().map(|&frame| frames.location(stack.process, frame)).collect(),
        end: ends.of(stack),
        frame_pointer_frames: stack.frame_pointer_frames,
    }
}

fn path(modules: &Modules, number: u16) -> &str {
    modules.get(number).map_or("", |module| module.path.as_str())
}
