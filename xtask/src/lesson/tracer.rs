//! tracer as the lesson runs it: what was typed and what came, as the guide shows them.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::{
    demo::{background, build_tracer},
    workspace,
};

/// Exit codes with which a recording, or whatever was asked for, is there.
const DONE: [Option<i32>; 2] = [Some(0), Some(3)];
/// Stands for the paragraphs of an output that are not shown.
const LEFT_OUT: &str = "[…]";

/// The program, and the folder in which it runs.
pub struct Tracer {
    program: PathBuf,
    folder: PathBuf,
    /// What paths on this machine are called in the guide.
    shortened: Vec<(String, String)>,
}

/// What a command wrote.
pub struct Output {
    command: String,
    text: String,
    /// Whether it did what it was told.
    pub done: bool,
}

impl Tracer {
    /// Builds tracer, and empties the folder. In it lies what lies in the checkout when the reader stands there.
    ///
    /// # Errors
    /// When tracer does not build, or the folder cannot be made.
    pub fn build(folder: &Path) -> anyhow::Result<Self> {
        let program = build_tracer()?;
        let root = workspace::root()?;
        let make = || -> std::io::Result<()> {
            if folder.exists() {
                fs::remove_dir_all(folder)?;
            }
            fs::create_dir_all(folder)?;
            symlink(root.join("target-server"), folder.join("target-server"))
        };
        make().with_context(|| format!("cannot make {} anew", folder.display()))?;
        let shortened = vec![
            (format!("{}/", workspace::target_dir()?.display()), "target/".to_owned()),
            (format!("{}/", root.display()), String::new()),
        ];
        Ok(Self { program, folder: folder.to_owned(), shortened })
    }

    /// The folder in which it runs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs it with arguments, separated by blanks.
    ///
    /// # Errors
    /// When it cannot be run, or fails.
    pub fn run(&self, arguments: &str) -> anyhow::Result<Output> {
        let output = self.try_run(arguments)?;
        if !output.done {
            bail!("`{}` failed:\n{}", output.command, output.text);
        }
        Ok(output)
    }

    /// The same where a failure is to be shown too.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn try_run(&self, arguments: &str) -> anyhow::Result<Output> {
        let is_privileged = arguments.contains("--pid ");
        let command = format!("{}tracer {arguments}", if is_privileged { "sudo " } else { "" });
        eprintln!("$ {command}");
        let mut run = Command::new(&self.program);
        background::die_with_parent(run.args(arguments.split(' ')).current_dir(&self.folder));
        let output = run.output().with_context(|| format!("cannot run {run:?}"))?;
        let mut text =
            [output.stderr, output.stdout].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        for (long, short) in &self.shortened {
            text = text.replace(long, short);
        }
        Ok(Output { command, text, done: DONE.contains(&output.status.code()) })
    }

    /// A recording as JSON, with the regions of the server.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn json(&self, recording: &str, options: &str) -> anyhow::Result<Value> {
        self.run(&format!("render {recording} -o {recording}.json --force {REGIONS}{options}"))?;
        self.read_json(&format!("{recording}.json"))
    }

    /// The difference between two recordings as JSON.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn difference(&self, before: &str, after: &str) -> anyhow::Result<Value> {
        let file = format!("{before}-{after}.json");
        self.run(&format!("diff {before} {after} -o {file} --force {REGIONS}"))?;
        self.read_json(&file)
    }

    fn read_json(&self, file: &str) -> anyhow::Result<Value> {
        let text = fs::read_to_string(self.folder.join(file)).with_context(|| format!("cannot read {file}"))?;
        serde_json::from_str(&text).with_context(|| format!("{file} is no JSON"))
    }
}

/// The regions of the server.
pub const REGIONS: &str = "--regions target-server/regions.toml";

impl Output {
    /// Command and output.
    pub fn all(&self) -> String {
        self.shown(|_| true)
    }

    /// Command, the first paragraph, and those that begin so.
    pub fn paragraphs(&self, wanted: &[&str]) -> String {
        self.shown(|paragraph| wanted.iter().any(|begin| paragraph.starts_with(begin)))
    }

    fn shown(&self, is_wanted: impl Fn(&str) -> bool) -> String {
        let mut parts = vec![format!("$ {}", self.command)];
        for (index, paragraph) in self.text.trim_end().split("\n\n").enumerate() {
            if index == 0 {
                parts[0] += &format!("\n{paragraph}");
            } else if is_wanted(paragraph) {
                parts.push(paragraph.to_owned());
            } else if parts.last().is_some_and(|last| last != LEFT_OUT) {
                parts.push(LEFT_OUT.to_owned());
            }
        }
        parts.join("\n\n")
    }

    /// The columns of the table row with this name, which are two blanks apart at least.
    ///
    /// # Errors
    /// When there is none.
    pub fn row(&self, name: &str) -> anyhow::Result<Vec<String>> {
        let columns = |line: &str| -> Vec<String> {
            line.split("  ").map(|column| column.trim().to_owned()).filter(|column| !column.is_empty()).collect()
        };
        let mut rows = self.text.lines().map(columns);
        let row = rows.find(|row| row.len() > 1 && row.last().is_some_and(|last| last == name));
        row.with_context(|| format!("`{}` has no row {name:?}:\n{}", self.command, self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> Output {
        let text =
            "head\n\nTotal\nbefore      after       of\n1.0 ± 0.1 B   2 B  all\n\nSites\n3 B  4 B  f\n\nFunctions\n5\n";
        Output { command: "tracer diff a b".into(), text: text.into(), done: true }
    }

    #[test]
    fn paragraphs_are_shown_or_left_out() {
        let all = output().all();
        assert!(all.starts_with("$ tracer diff a b\nhead\n\nTotal\n") && all.ends_with("\n\nFunctions\n5"), "{all}");
        assert_eq!(output().paragraphs(&["Sites"]), "$ tracer diff a b\nhead\n\n[…]\n\nSites\n3 B  4 B  f\n\n[…]");
    }

    #[test]
    fn rows_have_columns() {
        assert_eq!(output().row("all").unwrap(), ["1.0 ± 0.1 B", "2 B", "all"]);
        assert!(output().row("g").unwrap_err().to_string().contains("no row \"g\""));
    }
}
