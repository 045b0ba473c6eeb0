//! How walks ended, for people: why, where, and what can be done about it.

use std::collections::HashMap;

use tracer_ebpf::abi::sample::WalkStatus;

use super::{samples::StoredSample, stacks::RawStack, without_table::WithoutTable};
use crate::{
    recording::{
        StackEnd,
        about::{Truncation, Unwinding},
    },
    symbolize::Unresolved,
    target::{Module, Modules},
};

/// What is known of the modules in which walks ended.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'a> {
    /// All modules.
    pub modules: &'a Modules,
    /// Those that have no table, though their files are open.
    pub without_table: &'a HashMap<u16, WithoutTable>,
}

/// Code for which there is no table is walked by frame pointer. What comes after a frame that kept none is found astray.
const KEEP_FRAME_POINTERS: &str = "code that is made at run time or has no unwind information must keep frame pointers: \
     java -XX:+PreserveFramePointer, -fno-omit-frame-pointer";

impl Ends<'_> {
    /// The end of a stack.
    pub fn of(&self, stack: &RawStack) -> StackEnd {
        if stack.status == WalkStatus::Complete {
            return StackEnd::Complete;
        }
        let (reason, module) = (reason(stack.status), self.module(stack));
        StackEnd::Truncated(match module.rsplit('/').next().unwrap_or(module) {
            "" => reason.to_owned(),
            module => format!("{reason} in {module}"),
        })
    }

    /// Counts samples by how complete their stacks are.
    pub fn count(&self, stacks: &[RawStack], samples: &[StoredSample]) -> Unwinding {
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
                    let (reason, module, hint) = (reason(status), self.module(stack), self.hint(stack));
                    let is_same = |known: &&mut Truncation| {
                        (known.reason.as_str(), known.module.as_str(), known.hint.as_str()) == (reason, module, &hint)
                    };
                    match unwinding.truncated.iter_mut().find(is_same) {
                        Some(known) => known.samples += samples,
                        None => {
                            let (reason, module) = (reason.to_owned(), module.to_owned());
                            unwinding.truncated.push(Truncation { reason, module, samples, hint });
                        }
                    }
                }
            }
        }
        unwinding.truncated.sort_by(|a, b| b.samples.cmp(&a.samples).then_with(|| a.module.cmp(&b.module)));
        unwinding
    }

    /// The path of the module in which a walk ended; empty where that was in none.
    fn module(&self, stack: &RawStack) -> &str {
        self.modules.get(stack.stopped_in).map_or("", |module| module.path.as_str())
    }

    /// What the user can do about it; empty where nothing is known.
    fn hint(&self, stack: &RawStack) -> String {
        let hint = match stack.status {
            WalkStatus::NoMapping => {
                "JIT code must keep frame pointers: java -XX:+PreserveFramePointer, node --perf-basic-prof"
            }
            WalkStatus::NoTable => match self.modules.get(stack.stopped_in).map(Module::facts) {
                Some(Err(missing)) => Unresolved::File(missing).hint(),
                _ => return self.without_table.get(&stack.stopped_in).map(WithoutTable::hint).unwrap_or_default(),
            },
            WalkStatus::NoInfo => "rebuild the module with -fasynchronous-unwind-tables",
            WalkStatus::NotAbove | WalkStatus::Unreadable if ended_by_frame_pointer(stack) => KEEP_FRAME_POINTERS,
            WalkStatus::TooDeep => "raise --max-depth (up to 1024)",
            WalkStatus::Corrupt => "this is a bug in tracer; please report it",
            _ => "",
        };
        hint.to_owned()
    }
}

