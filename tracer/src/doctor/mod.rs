//! `tracer doctor`: what tracer can do here and with a process, and what would be missing, before anything is recorded.
//!
//! [`kernel`] and [`process`] collect facts, [`findings`] judges them, [`text`] writes them down; the last two are pure. The
//! JSON form is [`Report`] as it stands: keys and identifiers stay, new ones may come. `version` changes if that must break.

pub mod findings;
pub mod kernel;
pub mod process;
pub mod text;

use serde::Serialize;

pub use findings::{Finding, Severity};
pub use kernel::KernelFacts;
pub use process::{ProcessFacts, inspect};

/// Version of the JSON form.
pub const VERSION: u32 = 1;

/// Everything that was found out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// tracer's version.
    pub tracer: String,
    /// The kernel, and what tracer may do.
    pub kernel: KernelFacts,
    /// The process, if one was named.
    pub process: Option<ProcessFacts>,
    /// What follows from the facts, worst first.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Puts facts together and judges them.
    pub fn new(kernel: KernelFacts, process: Option<ProcessFacts>) -> Self {
        let findings = findings::findings(&kernel, process.as_ref());
        Self { version: VERSION, tracer: env!("CARGO_PKG_VERSION").to_owned(), kernel, process, findings }
    }

    /// Whether nothing stands in the way of a recording, as far as could be looked at.
    pub fn is_usable(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Blocks)
    }
}

#[cfg(test)]
mod tests;
