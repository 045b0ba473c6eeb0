//! Two recordings' names and stacks as those of one.

use crate::recording::{
    About, FunctionIndex, Line, Location, LocationIndex, ModuleIndex, Recording, Stack, StackIndex,
};

/// A recording without samples that has the stacks of `before`, then those of `after`. Also returns where the latter
/// begin. Functions of the same name become one where names are made, see [`crate::profile::Names`].
pub fn merged(before: &Recording, after: &Recording) -> (Recording, StackIndex) {
    let modules = before.modules.len() as ModuleIndex;
    let functions = before.functions.len() as FunctionIndex;
    let locations = before.locations.len() as LocationIndex;
    let moved_line = |line: &Line| Line { function: line.function + functions, line: line.line };
    let moved_location = |location: &Location| Location {
        module: location.module.map(|module| module + modules),
        address: location.address,
        lines: location.lines.iter().map(moved_line).collect(),
    };
    let moved_stack = |stack: &Stack| Stack {
        frames: stack.frames.iter().map(|frame| frame + locations).collect(),
        end: stack.end.clone(),
        frame_pointer_frames: stack.frame_pointer_frames,
    };
    let about = About { source: before.about.source, ..About::default() };
    let merged = Recording {
        about,
        modules: [&before.modules[..], &after.modules].concat(),
        functions: [&before.functions[..], &after.functions].concat(),
        locations: before.locations.iter().cloned().chain(after.locations.iter().map(moved_location)).collect(),
        stacks: before.stacks.iter().cloned().chain(after.stacks.iter().map(moved_stack)).collect(),
        ..Recording::default()
    };
    (merged, before.stacks.len() as StackIndex)
}
