//! How much is measured: all of it, or only enough to see that it works.

use std::time::Duration;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Numbers are of no use, and the document stays as it is.
    pub quick: bool,
}

impl Scale {
    /// Rounds of a comparison.
    pub fn rounds(self, full: usize) -> usize {
        if self.quick { 1 } else { full }
    }

    /// A number of other things.
    pub fn count(self, full: u32) -> u32 {
        if self.quick { (full / 20).max(1) } else { full }
    }

    /// Time for something that takes `full` when it counts.
    pub fn time(self, full: Duration) -> Duration {
        if self.quick { full / 10 } else { full }
    }
}
