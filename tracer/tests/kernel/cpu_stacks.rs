//! A tick finds a thread at any instruction: its stack is right wherever that is.

use tracer::{
    record::assemble::assemble,
    recording::{KERNEL_MARK, Recording, StackEnd},
};

use crate::{
    cpu::{cpu, names, run},
    recording::alone,
};

/// What the stack of every program's first thread begins with.
const START: [&str; 4] = ["_start", "__libc_start_main", "__libc_start_call_main", "main"];

/// How deep `call_much` of `cpu.c` goes.
const LEVELS: usize = 10;

/// Every complete stack comes from `main`, and nothing stands in it that is not called where it stands: in a mode of `cpu.c`, a
/// function `mode` calls each spender, that calls `spend`, and that calls what the spender spends its time with.
pub fn assert_callers(recording: &Recording, mode: &str, spenders: &[(&str, &str)]) {
    let mut spending = 0;
    for sample in &recording.samples {
        if recording.stacks[sample.stack as usize].end != StackEnd::Complete {
            continue;
        }
        let names = names(recording, sample.stack);
        let path: Vec<&str> = names.iter().rev().filter(|name| !name.ends_with(KERNEL_MARK)).copied().collect();
        assert!(path.starts_with(&START), "{path:?}");
        let is_work = |name: &&str| spenders.iter().any(|(_, work)| work == name);
        match path[START.len()..] {
            [first, spender, ref below @ ..] if spenders.iter().any(|(name, _)| *name == spender) => {
                assert_eq!(first, mode, "{path:?}");
                spending += 1;
                let [spend, ref work @ ..] = *below else { continue };
                assert_eq!(spend, "spend", "{path:?}");
                let [work, ref leaf @ ..] = *work else { continue };
                assert!(!is_work(&work) || spenders.contains(&(spender, work)), "{path:?}");
                assert!(!leaf.iter().any(|name| is_work(name)), "{path:?}");
            }
            // Between them, and at the program's begin and end.
            ref other => assert!(!other.iter().any(|name| is_work(name) || *name == "spend"), "{path:?}"),
        }
    }
    println!("{spending} of {} samples are of callers that are known", recording.samples.len());
    assert!(spending * 10 > recording.samples.len() * 9);
}

/// Where a frame is being made or taken down, a rule that holds one instruction too long or too short gives a wrong caller.
#[test]
fn stacks_are_right_at_every_instruction_of_a_call() {
    let Some(_guard) = alone() else { return };
    let (raw, _) = run("calls", cpu(999));
    let recording = assemble(raw);
    assert_callers(&recording, "calls", &[("in_calls", "call_much")]);
    let mut nested = 0;
    for sample in &recording.samples {
        let names = names(&recording, sample.stack);
        let end = &recording.stacks[sample.stack as usize].end;
        let levels = names.iter().filter(|name| **name == "nested").count();
        if levels > 0 {
            nested += 1;
            assert_eq!(*end, StackEnd::Complete, "{names:?}");
            let callees =
                names.iter().skip_while(|name| name.ends_with(KERNEL_MARK)).take_while(|name| **name == "nested");
            assert_eq!(callees.count(), levels, "{names:?}");
            assert!(levels <= LEVELS && names.contains(&"call_much"), "{names:?}");
        }
    }
    println!("{nested} of {} samples are in nested calls", recording.samples.len());
    assert!(nested * 2 > recording.samples.len(), "calls were hardly met");
}

#[test]
fn stacks_go_through_the_vdso() {
    let Some(_guard) = alone() else { return };
    let (raw, _) = run("clocks", cpu(499));
    let recording = assemble(raw);
    assert_callers(&recording, "clocks", &[("in_vdso", "read_clock")]);
    let mut met = 0;
    for sample in recording.samples.iter().filter(|sample| leaf_module(&recording, sample.stack) == Some("[vdso]")) {
        let names = names(&recording, sample.stack);
        let stack = &recording.stacks[sample.stack as usize];
        // By the vdso's own table.
        assert_eq!((&stack.end, stack.frame_pointer_frames), (&StackEnd::Complete, 0), "{names:?}");
        assert!(names.contains(&"in_vdso"), "{names:?}");
        met += 1;
    }
    println!("{met} of {} samples are in the vdso", recording.samples.len());
    assert!(met * 4 > recording.samples.len(), "the vdso was hardly met");
}

/// The file in which a thread was.
fn leaf_module(recording: &Recording, stack: u32) -> Option<&str> {
    let leaf = *recording.stacks[stack as usize].frames.first()?;
    let module = recording.locations[leaf as usize].module?;
    Some(&recording.modules[module as usize].path)
}
