//! The table of `cargo xtask kernels`, as Markdown: a line for each kernel, a column for each thing that was tried.

use super::checks::{TRIED, Verdict};

/// How it went on a kernel.
pub struct Row {
    /// The release of Debian.
    pub release: &'static str,
    /// What the kernel calls itself, where it came so far.
    pub linux: Option<String>,
    /// For each of [`TRIED`]: `None` where it did not go as it should.
    pub verdicts: Vec<Option<Verdict>>,
}

/// The table, and what its columns mean.
pub fn table(rows: &[Row]) -> String {
    let names: Vec<_> = TRIED.iter().map(|tried| tried.name).collect();
    let mut text = format!("| kernel | Debian | {} |\n|{}\n", names.join(" | "), " --- |".repeat(names.len() + 2));
    for row in rows {
        text += &format!("| {} | {} |", row.linux.as_deref().unwrap_or("not booted"), row.release);
        for index in 0..names.len() {
            text += match row.verdicts.get(index).copied().flatten() {
                Some(Verdict::Works) => " yes |",
                Some(Verdict::Refused) => " refused |",
                None => " FAILED |",
            };
        }
        text += "\n";
    }
    text += "\n`refused`: with the reason, as it should be.\n\n";
    for tried in TRIED {
        text += &format!("- {}: {}\n", tried.name, tried.about);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_has_failed() {
        let row = |linux: Option<&str>, verdicts| Row { release: "sid", linux: linux.map(str::to_owned), verdicts };
        let some = vec![Some(Verdict::Works), Some(Verdict::Refused), None];
        let text = table(&[row(Some("9.9"), some), row(None, Vec::new())]);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[2].starts_with("| 9.9 | sid | yes | refused | FAILED | FAILED |"), "{text}");
        assert!(lines[3].starts_with("| not booted | sid | FAILED |"), "{text}");
        let cells = |line: &str| line.matches('|').count();
        assert!(lines[..4].iter().all(|line| cells(line) == cells(lines[0])), "{text}");
    }
}
