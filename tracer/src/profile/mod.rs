//! From a recording to a call tree and tables in which everything has its bytes, objects and samples.
//!
//! [`Profile::new`] is pure. Its cost is the number of frames of all distinct stacks, up to sorting.

pub mod name;
pub mod paths;
pub mod plumbing;
pub mod tables;
pub mod tree;

use crate::estimate::{Calibration, Exact, Interval, Measure, Totals};
use crate::recording::Recording;
pub use name::{Frame, NameIndex, Names};
use paths::Paths;
pub use tables::Row;
pub use tree::{Node, Tree};

/// Everything that outputs show.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Names of frames.
    pub names: Names,
    /// The call tree, root first.
    pub tree: Tree,
    /// Allocation sites: each stack counted at its nearest caller outside allocator and standard library (see
    /// [`plumbing`]). Most bytes first.
    pub sites: Vec<Row>,
    /// Functions with all that was allocated below them: each stack counted once for each distinct function in it.
    /// Most bytes first.
    pub functions: Vec<Row>,
    /// The weights.
    pub calibration: Calibration,
}

impl Profile {
    /// Builds all views of a recording.
    pub fn new(recording: &Recording) -> Self {
        let calibration = Calibration::new(recording);
        let names = Names::new(recording);
        let paths = Paths::new(recording, &names);
        let tree = Tree::new(&paths, &names, &calibration);
        let (sites, functions) = tables::build(recording, &paths, &names, &calibration);
        Self { names, tree, sites, functions, calibration }
    }

    /// Everything, attributed or not.
    pub fn total(&self) -> Measure {
        self.tree.nodes.first().map(|root| root.total).unwrap_or_default()
    }

    /// The exact totals, where they are known. [`Self::total`] has the same values then.
    pub fn exact(&self) -> Option<Exact> {
        self.calibration.exact()
    }

    /// What can be said of everything: exact, estimated, or a lower bound.
    pub fn totals(&self) -> Totals {
        self.calibration.totals()
    }

    /// The share of all bytes that a group has, in 0 ..= 1.
    pub fn share(&self, group: &Measure) -> f64 {
        let total = self.total().bytes.value;
        if total > 0.0 { group.bytes.value / total } else { 0.0 }
    }

    /// 95 % interval of that share.
    pub fn share_interval(&self, group: &Measure) -> Interval {
        self.calibration.share_interval(group)
    }

    /// 95 % interval of a group's bytes, see [`Calibration::bytes_interval`].
    pub fn bytes_interval(&self, group: &Measure) -> Interval {
        self.calibration.bytes_interval(group)
    }

    /// 95 % interval of a group's objects, see [`Calibration::objects_interval`].
    pub fn objects_interval(&self, group: &Measure) -> Interval {
        self.calibration.objects_interval(group)
    }
}

#[cfg(test)]
mod tests;