/// Whether the last frame was found by frame pointer, or is one that has no table.
fn ended_by_frame_pointer(stack: &RawStack) -> bool {
    stack.frames.last().is_some_and(|frame| frame.by_frame_pointer() || frame.module() == 0)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use tracer_ebpf::abi::sample::Frame;

    use super::*;
    use crate::record::live::Fate;
    use crate::unwind::{BuildError, TableMemoryError};

    const BY_FRAME_POINTER: u64 = 1 << 63;

    /// A stack of one frame in a module that ended there.
    fn stack(status: WalkStatus, module: u16) -> RawStack {
        RawStack {
            process: 0,
            frames: [Frame(u64::from(module) << 48 | 0x1000)].into(),
            status,
            stopped_in: module,
            frame_pointer_frames: 0,
        }
    }

    /// This program as module 1, and a file that is not ELF as module 2.
    fn modules() -> Modules {
        let mut modules = Modules::new();
        let other = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(modules.add_file(&std::env::current_exe().unwrap()), 1);
        assert_eq!(modules.add_file(other.path()), 2);
        modules
    }

    fn hint(stack: &RawStack, without_table: Option<WithoutTable>) -> String {
        let without_table = without_table.map(|reason| (1, reason)).into_iter().collect();
        Ends { modules: &modules(), without_table: &without_table }.hint(stack)
    }

    #[test]
    fn every_end_has_a_reason_of_its_own_and_names_its_module() {
        let (modules, none) = (modules(), HashMap::new());
        let ends = Ends { modules: &modules, without_table: &none };
        let name = std::env::current_exe().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let mut reasons = BTreeSet::new();
        for status in WalkStatus::ALL {
            match (status, ends.of(&stack(status, 1)), ends.of(&stack(status, 0))) {
                (WalkStatus::Complete, inside, outside) => {
                    assert_eq!((inside, outside), (StackEnd::Complete, StackEnd::Complete));
                }
                (_, StackEnd::Truncated(inside), StackEnd::Truncated(outside)) => {
                    assert_eq!(inside, format!("{outside} in {name}"));
                    assert!(outside.len() > 5 && reasons.insert(outside));
                }
                (_, inside, outside) => panic!("{status:?}: {inside:?}, {outside:?}"),
            }
        }
        assert_eq!(reasons.len(), WalkStatus::ALL.len() - 1);
    }

    #[test]
    fn hints_name_what_helps() {
        for (status, helps) in [
            (WalkStatus::NoMapping, "PreserveFramePointer"),
            (WalkStatus::NoInfo, "-fasynchronous-unwind-tables"),
            (WalkStatus::TooDeep, "--max-depth"),
            (WalkStatus::Corrupt, "report"),
        ] {
            let hint = hint(&stack(status, 1), None);
            assert!(hint.contains(helps), "{status:?}: {hint}");
        }
        // These pass by themselves, or cannot be helped.
        for status in [WalkStatus::Stale, WalkStatus::NoProcess, WalkStatus::Trapped, WalkStatus::Unsupported] {
            assert_eq!(hint(&stack(status, 1), None), "", "{status:?}");
        }
        // Tables are read from the module's own file only.
        assert!(!hint(&stack(WalkStatus::NoInfo, 1), None).contains("debug"));
    }

    #[test]
    fn memory_is_blamed_only_where_it_was_short() {
        let at = stack(WalkStatus::NoTable, 1);
        let full = WithoutTable::NoRoom(TableMemoryError { needed: 5_000_000, free: 1000, limit: 1 << 20 });
        let of_full = hint(&at, Some(full));
        assert!(of_full.starts_with("raise --unwind-memory") && of_full.contains("5000000"), "{of_full}");
        let broken = WithoutTable::NotBuilt(Arc::new(BuildError::Truncated { name: ".eh_frame" }));
        for reason in [broken, WithoutTable::Changed] {
            let hint = hint(&at, Some(reason));
            assert!(!hint.is_empty() && !hint.contains("--unwind-memory"), "{hint}");
        }
        // A file that could not be read has no table either.
        assert_eq!(hint(&stack(WalkStatus::NoTable, 2), None), "");
    }

    #[test]
    fn a_walk_astray_after_frame_pointers_is_told_from_others() {
        for status in [WalkStatus::NotAbove, WalkStatus::Unreadable] {
            assert_eq!(hint(&stack(status, 1), None), "");
            let mut found = stack(status, 1);
            found.frames[0].0 |= BY_FRAME_POINTER;
            for stack in [found, stack(status, 0)] {
                let hint = hint(&stack, None);
                assert!(hint.contains("frame pointers") && hint.contains("-fno-omit-frame-pointer"), "{hint}");
            }
        }
    }

    #[test]
    fn samples_are_counted_by_how_their_stacks_end() {
        let assisted = RawStack { frame_pointer_frames: 2, ..stack(WalkStatus::Complete, 1) };
        let other_place = RawStack { frames: [Frame(1 << 48)].into(), ..stack(WalkStatus::NoInfo, 1) };
        let astray = stack(WalkStatus::NotAbove, 1);
        let mut found = astray.clone();
        found.frames[0].0 |= BY_FRAME_POINTER;
        let (complete, no_info) = (stack(WalkStatus::Complete, 1), stack(WalkStatus::NoInfo, 1));
        let stacks = [complete, assisted, no_info, other_place, astray, found];
        let sample = |stack| StoredSample {
            stack,
            thread_name: 0,
            process: 1,
            thread: 1,
            function: 0,
            time_ns: 0,
            size: 1,
            interval: 1,
            fate: Fate::Unknown,
        };
        // The last is of no stack.
        let samples = [0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 4, 5, 5, 6].map(sample);
        let (modules, none) = (modules(), HashMap::new());
        let unwinding = Ends { modules: &modules, without_table: &none }.count(&stacks, &samples);
        assert_eq!((unwinding.complete, unwinding.assisted), (3, 2));
        let truncated: Vec<_> = unwinding.truncated.iter().map(|t| (t.samples, t.hint.is_empty())).collect();
        // One place of two stacks; two that differ in what helps.
        assert_eq!(truncated, [(5, false), (2, false), (1, true)]);
        let path = std::env::current_exe().unwrap();
        assert!(unwinding.truncated.iter().all(|truncation| *truncation.module == *path.to_str().unwrap()));
    }
}
