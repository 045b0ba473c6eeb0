//! Parse, run, map the error to an exit code.

use std::process::ExitCode;

use tracer::cli::{Cli, Outcome, failure};

fn main() -> ExitCode {
    let cli = match Cli::parse_from(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match cli.run() {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Incomplete) => ExitCode::from(3),
        Ok(Outcome::Increased) => ExitCode::from(4),
        Ok(Outcome::Unusable) => ExitCode::FAILURE,
        Err(error) => match error.downcast::<clap::Error>() {
            Ok(usage) => usage.exit(),
            Err(error) => {
                eprintln!("tracer: {}", failure::describe(&error));
                ExitCode::FAILURE
            }
        },
    }
}
