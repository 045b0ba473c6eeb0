//! Recordings made up for tests and benchmarks: a small one of a program that is readable, and large ones at random.

pub mod program;
pub mod random;
pub mod simulation;

use std::collections::HashMap;

use tracer::recording::{
    Function, FunctionIndex, Line, Location, LocationIndex, Recording, Stack, StackEnd, StackIndex,
};

pub use random::Random;

/// Puts a recording together from stacks written as text.
#[derive(Default)]
pub struct Builder {
    pub recording: Recording,
    functions: HashMap<String, FunctionIndex>,
    locations: HashMap<String, LocationIndex>,
}

impl Builder {
    /// Adds a stack: frames root first, parted by ` > `; `outer + inner` is a call inlined into `outer`. A leading
    /// `? reason` truncates it. Frames that end in `!` are found by frame pointer and lie in no module.
    pub fn stack(&mut self, text: &str) -> StackIndex {
        let mut end = StackEnd::Complete;
        let mut frames = Vec::new();
        let mut frame_pointer_frames = 0;
        for part in text.split(" > ") {
            match part.strip_prefix("? ") {
                Some(reason) => end = StackEnd::Truncated(reason.into()),
                None => {
                    frame_pointer_frames += u32::from(part.ends_with('!'));
                    frames.push(self.location(part));
                }
            }
        }
        frames.reverse();
        self.recording.stacks.push(Stack { frames, end, frame_pointer_frames });
        self.recording.stacks.len() as StackIndex - 1
    }

    fn location(&mut self, text: &str) -> LocationIndex {
        if let Some(&index) = self.locations.get(text) {
            return index;
        }
        let index = self.recording.locations.len() as LocationIndex;
        let jit = text.ends_with('!');
        let innermost_first = text.trim_end_matches('!').rsplit(" + ");
        let lines = innermost_first
            .zip(10..)
            .map(|(name, line)| Line { function: self.function(name), line: if jit { 0 } else { line } })
            .collect();
        let module = (!jit).then(|| u32::from(!text.contains("::") && !text.starts_with("main")));
        self.recording.locations.push(Location { module, address: 0x1000 + u64::from(index) * 0x24, lines });
        self.locations.insert(text.into(), index);
        index
    }

    fn function(&mut self, name: &str) -> FunctionIndex {
        if let Some(&index) = self.functions.get(name) {
            return index;
        }
        let index = self.recording.functions.len() as FunctionIndex;
        let mangled = name.contains("::");
        self.recording.functions.push(Function {
            name: name.into(),
            system_name: if mangled { format!("_R{index}{}", name.len()) } else { name.into() },
            file: if mangled { "src/game.rs".into() } else { String::new() },
        });
        self.functions.insert(name.into(), index);
        index
    }
}
