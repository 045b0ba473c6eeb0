//! Regions: parts of a program that have a name, such as "websocket" or "logger". Each stack belongs to exactly one, so
//! regions add up to everything that samples speak for.

mod assign;
pub mod builtin;
pub mod file;
mod nodes;
pub mod rules;

pub use rules::{OTHER, RegionIndex, RuleError, Rules};

use super::name::Names;
use super::tree::Tree;
use crate::estimate::{Calibration, Measure};
use crate::recording::Recording;

/// The regions of a recording.
#[derive(Clone, Debug, Default)]
pub struct Regions {
    /// Their names: those of the rules, in the order of the rules, then [`OTHER`].
    pub names: Vec<String>,
    /// What each allocated: most bytes first, [`OTHER`] last.
    pub rows: Vec<RegionRow>,
    /// The region of each stack.
    pub of_stack: Vec<RegionIndex>,
    /// The region of each node of the call tree, where it nearly is of one region alone.
    pub of_node: Vec<Option<RegionIndex>>,
}

/// A region and what it allocated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegionRow {
    /// The region.
    pub region: RegionIndex,
    /// What it allocated.
    pub total: Measure,
}

impl Regions {
    /// Divides a recording by rules.
    pub fn new(recording: &Recording, rules: &Rules, names: &Names, tree: &Tree, calibration: &Calibration) -> Self {
        let of_stack = assign(recording, rules, names);
        let other = rules.names().len() as RegionIndex;
        let totals =
            calibration.sum(rules.names().len() + 1, |stack, groups| groups.add(of_stack[stack as usize].into()));
        let mut rows: Vec<RegionRow> = (0..).zip(totals).map(|(region, total)| RegionRow { region, total }).collect();
        rows.sort_by(|a, b| {
            let bytes = b.total.bytes.value.total_cmp(&a.total.bytes.value);
            (a.region == other).cmp(&(b.region == other)).then(bytes).then(a.region.cmp(&b.region))
        });
        let mut region_names = rules.names().to_vec();
        region_names.push(OTHER.to_owned());
        let of_node = nodes::regions_of(tree, &of_stack, calibration, region_names.len());
        Self { names: region_names, rows, of_stack, of_node }
    }

    /// A region's name.
    pub fn name(&self, region: RegionIndex) -> &str {
        self.names.get(usize::from(region)).map_or(OTHER, String::as_str)
    }
}

pub use assign::assign;

#[cfg(test)]
mod tests;
