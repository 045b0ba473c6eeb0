//! From a recording to a call tree and tables in which everything has its bytes, objects and samples.
//!
//! [`Profile::new`] is pure. Its cost is the number of frames of all distinct stacks, up to sorting.

pub mod join;
pub mod name;
pub mod paths;
pub mod plumbing;
pub mod regions;
pub mod sites;
pub mod split;
pub mod tables;
pub mod tree;

use crate::estimate::{Calibration, Estimate, Exact, Interval, Measure, compare, interval};
use crate::recording::{Recording, about::Source};
pub use name::{Frame, NameIndex, Names};
use paths::Paths;
pub use regions::{Regions, Rules};
use split::Parts;
pub use split::Split;
pub use tables::Row;
pub use tree::{Node, Tree};

/// What to show of a recording.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What to tell apart below the root of the tree.
    pub split: Option<Split>,
    /// The parts that have names.
    pub rules: Rules,
}

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
    /// What is told apart below the root of the tree.
    pub split: Option<Split>,
    /// The processes or threads told apart, most bytes first. With what is unattributed they add up to the total.
    pub parts: Vec<Row>,
    /// The parts that rules divide it into; `None` without rules.
    pub regions: Option<Regions>,
    /// The weights.
    pub calibration: Calibration,
}

impl Profile {
    /// Builds all views of a recording, without regions.
    pub fn new(recording: &Recording) -> Self {
        Self::with_options(recording, &Options::default())
    }

    /// The same, as `options` ask. With a split, each stack of the tree begins with a frame for its process or thread; sites
    /// and functions are the same with it and without.
    pub fn with_options(recording: &Recording, options: &Options) -> Self {
        match options.split {
            None => Self::of(recording, options, &[], &[]),
            Some(split) => {
                let Parts { recording, names, of_stack } = Parts::new(recording, split);
                Self::of(&recording, options, &names, &of_stack)
            }
        }
    }

    fn of(recording: &Recording, options: &Options, parts: &[String], of_stack: &[u32]) -> Self {
        let calibration = Calibration::new(recording);
        let names = Names::new(recording, parts);
        let paths = Paths::new(recording, &names, of_stack);
        let tree = Tree::new(&paths, &names, &calibration);
        let (sites, functions) = tables::build(recording, &paths, &names, &calibration);
        let parts = tables::parts(of_stack, &names, &calibration);
        let rules = &options.rules;
        let regions = (!rules.is_empty()).then(|| Regions::new(recording, rules, &names, &tree, &calibration));
        let source = recording.about.source;
        Self { source, names, tree, sites, functions, split: options.split, parts, regions, calibration }
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

    /// 95 % interval of a group's share. Where the whole is an estimate too, that of the linearised ratio (see [`compare::share`]).
    pub fn share_interval(&self, group: &Measure) -> Interval {
        let whole = self.total().bytes;
        if whole.value <= 0.0 {
            return Interval::default();
        }
        if self.exact().is_some() {
            return self.bytes_interval(group).per(whole.value);
        }
        let variance = compare::share(group.bytes, whole).variance * whole.value * whole.value;
        let unit = self.calibration.unit();
        interval::of_part(Estimate { variance, ..group.bytes }, unit, whole.value, unit).per(whole.value)
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
