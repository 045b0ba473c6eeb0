//! What `init.sh` told on the console, and what it must have told.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};

/// What tracer is to do on a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It refuses, and says what it needs.
    Refusal,
    /// It records, and refuses `--live`.
    NoLive,
    /// Everything.
    All,
}

/// A section of the console: what was tried, and how it went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Section {
    text: String,
    /// Exit code; `None` where the machine stopped in the middle.
    status: Option<i32>,
}

/// The sections by name.
struct Report(BTreeMap<String, Section>);

/// Checks what was told on a console.
///
/// # Errors
/// The first thing that is not as it should be, with what was told instead.
pub fn check(console: &str, expected: Expected) -> anyhow::Result<()> {
    let report = Report::parse(console);
    report.section("end").context("the script did not reach its end")?;
    if expected == Expected::Refusal {
        for name in ["doctor", "exact", "default", "live", "cpu", "started"] {
            let text = report.ended(name, 1)?;
            ensure!(
                text.contains("tracer needs Linux 5.17 or later; this is Linux "),
                "{name} does not say why: {text}"
            );
        }
        return Ok(());
    }
    report.ended("doctor", 0)?;
    report.exact()?;
    let default = report.ended("default", 0)?;
    // The program may have run between two windows.
    ensure!(default.contains("lost      nothing") && default.contains("stacks    "), "{default}");
    if expected == Expected::NoLive {
        let text = report.ended("live", 1)?;
        ensure!(text.contains("uprobe multi links need Linux 6.6 or later; this is Linux "), "no reason: {text}");
    } else {
        report.live()?;
    }
    let cpu = report.ended("cpu", 0)?;
    ensure!(cpu.contains("lost      nothing") && cpu.contains("on CPU"), "{cpu}");
    let started = report.ended("started", 0)?;
    ensure!(started.contains("done") && started.contains("site_realloc"), "{started}");
    Ok(())
}

impl Report {
    fn parse(console: &str) -> Self {
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

    fn section(&self, name: &str) -> anyhow::Result<&Section> {
        self.0.get(name).with_context(|| format!("nothing is told of {name}"))
    }

    /// The text of a section that ended with this exit code.
    fn ended(&self, name: &str, status: i32) -> anyhow::Result<&str> {
        let section = self.section(name)?;
        if section.status != Some(status) {
            bail!("{name} ended with {:?} and not {status}:\n{}", section.status, section.text);
        }
        Ok(&section.text)
    }

    /// With every call sampled, calls and the bytes of every function are those that the program counted.
    fn exact(&self) -> anyhow::Result<()> {
        let text = self.ended("exact", 0)?;
        let calls = said(text, "calls").next().context("the program said nothing")?;
        let calls: u64 = calls.parse().with_context(|| format!("the program said {calls}"))?;
        let counted = format!(" in {} calls, ", grouped(calls));
        ensure!(text.contains(&counted) && text.contains("(exact)"), "not{counted}but:\n{text}");
        ensure!(text.contains("100 % complete") && text.contains("lost      nothing"), "{text}");
        same(&truth(text, "made")?, &by_site(self.ended("exact-stacks", 0)?)?)
    }

    /// With every block followed, those in use at the end are those that the program kept.
    fn live(&self) -> anyhow::Result<()> {
        let text = self.ended("live", 0)?;
        ensure!(text.contains("lost      nothing"), "{text}");
        same(&truth(text, "held")?, &by_site(self.ended("live-stacks", 0)?)?)
    }
}

/// What comes behind a word at the begin of a line.
fn said<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.strip_prefix(word)?.strip_prefix(' '))
}

/// Bytes by function, as the program says it.
fn truth(text: &str, word: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let entry = |line: &str| {
        let (site, bytes) = line.split_once(' ').with_context(|| format!("{word} {line}"))?;
        Ok((site.to_owned(), bytes.parse().with_context(|| format!("{word} {line}"))?))
    };
    let truth: BTreeMap<_, _> = said(text, word).map(entry).collect::<anyhow::Result<_>>()?;
    ensure!(!truth.is_empty(), "the program said nothing:\n{text}");
    Ok(truth)
}

/// Bytes by function, from folded stacks: `outermost;...;innermost BYTES`.
fn by_site(folded: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut bytes = BTreeMap::new();
    for line in folded.lines().filter(|line| !line.is_empty()) {
        let (stack, value) = line.rsplit_once(' ').with_context(|| format!("no folded stack: {line}"))?;
        let site = stack.split(';').find(|frame| frame.starts_with("site_"));
        let value: u64 = value.parse().with_context(|| format!("no folded stack: {line}"))?;
        *bytes.entry(site.unwrap_or("elsewhere").to_owned()).or_default() += value;
    }
    Ok(bytes)
}

fn same(truth: &BTreeMap<String, u64>, got: &BTreeMap<String, u64>) -> anyhow::Result<()> {
    ensure!(truth == got, "the program counted {truth:?}, tracer {got:?}");
    Ok(())
}

/// As people read it: `12,345`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
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

    #[test]
    fn a_refusal_must_say_why() {
        let refused = |reason: &str| {
            let names = ["doctor", "exact", "default", "live", "cpu", "started"];
            let tried: String = names.iter().map(|name| format!("@@ {name}\n{reason}\n@@ status 1\n")).collect();
            check(&format!("{tried}@@ end\n@@ status 0\n"), Expected::Refusal)
        };
        assert!(refused("tracer needs Linux 5.17 or later; this is Linux 5.10.0").is_ok());
        assert!(refused("Invalid argument").is_err());
        assert!(check("@@ doctor\n", Expected::Refusal).is_err());
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([7, 999, 1000, 1_234_567].map(grouped), ["7", "999", "1,000", "1,234,567"]);
    }
}
