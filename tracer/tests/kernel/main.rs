//! tracer against the running kernel. Needs root; each test says why it is skipped where that is missing.
//! Run with `--test-threads=1`: the tests measure and trace the whole machine.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod launch;
mod load;
