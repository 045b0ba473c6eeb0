//! The commands that the README shows are commands of this program.

use std::ffi::OsString;

use super::Cli;

const README: &str = include_str!("../../../README.md");

/// Lines of fenced blocks that call tracer: without `sudo`, without the pipe and the explanation behind them.
fn commands(markdown: &str) -> Vec<&str> {
    let mut in_block = false;
    let mut commands = Vec::new();
    for line in markdown.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
            continue;
        }
        let command = line.strip_prefix("sudo ").unwrap_or(line);
        if in_block && command.starts_with("tracer ") {
            let command = command.split("   ").next().unwrap_or(command);
            commands.push(command.split(" | ").next().unwrap_or(command).trim());
        }
    }
    commands
}

/// Words as a shell splits them, where nothing is quoted; `PID` stands for a number.
fn parse(command: &str) -> Result<Cli, clap::Error> {
    let words = command.split_whitespace().map(|word| if word == "PID" { "1" } else { word });
    Cli::parse_from(words.map(OsString::from))
}

#[test]
fn commands_of_the_readme_parse() {
    let commands = commands(README);
    assert!(commands.len() >= 5, "{commands:?}");
    for command in commands {
        assert!(!command.contains(['\'', '"', '$']), "{command}: this test does not know quotes");
        if let Err(error) = parse(command) {
            panic!("`{command}`: {error}");
        }
    }
}

#[test]
fn wrong_commands_are_found() {
    let markdown = "tracer not code\n```text\nsudo tracer --pid PID --no-such | head   explained\nother --x\n```\n";
    let commands = commands(markdown);
    assert_eq!(commands, ["tracer --pid PID --no-such"]);
    assert!(parse(commands[0]).is_err());
}
