//! Structured logs, one JSON object a line: `level` (10 trace … 50 error), `time` (milliseconds since 1970), `pid`,
//! `hostname`, the members of the record, `msg`.
//!
//! Records are built before the level is asked, and a game's logger serializes the game's first state when it is made,
//! whether anything is ever logged or not. Both are the habits of the server that this one reproduces, and part of its
//! allocations.

mod line;

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Span, error_span, event};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

use crate::game::PlayerState;
use line::{Line, Members};

/// What is logged (`--logLevel`). Nothing is ever logged as fatal: with this level the log stays empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the usual names of levels")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    #[default]
    Warn,
    Error,
    Fatal,
    Silent,
}

/// Lines that may wait to be written to a file. The library's default takes 4 MB at the start, more than 500 games need.
const MOST_WAITING_LINES: usize = 8192;

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be written.
    #[error("cannot write the log file {path}: {source}; choose another with --logPath", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Logging was begun before.
    #[error(transparent)]
    Twice(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Begins logging for the whole process: to `path` (appending, through a thread of its own), or else to stdout. What is
/// written last reaches the file when the guard is dropped. Where a file cannot keep up, the server waits for it.
pub fn start(level: LogLevel, path: Option<&Path>) -> Result<Option<WorkerGuard>, LogError> {
    let level = match level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Fatal | LogLevel::Silent => LevelFilter::OFF,
    };
    let lines = tracing_subscriber::fmt().event_format(Line::new()).fmt_fields(Members).with_max_level(level);
    let Some(path) = path else {
        tracing::subscriber::set_global_default(lines.with_writer(std::io::stdout).finish())?;
        return Ok(None);
    };
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|source| LogError::File { path: path.to_owned(), source })?;
    // Not lossy: a statistics line that is dropped would make the server look better than it is.
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(false).buffered_lines_limit(MOST_WAITING_LINES).finish(file);
    tracing::subscriber::set_global_default(lines.with_writer(writer).finish())?;
    Ok(Some(guard))
}

/// Writes log lines; those of a game's logger repeat what the game began with.
#[derive(Debug)]
pub struct Logger {
    span: Span,
}

impl Logger {
    /// The server's logger, which adds nothing.
    pub fn root() -> Self {
        Self { span: Span::none() }
    }

    /// A game's logger. Its lines have both players as they are now, and the game's id.
    #[inline(never)]
    pub fn child(&self, p1: &PlayerState, p2: &PlayerState, id: u64) -> Self {
        let members = as_chindings(p1, p2, id);
        // At the level error, so that it exists at any level that logs at all.
        Self { span: error_span!("game", members) }
    }

    /// Logs a message.
    #[inline(never)]
    pub fn info(&self, msg: &'static str) {
        event!(parent: &self.span, Level::INFO, msg);
    }

    /// Logs a message and a record, whose members go into the line.
    #[inline(never)]
    #[expect(clippy::boxed_local, reason = "the record is to be built on the heap whether it is logged or not")]
    pub fn info_with<R: Serialize>(&self, record: Box<R>, msg: &'static str) {
        if tracing::enabled!(Level::INFO) {
            let members = members(&*record);
            event!(parent: &self.span, Level::INFO, members, msg);
        }
    }

    /// As [`Self::info_with`], at the level warn. Statistics are logged so, without a message.
    #[inline(never)]
    #[expect(clippy::boxed_local, reason = "the record is to be built on the heap whether it is logged or not")]
    pub fn warn<R: Serialize>(&self, record: Box<R>, msg: Option<&str>) {
        if tracing::enabled!(Level::WARN) {
            let members = members(&*record);
            event!(parent: &self.span, Level::WARN, members, msg);
        }
    }

    /// Logs a message at the level error.
    #[inline(never)]
    pub fn error(&self, msg: &str) {
        event!(parent: &self.span, Level::ERROR, msg);
    }
}

/// The members that a game's logger adds to each line, serialized at once.
#[inline(never)]
fn as_chindings(p1: &PlayerState, p2: &PlayerState, id: u64) -> String {
    #[derive(Serialize)]
    struct Bindings<'a> {
        p1: &'a PlayerState,
        p2: &'a PlayerState,
        id: u64,
    }
    members(&Bindings { p1, p2, id })
}

/// The members of a record as JSON, without the braces. A record that is no object gives none.
fn members(record: &impl Serialize) -> String {
    let mut json = serde_json::to_string(record).unwrap_or_default();
    if json.starts_with('{') && json.ends_with('}') {
        json.pop();
        json.remove(0);
        json
    } else {
        String::new()
    }
}
