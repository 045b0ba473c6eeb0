//! Which function a stack is put down to: the nearest one that is neither the allocator's nor the standard library's nor the
//! kernel's.

use super::name::{NameIndex, NameKind, Names};
use super::paths::Paths;
use super::plumbing::{is_allocator, is_allocator_module, is_c_library, is_plumbing};
use crate::recording::{Recording, StackIndex};

/// See the module.
#[derive(Clone, Debug)]
pub struct Sites<'a> {
    names: &'a Names,
    paths: &'a Paths,
    /// By name.
    plumbing: Vec<bool>,
    /// By name.
    allocator: Vec<bool>,
    /// Leaves are allocation functions.
    is_called: bool,
}

impl<'a> Sites<'a> {
    /// Looks at every name once.
    pub fn new(recording: &Recording, paths: &'a Paths, names: &'a Names) -> Self {
        let texts = || (0..names.len() as NameIndex).map(|name| names.text(name));
        let mut allocator: Vec<bool> = texts().map(is_allocator).collect();
        mark(&mut allocator, recording, names, is_allocator_module);
        let mut plumbing: Vec<bool> = texts().map(is_plumbing).collect();
        let is_called = recording.about.source.is_allocations();
        if !is_called {
            mark(&mut plumbing, recording, names, is_c_library);
        }
        Self { names, paths, plumbing, allocator, is_called }
    }

    /// The function that a stack is put down to; where all are plumbing, the outermost one. Allocations are put down to the
    /// innermost caller of the allocation function that is no plumbing; all else to the innermost function that is none, and
    /// where the stack goes through the allocator, to a caller of that.
    pub fn of(&self, stack: StackIndex) -> Option<NameIndex> {
        let path = self.paths.get(stack);
        let candidates = if self.is_called {
            path.len() - self.paths.leaf_frames(stack).min(path.len())
        } else {
            self.allocator_frame(stack).unwrap_or(path.len())
        };
        let functions =
            || path.iter().map(|frame| frame.name()).filter(|&name| self.names.kind(name) == NameKind::Function);
        let callers = path[..candidates].iter().rev().map(|frame| frame.name());
        let callers = callers.filter(|&name| self.names.kind(name) == NameKind::Function);
        callers.into_iter().find(|&name| !self.plumbing[name as usize]).or_else(|| functions().next())
    }

    /// Whether a stack goes through the allocator.
    pub fn is_in_allocator(&self, stack: StackIndex) -> bool {
        self.allocator_frame(stack).is_some()
    }

    /// Where in its path a stack enters the allocator.
    fn allocator_frame(&self, stack: StackIndex) -> Option<usize> {
        self.paths.get(stack).iter().position(|frame| self.allocator[frame.name() as usize])
    }
}

/// Marks all names of functions in some modules.
fn mark(of_names: &mut [bool], recording: &Recording, names: &Names, is_wanted: impl Fn(&str) -> bool) {
    let modules: Vec<bool> = recording.modules.iter().map(|module| is_wanted(&module.path)).collect();
    let wanted =
        |module: Option<u32>| module.and_then(|module| modules.get(module as usize)).is_some_and(|wanted| *wanted);
    for line in
        recording.locations.iter().filter(|location| wanted(location.module)).flat_map(|location| &location.lines)
    {
        if let Some(known) = of_names.get_mut(names.of_function(line.function) as usize) {
            *known = true;
        }
    }
}
