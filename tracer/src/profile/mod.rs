//! From a recording to a call tree and tables in which everything has its bytes, objects and samples.
//!
//! [`Profile::new`] is pure. Its cost is the number of frames of all distinct stacks, up to sorting.

pub mod difference;
pub mod join;
pub mod lifetimes;
pub mod live;
pub mod name;
pub mod paths;
pub mod peak;
pub mod plumbing;
pub mod regions;
pub mod sites;
pub mod snapshots;
pub mod split;
pub mod suspects;
pub mod tables;
pub mod timeline;
pub mod tree;
pub mod view;

use std::borrow::Cow;
use std::sync::Arc;

use crate::estimate::followed::{followed, not_followed};
use crate::estimate::{Calibration, Exact, Interval, Measure, Totals};
use crate::recording::{Recording, about::Source};
pub use live::LiveHeap;
pub use name::{Frame, NameIndex, Names};
use paths::Paths;
pub use regions::{Regions, Rules};
use split::Parts;
pub use split::Split;
pub use tables::Row;
pub use tree::{Node, Tree};
pub use view::{NotFollowed, View};

/// What to show of a recording.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What to tell apart below the root of the tree.
    pub split: Option<Split>,
    /// The parts that have names.
    pub rules: Rules,
    /// Which blocks; by default those in use where releases were followed, else all that were allocated.
    pub view: Option<View>,
    /// A block that its thread released within this time is temporary; nanoseconds. By default 1 ms.
    pub temporary_ns: Option<u64>,
    /// Time between snapshots of what was in use, nanoseconds; by default such that there are 20 to 50.
    pub snapshot_every_ns: Option<u64>,
}

impl Options {
    /// Which view of a recording they ask for.
    ///
    /// # Errors
    /// It is one of blocks whose releases were not followed.
    pub fn view_of(&self, recording: &Recording) -> Result<View, NotFollowed> {
        match (self.view, &recording.about.live) {
            (None, Some(_)) => Ok(View::InUse),
            (Some(view), None) if view != View::Allocated => Err(NotFollowed(view)),
            (view, _) => Ok(view.unwrap_or_default()),
        }
    }
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
    /// [`plumbing`]). Of all else the innermost function that is neither these nor the kernel's. Most bytes first.
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
    /// Which blocks the tree and the tables show.
    pub view: View,
    /// The weights of these.
    pub calibration: Arc<Calibration>,
    /// The weights of all that was allocated.
    pub allocated: Arc<Calibration>,
    /// What became of the blocks, where releases were followed.
    pub live: Option<LiveHeap>,
}

impl Profile {
    /// Builds the default view of a recording, without regions.
    pub fn new(recording: &Recording) -> Self {
        Self::with_options(recording, &Options::default())
    }

    /// The same, as `options` ask. With a split, each stack of the tree begins with a frame for its process or thread; sites
    /// and functions are the same with it and without. Where releases were not followed, the view is of what was allocated,
    /// whatever the options say: ask [`Options::view_of`] first.
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
        let allocated = Arc::new(Calibration::new(recording));
        let names = Names::new(recording, parts);
        let paths = Paths::new(recording, &names, of_stack);
        let site_of = tables::sites(recording, &paths, &names);
        let view = options.view_of(recording).unwrap_or_default();
        let (mut live, mut calibration) = (None, allocated.clone());
        if recording.about.live.is_some() {
            let followed = followed(recording);
            let weights = match &followed {
                Cow::Borrowed(_) => allocated.clone(),
                Cow::Owned(followed) => Arc::new(Calibration::new(followed)),
            };
            let source = live::Source {
                recording: &followed,
                calibration: &weights,
                not_followed: not_followed(recording, &followed),
                sites: &site_of,
                names: names.len(),
            };
            let (heap, selected) = LiveHeap::new(&source, view, options);
            live = Some(heap);
            calibration = selected.map_or(calibration, Arc::new);
        }
        let tree = Tree::new(&paths, &names, &calibration);
        let (sites, functions) = tables::build(&site_of, &paths, &names, &calibration);
        let parts = tables::parts(of_stack, &names, &calibration);
        let rules = &options.rules;
        let regions = (!rules.is_empty()).then(|| Regions::new(recording, rules, &names, &tree, &calibration));
        let (split, source) = (options.split, recording.about.source);
        Self { source, names, tree, sites, functions, split, parts, regions, view, calibration, allocated, live }
    }

    /// Everything, attributed or not.
    pub fn total(&self) -> Measure {
        self.tree.nodes.first().map(|root| root.total).unwrap_or_default()
    }

    /// The exact totals of what is shown, where they are known. [`Self::total`] has the same values then.
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
