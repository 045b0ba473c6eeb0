//! How many stacks of a recording lead to the start of their thread.

use std::{fmt, fs, path::Path, process::Command};

use anyhow::Context as _;
use serde_json::Value;

use crate::exec;

/// Samples whose stack is complete, and all samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Completeness {
    complete: f64,
    all: f64,
}

impl Completeness {
    /// Of a recording as JSON.
    ///
    /// # Errors
    /// When the JSON says nothing of its stacks.
    pub fn of(profile: &Value) -> anyhow::Result<Self> {
        let unwinding = &profile["about"]["unwinding"];
        let number = |value: &Value| value.as_f64().with_context(|| format!("{value} is no number of samples"));
        let complete = number(&unwinding["complete"])? + number(&unwinding["assisted"])?;
        let reasons = unwinding["truncated"].as_array().context("the JSON does not say what is truncated")?;
        let truncated: f64 = reasons.iter().map(|row| number(&row["samples"])).sum::<anyhow::Result<f64>>()?;
        Ok(Self { complete, all: complete + truncated })
    }

    /// Of a recording, which `tracer` writes to `json`.
    ///
    /// # Errors
    /// When tracer cannot read it.
    pub fn of_recording(tracer: &Path, recording: &Path, json: &Path) -> anyhow::Result<Self> {
        exec::exec(Command::new(tracer).arg("render").arg(recording).arg("-o").arg(json).arg("--force"))?;
        let text = fs::read_to_string(json).with_context(|| format!("cannot read {}", json.display()))?;
        Self::of(&serde_json::from_str(&text).with_context(|| format!("{} is no JSON", json.display()))?)
    }

    /// The share of complete ones; NaN without samples.
    pub fn share(self) -> f64 {
        self.complete / self.all
    }
}

impl fmt::Display for Completeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} ({:.2} %)", self.complete, self.all, 100.0 * self.share())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn profile(complete: u64, assisted: u64, truncated: &[u64]) -> Value {
        let truncated: Vec<_> = truncated.iter().map(|samples| json!({ "samples": samples })).collect();
        json!({ "about": { "unwinding": { "complete": complete, "assisted": assisted, "truncated": truncated } } })
    }

    #[test]
    fn truncated_stacks_are_not_complete() {
        let some = Completeness::of(&profile(96, 1, &[2, 1])).unwrap();
        assert_eq!(some.to_string(), "97 of 100 (97.00 %)");
        assert_eq!(Completeness::of(&profile(3, 0, &[])).unwrap().share(), 1.0);
    }

    #[test]
    fn nothing_is_not_complete() {
        assert!(Completeness::of(&profile(0, 0, &[])).unwrap().share().is_nan());
        assert!(Completeness::of(&json!({ "about": {} })).is_err());
    }
}
