//! Which blocks a picture is about.

use std::fmt;
use std::str::FromStr;

/// Blocks that a picture shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// All that were allocated, whether released since or not.
    #[default]
    Allocated,
    /// Those in use at the end.
    InUse,
    /// Those that were in use when most was.
    Peak,
    /// Those that their thread released right after it had made them.
    Temporary,
}

impl View {
    /// All views.
    pub const ALL: [Self; 4] = [Self::Allocated, Self::InUse, Self::Peak, Self::Temporary];

    /// Its name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allocated => "allocated",
            Self::InUse => "in-use",
            Self::Peak => "peak",
            Self::Temporary => "temporary",
        }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no such view.
#[derive(Debug, thiserror::Error)]
#[error("a view is allocated, in-use, peak or temporary")]
pub struct NoSuchView;

impl FromStr for View {
    type Err = NoSuchView;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|view| view.name() == text).ok_or(NoSuchView)
    }
}

/// What is to be made of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What the picture shows; by default blocks in use where releases were followed, else those allocated.
    pub view: Option<View>,
    /// A block that its thread released within this time is temporary; nanoseconds.
    pub temporary_ns: u64,
    /// Time between snapshots of what was in use, nanoseconds; by default such that there are 20 to 50.
    pub snapshot_every_ns: Option<u64>,
}

impl Options {
    /// The longest life of a temporary block, nanoseconds.
    pub const TEMPORARY_NS: u64 = 1_000_000;
}

impl Default for Options {
    fn default() -> Self {
        Self { view: None, temporary_ns: Self::TEMPORARY_NS, snapshot_every_ns: None }
    }
}

/// A view of blocks whose releases were not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "releases were not followed in this recording, so that there is no view `{0}`; record with --live, or leave --view out"
)]
pub struct NotFollowed(pub View);
