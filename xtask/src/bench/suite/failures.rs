//! What did not work: a tool that cannot stand one program is a result, not the end.

use std::collections::BTreeMap;

use super::report::Section;

/// What failed, and why.
#[derive(Debug, Default)]
pub struct Failures {
    reasons: BTreeMap<String, String>,
}

impl Failures {
    /// What `measure` measures. Where it fails that is noted, and it is not tried again: then, `None`.
    pub fn or_none<T>(&mut self, what: &str, measure: impl FnOnce() -> anyhow::Result<T>) -> Option<T> {
        if self.reasons.contains_key(what) {
            return None;
        }
        match measure() {
            Ok(value) => Some(value),
            Err(error) => {
                let error = format!("{error:#}");
                eprintln!("{what}: {error}");
                let last = error.trim_end().lines().last().unwrap_or_default();
                self.reasons.insert(what.to_owned(), last.trim().trim_end_matches('.').to_owned());
                None
            }
        }
    }

    /// Says what failed.
    pub fn tell(&self, section: &mut Section) {
        for (what, why) in &self.reasons {
            section.line(&format!("Failed: {what} ({why})."));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_not_tried_again() {
        let mut failures = Failures::default();
        assert_eq!(failures.or_none("a", || Ok(1)), Some(1));
        assert_eq!(failures.or_none::<i32>("a", || anyhow::bail!("many words\nno room.\n")), None);
        assert_eq!(failures.or_none("a", || Ok(1)), None);
        assert_eq!(failures.or_none("b", || Ok(1)), Some(1));
        assert_eq!(failures.reasons["a"], "no room");
    }
}
