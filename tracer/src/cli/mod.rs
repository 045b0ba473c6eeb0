//! The command line. clap's types end here: each verb resolves its arguments into plain settings.

mod comparable;
pub mod cpu;
pub mod diff;
pub mod doctor;
pub mod failure;
mod functions;
mod limits;
mod number;
mod overhead;
mod owner;
mod privileges;
mod progress;
pub mod record;
mod recorded;
mod refusal;
mod regions;
pub mod render;
pub mod report;
mod scope;
mod show;
mod stages;
mod view;
mod writing;

use std::ffi::OsString;

use clap::{
    Parser, Subcommand,
    builder::{PathBufValueParser, TypedValueParser as _},
    error::ErrorKind,
};

use crate::output::Destination;

/// The verb of a command line that begins with an option: `tracer --pid 1` is `tracer record --pid 1`.
const DEFAULT_VERB: &str = "record";

/// Shows where a running process allocates memory, and where it spends CPU time.
#[derive(Debug, Parser)]
#[command(name = "tracer", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Record where a running process allocates memory; the default verb
    Record(record::Args),
    /// Record where a running process spends CPU time
    Cpu(cpu::Args),
    /// Make flame graphs and other files from a recording
    Render(render::Args),
    /// Show a recording on the terminal: rates over time, sizes, regions, sites
    Report(report::Args),
    /// Say what changed from one recording to another, and whether chance would do as well
    Diff(diff::Args),
    /// Say what works here and with a process, and what a recording would lack
    Doctor(doctor::Args),
}

/// How a command ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is there: exit code 0.
    Done,
    /// There is a result, but it is incomplete in a way that was said: exit code 3.
    Incomplete,
    /// What stands in the way was said: exit code 1.
    Unusable,
    /// More was allocated than `--fail-on-increase` allows: exit code 4.
    Increased,
}

impl Cli {
    /// Parses a command line, the program's name first.
    ///
    /// # Errors
    /// clap's, which also stand for `--help` and `--version`; `exit` prints them and ends with 2, or with 0.
    pub fn parse_from(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(with_default_verb(arguments))
    }

    /// Does what the command line asks for.
    ///
    /// # Errors
    /// What went wrong, for people: exit code 1; or, with clap's error inside, wrong usage that shows only when all arguments
    /// are known: exit code 2.
    pub fn run(self) -> anyhow::Result<Outcome> {
        match self.verb {
            Verb::Record(args) => record::run(args.resolve()?),
            Verb::Cpu(args) => record::run(args.resolve()?),
            Verb::Render(args) => render::run(args.resolve()?),
            Verb::Report(args) => report::run(&args.resolve()?),
            Verb::Diff(args) => diff::run(args.resolve()?),
            Verb::Doctor(args) => doctor::run(&args),
        }
    }
}

/// Inserts [`DEFAULT_VERB`] where the first argument is an option, other than those that `tracer` itself has. A first
/// word that is no verb is left alone: clap knows which one was meant.
fn with_default_verb(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let own = ["-h", "--help", "-V", "--version"];
    if arguments
        .get(1)
        .is_some_and(|first| first.as_encoded_bytes().starts_with(b"-") && !own.iter().any(|own| first == own))
    {
        arguments.insert(1, DEFAULT_VERB.into());
    }
    arguments
}

/// Arguments that are wrong together, or by what they name.
fn wrong_usage(message: impl std::fmt::Display) -> anyhow::Error {
    clap::Error::raw(ErrorKind::ArgumentConflict, format!("{message}\n")).into()
}

/// Understands an argument of `-o`; a wrong one is wrong usage.
fn destination() -> impl clap::builder::TypedValueParser<Value = Destination> {
    PathBufValueParser::new().try_map(|path| Destination::parse(&path).map_err(|error| error.reason))
}

#[cfg(test)]
mod readme_tests;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn inserted(line: &str) -> String {
        let arguments = line.split(' ').map(OsString::from);
        with_default_verb(arguments).iter().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_first_mean_the_default_verb() {
        for (line, expected) in [
            ("tracer --pid 1", "tracer record --pid 1"),
            ("tracer -o x.svg --pid 1", "tracer record -o x.svg --pid 1"),
            ("tracer -- ls -l", "tracer record -- ls -l"),
            ("tracer render x.pb.gz", "tracer render x.pb.gz"),
            ("tracer --help", "tracer --help"),
            ("tracer -V", "tracer -V"),
            ("tracer rendr", "tracer rendr"),
            ("tracer", "tracer"),
        ] {
            assert_eq!(inserted(line), expected);
        }
    }

    #[test]
    fn every_option_says_what_it_does() {
        for verb in Cli::command().get_subcommands() {
            for option in verb.get_arguments().filter(|option| option.get_id() != "help") {
                assert!(option.get_help().is_some(), "{} {}", verb.get_name(), option.get_id());
            }
        }
    }

    #[test]
    fn a_misspelt_verb_is_a_usage_error_with_the_right_one() {
        let error = Cli::parse_from(["tracer", "rendr", "x"].map(OsString::from)).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("'render'"), "{error}");
    }
}
