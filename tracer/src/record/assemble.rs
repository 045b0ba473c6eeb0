//! A raw recording, named: what is written to disk.

use std::time::UNIX_EPOCH;

use tracer_ebpf::abi::sample::{Frame, NO_COUNTER, WalkStatus};

use super::{discover::Probed, live::Fate, raw::RawRecording, samples::StoredSample, stacks::RawStack};
use crate::{
    probe::{counters::ClassCounters, kernel_event::KernelEvent},
    recording::{
        About, Block, Function, Location, LocationIndex, Recording, Sample, Stack, StackEnd,
        about::{Counter, Epoch, Process, SizeClass, Source, Truncation, Unwinding},
    },
    symbolize::{self, Frames, Symbolized, Unresolved, kernel},
    target::{self, Module, Modules},
};

/// Names all frames and puts the recording together.
pub fn assemble(raw: RawRecording) -> Recording {
    let mut frames = Frames::default();
    let mut processes = raw.targets.iter().map(process);
    let process = processes.next().unwrap_or_default();
    let pid = process.pid;
    let stacks: Vec<Stack> =
        raw.parts.stacks.iter().map(|stack| named_stack(stack, &mut frames, &raw.modules)).collect();
    let unwinding = unwinding(&raw.parts.stacks, &raw.parts.samples, &raw.modules);
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

fn named_stack(stack: &RawStack, frames: &mut Frames, modules: &Modules) -> Stack {
    let end = match stack.status {
        WalkStatus::Complete => StackEnd::Complete,
        status => {
            let module = short_name(path(modules, stack.stopped_in));
            StackEnd::Truncated(match module {
                "" => reason(status).to_owned(),
                module => format!("{} in {module}", reason(status)),
            })
        }
    };
    Stack {
        frames: stack.frames.iter().map(|&frame| frames.location(stack.process, frame)).collect(),
        end,
        frame_pointer_frames: stack.frame_pointer_frames,
    }
}

/// Counts samples by how complete their stacks are.
fn unwinding(stacks: &[RawStack], samples: &[StoredSample], modules: &Modules) -> Unwinding {
    let mut by_stack = vec![0u64; stacks.len()];
    for sample in samples {
        if let Some(count) = by_stack.get_mut(sample.stack as usize) {
            *count += 1;
        }
    }
    let mut unwinding = Unwinding::default();
    for (stack, samples) in stacks.iter().zip(by_stack) {
        match stack.status {
            WalkStatus::Complete if stack.frame_pointer_frames == 0 => unwinding.complete += samples,
            WalkStatus::Complete => unwinding.assisted += samples,
            status => {
                let (text, module) = (reason(status), path(modules, stack.stopped_in));
                match unwinding.truncated.iter_mut().find(|known| known.reason == text && known.module == module) {
                    Some(known) => known.samples += samples,
                    None => unwinding.truncated.push(Truncation {
                        reason: text.to_owned(),
                        module: module.to_owned(),
                        samples,
                        hint: hint(status, modules.get(stack.stopped_in)).to_owned(),
                    }),
                }
            }
        }
    }
    unwinding.truncated.sort_by(|a, b| b.samples.cmp(&a.samples).then_with(|| a.module.cmp(&b.module)));
    unwinding
}

fn path(modules: &Modules, number: u16) -> &str {
    modules.get(number).map_or("", |module| module.path.as_str())
}

fn short_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Why a walk ended early, for people.
fn reason(status: WalkStatus) -> &'static str {
    match status {
        WalkStatus::Complete => "complete",
        WalkStatus::NoMapping => "caller in memory that is not known to hold code",
        WalkStatus::NoTable => "unwind table not loaded",
        WalkStatus::NoInfo => "no unwind information",
        WalkStatus::Unsupported => "unwind rule of an unsupported form",
        WalkStatus::Unreadable => "stack memory unreadable",
        WalkStatus::NotAbove => "caller's frame not above its callee's",
        WalkStatus::TooDeep => "deeper than --max-depth",
        WalkStatus::Corrupt => "unwind table inconsistent",
        WalkStatus::Stale => "mappings being read again",
        WalkStatus::NoProcess => "process not known yet",
        WalkStatus::Trapped => "inside the trap of a probe",
    }
}

const FRAME_POINTERS: &str =
    "JIT code must keep frame pointers: java -XX:+PreserveFramePointer, node --perf-basic-prof";

/// What the user can do about it. `module`: where the walk ended.
fn hint(status: WalkStatus, module: Option<&Module>) -> &'static str {
    match status {
        WalkStatus::NoMapping => FRAME_POINTERS,
        // In code made at run time.
        WalkStatus::Unreadable | WalkStatus::NotAbove if module.is_none() => FRAME_POINTERS,
        WalkStatus::NoTable => match module.map(Module::facts) {
            Some(Err(missing)) => Unresolved::File(missing).hint(),
            _ => "raise --unwind-memory",
        },
        WalkStatus::NoInfo => "rebuild the module with -fasynchronous-unwind-tables, or install its debug package",
        WalkStatus::TooDeep => "raise --max-depth (up to 1024)",
        WalkStatus::Corrupt => "this is a bug in tracer; please report it",
        _ => "",
    }
}
