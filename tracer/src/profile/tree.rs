//! The call tree.

use super::name::{Frame, Names};
use super::paths::Paths;
use crate::estimate::{Calibration, Measure};
use crate::recording::StackIndex;

/// A call tree in pre-order: a node's children follow it, in alphabetical order, each with its own subtree.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The nodes. The first is the root, `all`; it has no frame.
    pub nodes: Vec<Node>,
    /// The node that each stack of the recording ends at; the root for stacks without samples.
    pub leaves: Vec<u32>,
}

/// A node of the call tree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Node {
    /// Its function; `None` for the root.
    pub frame: Option<Frame>,
    /// Index of its parent; the root is its own.
    pub parent: u32,
    /// Calls between it and the root.
    pub depth: u32,
    /// All stacks that go through it.
    pub total: Measure,
    /// Bytes of the stacks that end at it.
    pub own_bytes: f64,
}

impl Tree {
    /// Builds the tree of all stacks that have samples. Costs the number of their frames, and the sorting.
    pub fn new(paths: &Paths, names: &Names, calibration: &Calibration) -> Self {
        let own = calibration.sum(paths.len(), |stack, groups| groups.add(stack));
        let sampled: Vec<StackIndex> = (0..).zip(&own).filter(|(_, m)| m.samples > 0).map(|(i, _)| i).collect();
        let Self { mut nodes, leaves } = Self::of_stacks(paths, sampled);
        for (&leaf, own) in leaves.iter().zip(&own) {
            nodes[leaf as usize].own_bytes += own.bytes.value;
        }

        let totals = calibration.sum(nodes.len(), |stack, groups| {
            let mut node = leaves[stack as usize];
            while node != 0 {
                groups.add(node);
                node = nodes[node as usize].parent;
            }
        });
        for (node, total) in nodes.iter_mut().zip(totals) {
            node.total = total;
        }
        let unattributed = calibration.unattributed_measure();
        nodes[0].total = calibration.attributed();
        nodes[0].total += unattributed;
        if unattributed.objects.value > 0.0 {
            let frame = Some(Frame::new(names.unattributed(), false));
            let own_bytes = unattributed.bytes.value;
            nodes.push(Node { frame, parent: 0, depth: 1, total: unattributed, own_bytes });
        }
        Self { nodes, leaves }
    }

    /// The tree of some stacks, without amounts.
    pub(super) fn of_stacks(paths: &Paths, mut stacks: Vec<StackIndex>) -> Self {
        stacks.sort_unstable_by_key(|&stack| paths.get(stack));
        let root = Node { frame: None, parent: 0, depth: 0, total: Measure::default(), own_bytes: 0.0 };
        let mut nodes = vec![root];
        let mut leaves = vec![0u32; paths.len()];
        // The nodes of the last path, root first, and the path itself.
        let mut open = vec![0u32];
        let mut last: &[Frame] = &[];
        for stack in stacks {
            let path = paths.get(stack);
            let shared = last.iter().zip(path).take_while(|(a, b)| a == b).count();
            open.truncate(shared + 1);
            for &frame in &path[shared..] {
                let parent = open.last().copied().unwrap_or_default();
                open.push(nodes.len() as u32);
                let depth = open.len() as u32 - 1;
                nodes.push(Node { frame: Some(frame), parent, depth, ..root });
            }
            leaves[stack as usize] = open.last().copied().unwrap_or_default();
            last = path;
        }
        Self { nodes, leaves }
    }
}
