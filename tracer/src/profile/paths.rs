//! Stacks as paths from the root: inlined calls expanded, truncated ones under a frame that says why.

use super::name::{Frame, Names};
use crate::recording::{Recording, StackEnd, StackIndex};

/// The paths of all stacks of a recording, root first.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    frames: Vec<Frame>,
    /// Where each stack's path begins; one more for the end.
    starts: Vec<usize>,
    /// How many frames of each path belong to its leaf location: the allocation function and what is inlined into it.
    leaf_frames: Vec<u32>,
}

impl Paths {
    /// Expands all stacks. `parts`: the part of each, where they are told apart; its frame comes first.
    pub fn new(recording: &Recording, names: &Names, parts: &[u32]) -> Self {
        let mut paths = Self { starts: vec![0], ..Self::default() };
        for (index, stack) in recording.stacks.iter().enumerate() {
            paths.frames.extend(parts.get(index).map(|part| Frame::new(names.of_part(*part), false)));
            if let StackEnd::Truncated(reason) = &stack.end {
                paths.frames.push(Frame::new(names.of_truncation(reason), false));
            }
            let mut leaf = 0;
            for &location in stack.frames.iter().rev() {
                let lines = recording.locations.get(location as usize).map_or(&[][..], |l| &l.lines);
                let outermost = lines.len().saturating_sub(1);
                let frames = lines.iter().enumerate().rev();
                paths
                    .frames
                    .extend(frames.map(|(i, line)| Frame::new(names.of_function(line.function), i < outermost)));
                leaf = lines.len() as u32;
            }
            paths.starts.push(paths.frames.len());
            paths.leaf_frames.push(leaf);
        }
        paths
    }

    /// How many stacks there are.
    pub fn len(&self) -> usize {
        self.leaf_frames.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.leaf_frames.is_empty()
    }

    /// The path of a stack, root first.
    pub fn get(&self, stack: StackIndex) -> &[Frame] {
        match self.starts.get(stack as usize..stack as usize + 2) {
            Some(&[start, end]) => &self.frames[start..end],
            _ => &[],
        }
    }

    /// How many frames at the end of a path are the allocation function itself.
    pub fn leaf_frames(&self, stack: StackIndex) -> usize {
        self.leaf_frames.get(stack as usize).map_or(0, |&n| n as usize)
    }
}
