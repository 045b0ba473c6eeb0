//! From a recording to a call tree and tables in which everything has its bytes, objects and samples.
//!
//! [`Profile::new`] is pure. Its cost is the number of frames of all distinct stacks, up to sorting.

pub mod lifetimes;
pub mod live;
pub mod name;
pub mod paths;
pub mod peak;
pub mod plumbing;
pub mod snapshots;
pub mod suspects;
pub mod tables;
pub mod tree;
pub mod view;

use std::borrow::Cow;
use std::sync::Arc;

use crate::estimate::followed::followed;
use crate::estimate::{Calibration, Estimate, Exact, Interval, Measure};
use crate::recording::Recording;
pub use live::LiveHeap;
pub use name::{Frame, NameIndex, Names};
use paths::Paths;
pub use tables::Row;
pub use tree::{Node, Tree};
pub use view::{NotFollowed, Options, View};

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
    /// What a recording shows by default: the blocks in use where releases were followed, else all that were allocated.
    pub fn new(recording: &Recording) -> Self {
        Self::build(recording, default_view(recording), &Options::default())
    }

    /// Builds a view of a recording.
    ///
    /// # Errors
    /// The view is one of blocks whose releases were not followed.
    pub fn with_options(recording: &Recording, options: &Options) -> Result<Self, NotFollowed> {
        let view = options.view.unwrap_or(default_view(recording));
        if view != View::Allocated && recording.about.live.is_none() {
            return Err(NotFollowed(view));
        }
        Ok(Self::build(recording, view, options))
    }

    fn build(recording: &Recording, view: View, options: &Options) -> Self {
        let allocated = Arc::new(Calibration::new(recording));
        let names = Names::new(recording);
        let paths = Paths::new(recording, &names);
        let site_of = tables::sites(&paths, &names);
        let (mut live, mut calibration) = (None, allocated.clone());
        if recording.about.live.is_some() {
            let followed = followed(recording);
            let weights = match &followed {
                Cow::Borrowed(_) => allocated.clone(),
                Cow::Owned(followed) => Arc::new(Calibration::new(followed)),
            };
            let source =
                live::Source { recording: &followed, calibration: &weights, sites: &site_of, names: names.len() };
            let (heap, selected) = LiveHeap::new(&source, view, options);
            live = Some(heap);
            calibration = selected.map_or(calibration, Arc::new);
        }
        let tree = Tree::new(&paths, &names, &calibration);
        let (sites, functions) = tables::build(&site_of, &paths, &names, &calibration);
        Self { names, tree, sites, functions, view, calibration, allocated, live }
    }

    /// Everything, attributed or not.
    pub fn total(&self) -> Measure {
        self.tree.nodes.first().map(|root| root.total).unwrap_or_default()
    }

    /// The exact totals of what is shown, where they are known. [`Self::total`] has the same values then.
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

fn default_view(recording: &Recording) -> View {
    if recording.about.live.is_some() { View::InUse } else { View::Allocated }
}

/// An exact count as a measure: an estimate without variance and without samples.
fn exact_measure(exact: Exact) -> Measure {
    let certain = |value: u64| Estimate { value: value as f64, variance: 0.0 };
    Measure { samples: 0, bytes: certain(exact.bytes), objects: certain(exact.calls) }
}

#[cfg(test)]
mod tests;
