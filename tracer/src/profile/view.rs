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

    /// Whether it shows what happened in the course of the recording, so that there is a rate of it; else it is of one moment.
    pub fn has_rate(self) -> bool {
        matches!(self, Self::Allocated | Self::Temporary)
    }

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

/// A view of blocks whose releases were not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "releases were not followed in this recording, so that there is no view `{0}`; record with --live, or leave --view out"
)]
pub struct NotFollowed(pub View);
