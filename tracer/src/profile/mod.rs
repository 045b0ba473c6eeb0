//! From a recording to a call tree and tables in which everything has its bytes, objects and samples.
//!
//! [`Profile::new`] is pure. Its cost is the number of frames of all distinct stacks, up to sorting.

pub mod name;
pub mod paths;
pub mod plumbing;
pub mod tables;
pub mod tree;

use crate::estimate::{Calibration, Estimate, Exact, Interval, Measure};
use crate::recording::{Recording, about::Source};
pub use name::{Frame, NameIndex, Names};
use paths::Paths;
pub use tables::Row;
pub use tree::{Node, Tree};

/// Everything that outputs show.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What is shown: where it is CPU time, everything that is called bytes is nanoseconds, and objects are ticks.
    pub source: Source,
    /// Names of frames.
    pub names: Names,
    /// The call tree, root first.
    pub tree: Tree,
    /// Allocation sites: each stack counted at its nearest caller outside allocator and standard library (see
    /// [`plumbing`]). Of CPU time and page faults the interrupted function itself, if it is neither these nor the kernel's.
    /// Most bytes first.
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
        Self { source: recording.about.source, names, tree, sites, functions, calibration }
    }

    /// Everything, attributed or not.
    pub fn total(&self) -> Measure {
        self.tree.nodes.first().map(|root| root.total).unwrap_or_default()
    }

    /// The exact totals, where they are known. [`Self::total`] has the same values then.
    pub fn exact(&self) -> Option<Exact> {
        self.calibration.exact()
    }

    /// The share of all bytes that a group has, in 0 ..= 1.
    pub fn share(&self, group: &Measure) -> f64 {
        let total = self.total().bytes.value;
        if total > 0.0 { group.bytes.value / total } else { 0.0 }
    }

    /// 95 % interval of a group's bytes.
    pub fn bytes_interval(&self, group: &Measure) -> Interval {
        self.calibration.bytes_interval(group)
    }

    /// 95 % interval of a group's objects, see [`Calibration::objects_interval`].
    pub fn objects_interval(&self, group: &Measure) -> Interval {
        self.calibration.objects_interval(group)
    }
}

/// An exact count as a measure: an estimate without variance and without samples.
fn exact_measure(exact: Exact) -> Measure {
    let certain = |value: u64| Estimate { value: value as f64, variance: 0.0 };
    Measure { samples: 0, bytes: certain(exact.bytes), objects: certain(exact.calls) }
}

#[cfg(test)]
mod tests;
