//! The text beside the object: one fact a line, so that a diff shows what changed.
//!
//! ```text
//! toolchain rustc 1.96.0 (ac68faa20 2026-05-25)
//! input 0d2a… tracer-ebpf/src/main.rs
//! object 81f3…
//! program malloc (uprobe)
//! ```

use std::{fmt, str::FromStr};

use anyhow::bail;

const HEADING: &str = "# What tracer.bpf.o was built with and from; written by `cargo xtask build-ebpf`.";

/// What a line is about: its first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A version that can change the bytes of the object though the sources are the same.
    Toolchain,
    /// A source, dependency or flag.
    Input,
    /// SHA-256 of the object.
    Object,
    /// A program in the object, with its ELF section.
    Program,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Toolchain, Self::Input, Self::Object, Self::Program];

    fn word(self) -> &'static str {
        match self {
            Self::Toolchain => "toolchain",
            Self::Input => "input",
            Self::Object => "object",
            Self::Program => "program",
        }
    }
}

/// What an object was built with and from.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    groups: [(Kind, Vec<String>); 4],
}

impl Record {
    /// The lines of each kind, in the order in which they are written.
    pub fn new(groups: [(Kind, Vec<String>); 4]) -> Self {
        Self { groups }
    }

    /// The lines of one kind.
    pub fn lines(&self, kind: Kind) -> &[String] {
        self.groups.iter().find(|(of, _)| *of == kind).map_or(&[], |(_, lines)| lines)
    }

    /// How `here` differs from the recorded lines of `kind`, as lines of a diff: `- recorded`, `+ here`.
    pub fn differences(&self, kind: Kind, here: &[String]) -> Vec<String> {
        let recorded = self.lines(kind);
        let gone = recorded.iter().filter(|line| !here.contains(line)).map(|line| format!("- {line}"));
        let new = here.iter().filter(|line| !recorded.contains(line)).map(|line| format!("+ {line}"));
        gone.chain(new).collect()
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADING}")?;
        for (kind, lines) in &self.groups {
            for line in lines {
                writeln!(f, "{} {line}", kind.word())?;
            }
        }
        Ok(())
    }
}

impl FromStr for Record {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut groups = Kind::ALL.map(|kind| (kind, Vec::new()));
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let group = line.split_once(' ').and_then(|(word, fact)| {
                let (_, lines) = groups.iter_mut().find(|(kind, _)| kind.word() == word)?;
                Some((lines, fact))
            });
            let Some((lines, fact)) = group else {
                bail!("the record of the BPF object has a line that says nothing known: {line:?}")
            };
            lines.push(fact.to_owned());
        }
        Ok(Self { groups })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record::new([
            (Kind::Toolchain, vec!["rustc 1.96.0".into(), "LLVM 22.1.8".into()]),
            (Kind::Input, vec!["aa main.rs".into(), "bb lib.rs".into()]),
            (Kind::Object, vec!["cc".into()]),
            (Kind::Program, vec!["malloc (uprobe)".into()]),
        ])
    }

    #[test]
    fn text_form_is_read_back() {
        assert_eq!(record().to_string().parse::<Record>().unwrap(), record());
    }

    #[test]
    fn differences_name_both_sides() {
        let here = ["aa main.rs".to_owned(), "dd lib.rs".to_owned()];
        assert_eq!(record().differences(Kind::Input, &here), ["- bb lib.rs", "+ dd lib.rs"]);
        assert_eq!(record().differences(Kind::Input, record().lines(Kind::Input)), <[&str; 0]>::default());
    }

    #[test]
    fn unknown_line_is_an_error() {
        let error = "weather fine\n".parse::<Record>().unwrap_err().to_string();
        assert!(error.contains("weather fine"), "{error}");
    }
}
