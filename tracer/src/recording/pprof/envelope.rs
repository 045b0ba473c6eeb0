//! The comment that makes a pprof file a recording.

use serde::{Deserialize, Serialize};

use crate::recording::About;

/// How the comment begins.
pub const MARK: &str = "{\"tracer_recording\":";
/// The version that this tracer writes, and the newest it can read.
pub const VERSION: u32 = 1;

/// The comment, as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub struct Envelope {
    /// [`VERSION`]. First, so that the comment begins with [`MARK`].
    pub tracer_recording: u32,
    /// Functions of the recording; those behind are for other readers.
    pub functions: u64,
    /// Locations of the recording; those behind are for other readers.
    pub locations: u64,
    /// Everything that is not a sample.
    pub about: About,
}

/// Only the version: what a file of a later version surely still has.
#[derive(Debug, Deserialize)]
pub struct Version {
    /// See [`Envelope`].
    pub tracer_recording: u32,
}
