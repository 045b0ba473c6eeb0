//! What `init.sh` told on the console.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};

/// A section of the console: what was tried, and how it went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Section {
    text: String,
    /// Exit code; `None` where the machine stopped in the middle.
    status: Option<i32>,
}

/// The sections by name.
pub struct Report(BTreeMap<String, Section>);

impl Report {
    /// What a console holds, however far the machine came.
    pub fn parse(console: &str) -> Self {
        let mut sections: BTreeMap<String, Section> = BTreeMap::new();
        let mut open: Option<(String, Section)> = None;
        for line in console.lines() {
            let line = line.trim_end_matches('\r');
            match (line.strip_prefix("@@ "), &mut open) {
                (Some(mark), Some((_, section))) if mark.starts_with("status ") => {
                    section.status = mark.strip_prefix("status ").and_then(|code| code.parse().ok());
                    sections.extend(open.take());
                }
                (Some(name), _) => sections.extend(open.replace((name.to_owned(), Section::default()))),
                (None, Some((_, section))) => section.text += &format!("{line}\n"),
                // Before the first: the firmware's and the kernel's.
                (None, None) => {}
            }
        }
        sections.extend(open);
        Self(sections)
    }

    /// Whether the machine came as far as the script.
    pub fn has_begun(&self) -> bool {
        !self.0.is_empty()
    }

    fn section(&self, name: &str) -> anyhow::Result<&Section> {
        self.0.get(name).with_context(|| format!("nothing is told of {name}"))
    }

    /// The text of a section that ended with this exit code.
    ///
    /// # Errors
    /// When it is missing, or ended otherwise; with what it told.
    pub fn ended(&self, name: &str, status: i32) -> anyhow::Result<&str> {
        let section = self.section(name)?;
        ensure!(section.status.is_some(), "the machine stopped in it");
        if section.status != Some(status) {
            bail!("{name} ended with {:?} and not {status}:\n{}", section.status, section.text);
        }
        Ok(&section.text)
    }
}

/// What comes behind a word at the begin of a line.
pub fn said<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.strip_prefix(word)?.strip_prefix(' '))
}

/// Bytes by function, as the program says it.
///
/// # Errors
/// When it said nothing.
pub fn truth(text: &str, word: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let entry = |line: &str| {
        let (site, bytes) = line.split_once(' ').with_context(|| format!("{word} {line}"))?;
        Ok((site.to_owned(), bytes.parse().with_context(|| format!("{word} {line}"))?))
    };
    let truth: BTreeMap<_, _> = said(text, word).map(entry).collect::<anyhow::Result<_>>()?;
    ensure!(!truth.is_empty(), "the program said nothing:\n{text}");
    Ok(truth)
}

/// Bytes by function, from folded stacks: `outermost;...;innermost BYTES`.
///
/// # Errors
/// When these are no folded stacks.
pub fn by_site(folded: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut bytes = BTreeMap::new();
    for line in folded.lines().filter(|line| !line.is_empty()) {
        let (stack, value) = line.rsplit_once(' ').with_context(|| format!("no folded stack: {line}"))?;
        let site = stack.split(';').find(|frame| frame.starts_with("site_"));
        let value: u64 = value.parse().with_context(|| format!("no folded stack: {line}"))?;
        *bytes.entry(site.unwrap_or("elsewhere").to_owned()).or_default() += value;
    }
    Ok(bytes)
}

/// Compares what the program counted with what tracer did.
///
/// # Errors
/// When they differ.
pub fn same(truth: &BTreeMap<String, u64>, got: &BTreeMap<String, u64>) -> anyhow::Result<()> {
    ensure!(truth == got, "the program counted {truth:?}, tracer {got:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_told_apart() {
        let report = Report::parse("SeaBIOS\r\n@@ a\r\none\r\ntwo\r\n@@ status 3\r\n[ 1.0] noise\r\n@@ b\r\nhalf");
        assert_eq!(report.ended("a", 3).unwrap(), "one\ntwo\n");
        assert!(report.ended("a", 0).unwrap_err().to_string().contains("one"));
        assert_eq!(report.section("b").unwrap(), &Section { text: "half\n".to_owned(), status: None });
        assert!(report.section("c").is_err());
    }

    #[test]
    fn truth_and_stacks_compare() {
        let truth = truth("made site_a 12\nmade site_b 7\nheld site_a 3\n", "made").unwrap();
        assert!(same(&truth, &by_site("start;run;site_a;malloc 10\nstart;site_b 7\nsite_a 2\n").unwrap()).is_ok());
        let elsewhere = by_site("start;run;site_a;malloc 12\nstart;site_b 7\nstart 1\n").unwrap();
        assert!(same(&truth, &elsewhere).is_err());
    }
}
