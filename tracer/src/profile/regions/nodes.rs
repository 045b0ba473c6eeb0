//! Which nodes of the call tree lie in a region.

use super::rules::RegionIndex;
use crate::estimate::Calibration;
use crate::profile::tree::Tree;

/// Share of a node's bytes that a region needs to own it.
const NEARLY_ALL: f64 = 0.9;

/// The region of each node, if [`NEARLY_ALL`] of its bytes are of that region. Costs regions x nodes.
pub fn regions_of(
    tree: &Tree,
    of_stack: &[RegionIndex],
    calibration: &Calibration,
    regions: usize,
) -> Vec<Option<RegionIndex>> {
    let own = calibration.sum(of_stack.len(), |stack, groups| groups.add(stack));
    let mut of_node = vec![None; tree.nodes.len()];
    let mut below = vec![0.0; tree.nodes.len()];
    for region in 0..regions as RegionIndex {
        below.fill(0.0);
        for ((&of, &leaf), own) in of_stack.iter().zip(&tree.leaves).zip(&own) {
            if of == region {
                below[leaf as usize] += own.bytes.value;
            }
        }
        // Callees stand behind their callers.
        for (i, node) in tree.nodes.iter().enumerate().rev() {
            if below[i] > 0.0 && below[i] >= NEARLY_ALL * node.total.bytes.value {
                of_node[i] = Some(region);
            }
            if i > 0 {
                below[node.parent as usize] += below[i];
            }
        }
    }
    of_node
}
