//! Everything that is asked about: which groups each stack of both recordings belongs to.

use std::ops::Range;

use super::half::Grouping;
use crate::profile::name::{NameIndex, Names};
use crate::profile::paths::Paths;
use crate::profile::regions::RegionIndex;
use crate::profile::tables::{Distinct, sites};
use crate::profile::tree::Tree;
use crate::recording::{Recording, StackIndex};

/// Share of the picture that a node must have to be asked about; below, it is not drawn.
const MIN_SHARE: f64 = 1e-4;

/// The groups, in this order: everything; regions; sites and functions by name; nodes that are drawn.
pub struct Groups<'a> {
    paths: &'a Paths,
    tree: &'a Tree,
    region_of: &'a [RegionIndex],
    site_of: Vec<Option<NameIndex>>,
    distinct: Distinct,
    of_node: Vec<Option<u32>>,
    regions: usize,
    names: usize,
    nodes: usize,
}

impl<'a> Groups<'a> {
    /// The group of everything.
    pub const TOTAL: usize = 0;

    /// `recording`: what the paths are of. `regions`: how many there are.
    pub fn new(
        recording: &Recording,
        paths: &'a Paths,
        names: &Names,
        tree: &'a Tree,
        region_of: &'a [RegionIndex],
        regions: usize,
    ) -> Self {
        let first = 1 + regions + 2 * names.len();
        let mut nodes = 0;
        let of_node = drawn(tree).into_iter().map(|drawn| {
            drawn.then(|| {
                nodes += 1;
                (first + nodes - 1) as u32
            })
        });
        let of_node = of_node.collect();
        let site_of = sites(recording, paths, names);
        let distinct = Distinct::new(names);
        Self { paths, tree, region_of, site_of, distinct, of_node, regions, names: names.len(), nodes }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.functions().end + self.nodes
    }

    /// The groups of regions.
    pub fn regions(&self) -> Range<usize> {
        1..1 + self.regions
    }

    /// The groups of sites, by name.
    pub fn sites(&self) -> Range<usize> {
        let start = self.regions().end;
        start..start + self.names
    }

    /// The groups of functions, by name.
    pub fn functions(&self) -> Range<usize> {
        let start = self.sites().end;
        start..start + self.names
    }

    /// The groups that share a level of significance.
    pub fn families(&self) -> [Range<usize>; 3] {
        let (few, tables) = (self.regions().end, self.functions().end);
        [0..few, few..tables, tables..self.len()]
    }

    /// The group of each node, where it has one.
    pub fn of_node(&self) -> &[Option<u32>] {
        &self.of_node
    }
}

impl Grouping for Groups<'_> {
    fn visit(&mut self, stack: StackIndex, add: &mut dyn FnMut(u32)) {
        add(Self::TOTAL as u32);
        let [regions, sites, functions] =
            [self.regions(), self.sites(), self.functions()].map(|range| range.start as u32);
        add(regions + u32::from(self.region_of[stack as usize]));
        if let Some(site) = self.site_of[stack as usize] {
            add(sites + site);
        }
        self.distinct.visit(stack, self.paths, |function| add(functions + function));
        let mut node = self.tree.leaves[stack as usize];
        while node != 0 {
            if let Some(group) = self.of_node[node as usize] {
                add(group);
            }
            node = self.tree.nodes[node as usize].parent;
        }
    }
}

/// Which nodes are wide enough to be drawn.
fn drawn(tree: &Tree) -> Vec<bool> {
    let mut widths: Vec<f64> = tree.nodes.iter().map(|node| node.own_bytes).collect();
    for (i, node) in tree.nodes.iter().enumerate().skip(1).rev() {
        widths[node.parent as usize] += widths[i];
    }
    let min = widths.first().copied().unwrap_or_default() * MIN_SHARE;
    // The root is everything, which is asked about already.
    widths.iter().enumerate().map(|(i, width)| i > 0 && *width >= min && *width > 0.0).collect()
}
