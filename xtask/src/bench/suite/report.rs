//! docs/benchmarks.md: each benchmark replaces its own section.

use std::{fmt::Write as _, fs, io, io::Write as _};

use anyhow::Context as _;

use super::goal::Goal;
use crate::workspace;

const DOCUMENT: &str = "docs/benchmarks.md";
const HEAD: &str = "# Benchmarks\n\n\
    Written by `sudo cargo xtask bench`; each benchmark replaces its own section. The arms of a comparison run\n\
    interleaved, in a new order every round. Every number is the median over the rounds with the values below which 10 %\n\
    and 90 % of them lie; ratios are taken within a round. Ratios carry over to other machines, times do not.\n\
    Where a goal is judged by the mean of pairs, the bracket holds its 95 % interval, and a goal inside the interval\n\
    cannot be told apart from noise.\n";

/// What one benchmark has to say.
pub struct Section {
    name: &'static str,
    text: String,
    goals: Vec<Goal>,
}

impl Section {
    /// An empty one.
    pub fn new(name: &'static str) -> Self {
        Self { name, text: String::new(), goals: Vec::new() }
    }

    /// Adds a paragraph.
    pub fn line(&mut self, text: &str) {
        let _ = writeln!(self.text, "{text}\n");
    }

    /// Adds a goal.
    pub fn goal(&mut self, goal: Goal) {
        self.line(&format!("Goal: {}: **{}** ({}).", goal.what, goal.verdict, goal.found));
        self.goals.push(goal);
    }

    /// Those that were added.
    pub fn goals(&self) -> &[Goal] {
        &self.goals
    }

    /// Adds a table.
    pub fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        let _ = writeln!(self.text, "| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()));
        for row in rows {
            let _ = writeln!(self.text, "| {} |", row.join(" | "));
        }
        self.text.push('\n');
    }

    /// Shows the section and, if it is to be kept, puts it into the document.
    ///
    /// # Errors
    /// When the document cannot be written.
    pub fn publish(&self, keep: bool) -> anyhow::Result<()> {
        io::stdout().write_all(self.text.as_bytes())?;
        if !keep {
            return Ok(());
        }
        let path = workspace::root()?.join(DOCUMENT);
        let before = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => HEAD.to_owned(),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, replaced(HEAD, &before, self.name, &self.text))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The document with this head and another text in the section `name`; sections stay in the order of their names.
fn replaced(head: &str, document: &str, name: &str, text: &str) -> String {
    let (_, sections) = document.split_once("\n## ").unwrap_or_default();
    let sections = sections.split("\n## ").filter_map(|section| section.split_once('\n'));
    let mut sections: Vec<_> = sections.filter(|(known, _)| *known != name).collect();
    sections.push((name, text));
    sections.sort_unstable();
    let mut document = head.trim_end().to_owned();
    for (name, text) in sections {
        let _ = write!(document, "\n\n## {name}\n\n{}", text.trim());
    }
    document.push('\n');
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_others_stay() {
        let put = |document: &str, name, text| replaced("# Head\n\nWords.\n", document, name, text);
        let document = put("# Old head\n", "walk", "1\n\n2\n");
        assert_eq!(document, "# Head\n\nWords.\n\n## walk\n\n1\n\n2\n");
        let document = put(&document, "hit", "3");
        let both = "# Head\n\nWords.\n\n## hit\n\n3\n\n## walk\n\n1\n\n2\n";
        assert_eq!(document, both);
        assert_eq!(put(&document, "walk", "1\n\n2"), both);
        assert_eq!(put(&document, "hit", "4"), both.replace('3', "4"));
    }
}
