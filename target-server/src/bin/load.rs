//! The load client. See the library.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use target_server::load::cli::Options;
use target_server::{file_limit, load};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let files = file_limit::raise().context("cannot raise the limit of open files")?;
    file_limit::require(options.files(), files)?;
    let interrupted = async {
        // Without the handler, Ctrl-C ends the process without totals.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let totals = load::run(&options, interrupted).await?;
    let mut stdout = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer(&mut stdout, &totals)?;
        writeln!(stdout)?;
    } else {
        write!(stdout, "{totals}")?;
    }
    Ok(if totals.games_failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
