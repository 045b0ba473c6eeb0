//! The call trees of two recordings in one.

use super::half::Half;
use crate::profile::name::{Frame, Names};
use crate::profile::paths::Paths;
use crate::profile::tree::{Node, Tree};

/// Own bytes of all nodes together. Only their proportions matter: the picture has whole numbers, and rates may be small.
const WHOLE: f64 = 1e12;

/// The tree of all stacks that have samples in either recording. A node's own bytes are the larger of both rates: what
/// has gone is as wide as what has come. Also returns both rates of each node's own bytes.
pub fn of_both(paths: &Paths, names: &Names, halves: &[Half<'_>; 2]) -> (Tree, Vec<[f64; 2]>) {
    let own = halves.each_ref().map(|half| half.own_rates());
    let stacks = own.iter().flatten().filter(|(_, bytes)| *bytes > 0.0).map(|(stack, _)| *stack).collect();
    let mut tree = Tree::of_stacks(paths, stacks);
    let mut rates = vec![[0.0f64; 2]; tree.nodes.len()];
    for (half, own) in own.iter().enumerate() {
        for &(stack, bytes) in own {
            rates[tree.leaves[stack as usize] as usize][half] += bytes;
        }
    }
    let unattributed = halves.each_ref().map(Half::unattributed_rate);
    if unattributed != [0.0, 0.0] {
        let frame = Some(Frame::new(names.unattributed(), false));
        tree.nodes.push(Node { frame, parent: 0, depth: 1, total: Default::default(), own_bytes: 0.0 });
        rates.push(unattributed);
    }
    let larger = |rates: &[f64; 2]| rates[0].max(rates[1]);
    let whole: f64 = rates.iter().map(larger).sum();
    for (node, rates) in tree.nodes.iter_mut().zip(&rates) {
        node.own_bytes = if whole > 0.0 { larger(rates) / whole * WHOLE } else { 0.0 };
    }
    (tree, rates)
}
