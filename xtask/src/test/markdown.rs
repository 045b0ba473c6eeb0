//! Documents tell the truth: the commands in their code blocks parse, and their relative links lead to files.
//!
//! Commands of this repository (`tracer`, `cargo xtask`, `target-server`…) are given to their own parsers with
//! `--help` added, which reports an unknown option or a bad value before it shows the help. Commands of others are
//! theirs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use clap::CommandFactory as _;

use super::Outcome;
use crate::{exec, workspace};

/// Programs of this repository that documents may call by name.
const PROGRAMS: [&str; 3] = ["tracer", "target-server", "target-server-load"];

/// Checks each document in the root of the checkout and in its folder `docs`.
///
/// # Errors
/// Names every command and link that is wrong, with its file and line.
pub fn check() -> anyhow::Result<Outcome> {
    exec::exec(workspace::cargo()?.args(["build", "--locked", "--package", "tracer", "--package", "target-server"]))?;
    let root = workspace::root()?;
    let mut problems = Vec::new();
    for document in documents(&root)? {
        let text = fs::read_to_string(&document).with_context(|| format!("cannot read {}", document.display()))?;
        let name = document.strip_prefix(&root).unwrap_or(&document).display();
        let folder = document.parent().unwrap_or(&root);
        for (line, command) in commands(&text) {
            if let Err(error) = check_command(&root, &command) {
                problems.push(format!("{name}:{line}: `{command}`: {error:#}"));
            }
        }
        for (line, target) in links(&text) {
            if !folder.join(&target).exists() {
                problems.push(format!("{name}:{line}: there is no {target}"));
            }
        }
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    Ok(Outcome::Passed)
}

fn documents(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut documents = Vec::new();
    for folder in [root.to_owned(), root.join("docs")] {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
            documents.extend(path.extension().is_some_and(|ending| ending == "md").then_some(path));
        }
    }
    documents.sort_unstable();
    Ok(documents)
}

/// Command lines in blocks fenced as `sh` (all lines) and `console` (lines after a prompt `$ `), each with its line
/// number, counted from 1. A line that ends in a backslash goes on in the next.
fn commands(markdown: &str) -> Vec<(usize, String)> {
    let mut commands = Vec::new();
    let mut fence: Option<&str> = None;
    let mut begun: Option<(usize, String)> = None;
    for (index, line) in markdown.lines().enumerate() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(language.trim()) };
            continue;
        }
        let typed = match fence {
            Some("sh") => Some(line),
            Some("console") if begun.is_some() => Some(line),
            Some("console") => line.strip_prefix("$ "),
            _ => None,
        };
        let Some(typed) = typed.map(str::trim).filter(|typed| !typed.is_empty() && !typed.starts_with('#')) else {
            continue;
        };
        let (number, mut command) = begun.take().unwrap_or((index + 1, String::new()));
        match typed.strip_suffix('\\') {
            Some(part) => {
                command.push_str(part);
                begun = Some((number, command));
            }
            None => {
                command.push_str(typed);
                commands.push((number, command));
            }
        }
    }
    commands
}

/// Relative targets of links outside code blocks, without their fragment, each with its line number.
fn links(markdown: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut in_code = false;
    for (index, line) in markdown.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for after in line.split("](").skip(1) {
            let Some((target, _)) = after.split_once(')') else { continue };
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") {
                links.push((index + 1, path.to_owned()));
            }
        }
    }
    links
}

fn check_command(root: &Path, command: &str) -> anyhow::Result<()> {
    let words = shlex::split(command).context("its quotes are not closed")?;
    for simple in words.split(|word| ["|", "&&", ";", "&"].contains(&word.as_str())) {
        // What follows a redirection is the shell's.
        let mut words: Vec<_> =
            simple.iter().map(String::as_str).take_while(|word| !word.starts_with(['>', '<'])).collect();
        if words.first() == Some(&"sudo") {
            words.remove(0);
        }
        check_words(root, &words)?;
    }
    Ok(())
}

fn check_words(root: &Path, words: &[&str]) -> anyhow::Result<()> {
    match words {
        ["cargo", "xtask", arguments @ ..] => {
            let line = [&["cargo xtask"], arguments].concat();
            crate::Cli::command().try_get_matches_from(line).map(drop).or_else(|error| {
                if error.use_stderr() { Err(anyhow::anyhow!("{}", first_line(&error.to_string()))) } else { Ok(()) }
            })
        }
        ["cargo", arguments @ ..] => check_cargo(root, arguments),
        [program, arguments @ ..] => {
            let name = program.strip_prefix("./").unwrap_or(program);
            let name = name.strip_prefix("target/release/").unwrap_or(name);
            if PROGRAMS.contains(&name) { check_own(name, arguments) } else { Ok(()) }
        }
        [] => Ok(()),
    }
}

/// A cargo command may name packages and paths of the workspace.
fn check_cargo(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    for pair in arguments.windows(2) {
        if ["--path", "-p", "--package"].contains(&pair[0]) && !root.join(pair[1]).join("Cargo.toml").exists() {
            bail!("there is no package {}", pair[1]);
        }
    }
    Ok(())
}

/// Has the program parse the arguments. A word such as `PID` or `$(pidof game)` stands for a number.
fn check_own(name: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let program = workspace::target_dir()?.join("debug").join(name);
    let is_stand_in = |word: &str| word == "PID" || word.starts_with('$');
    let arguments = arguments.iter().map(|word| if is_stand_in(word) { "1" } else { word });
    let mut command = Command::new(program);
    let output = command.args(arguments).arg("--help").output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{}", first_line(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(())
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "\
Text with a [link](docs/a.md#part) and [another](https://example.org/x).
```sh
# build
cargo build --release
sudo tracer --pid PID \\
  -o alloc.svg
```
```console
$ tracer report alloc.pb.gz
not a command
```
```rust
let not = \"a [link](nowhere)\";
```
";

    #[test]
    fn commands_are_found_with_their_lines() {
        let expected =
            [(4, "cargo build --release"), (5, "sudo tracer --pid PID -o alloc.svg"), (9, "tracer report alloc.pb.gz")];
        assert_eq!(commands(DOCUMENT), expected.map(|(line, command)| (line, command.to_owned())));
    }

    #[test]
    fn links_are_the_relative_ones_outside_code() {
        assert_eq!(links(DOCUMENT), [(1, "docs/a.md".to_owned())]);
    }

    #[test]
    fn commands_of_the_repository_are_checked() {
        let root = workspace::root().unwrap();
        let error = |command| check_command(&root, command).unwrap_err().to_string();
        assert!(error("cargo xtask no-such-task").contains("no-such-task"));
        assert!(error("ls && cargo xtask test no-such-step").contains("no-such-step"));
        assert!(error("cargo install --path no-such-package").contains("no-such-package"));
        assert!(error("echo 'open").contains("quotes"));
        for fine in ["cargo xtask test", "cargo xtask demo --games 100 > log", "ls -l", "cargo install --path tracer"] {
            check_command(&root, fine).unwrap();
        }
    }
}
