//! How many of the server's ticks were on time, by the statistics in its log.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::statistics::{ON_TIME_MS, TICK_INTERVAL};

/// The server's log cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the server's log {path}: {source}; --server-log takes the file given to the server's --logPath", path = path.display())]
pub struct LogError {
    path: PathBuf,
    source: io::Error,
}

/// A log of which only what is written from now on counts.
#[derive(Debug)]
pub struct ServerLog {
    path: PathBuf,
    begin: u64,
}

/// The server's ticks, as far as its log has reported them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ServerTicks {
    /// Intervals between two ticks of one game.
    pub intervals: u64,
    /// Intervals of 15, 16 or 17 ms.
    pub on_time: u64,
    /// Shorter ones: games that were catching up.
    pub early: u64,
    /// Longer ones.
    pub late: u64,
    /// `on_time / intervals`; absent without intervals.
    pub on_time_share: Option<f64>,
    /// Number of intervals of each length in milliseconds.
    pub histogram: BTreeMap<u64, u64>,
    /// Lines of the log that are no JSON object.
    pub unreadable_lines: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(default)]
    title: String,
    #[serde(default)]
    point_set: BTreeMap<u64, u64>,
}

impl ServerLog {
    /// Remembers where the log ends now.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let length = std::fs::metadata(path).map_err(|source| LogError { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), begin: length.len() })
    }

    /// Reads what was added since.
    pub fn read(&self) -> Result<ServerTicks, LogError> {
        self.read_lines().map_err(|source| LogError { path: self.path.clone(), source })
    }

    fn read_lines(&self) -> io::Result<ServerTicks> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.begin))?;
        let mut ticks = ServerTicks::default();
        for line in BufReader::new(file).split(b'\n') {
            match serde_json::from_slice::<Line>(&line?) {
                Ok(line) if line.title == TICK_INTERVAL => ticks.add(&line.point_set),
                Ok(_) => {}
                Err(_) => ticks.unreadable_lines += 1,
            }
        }
        ticks.on_time_share = (ticks.intervals > 0).then(|| ticks.on_time as f64 / ticks.intervals as f64);
        Ok(ticks)
    }
}

impl ServerTicks {
    fn add(&mut self, point_set: &BTreeMap<u64, u64>) {
        for (&ms, &count) in point_set {
            self.intervals += count;
            *self.histogram.entry(ms).or_default() += count;
            *if ON_TIME_MS.contains(&ms) {
                &mut self.on_time
            } else if ms < *ON_TIME_MS.start() {
                &mut self.early
            } else {
                &mut self.late
            } += count;
        }
    }
}

impl fmt::Display for ServerTicks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.on_time_share {
            None => write!(f, "none reported")?,
            Some(share) => write!(
                f,
                "{:.2} % on time ({} of {}; {} early, {} late)",
                100.0 * share,
                self.on_time,
                self.intervals,
                self.early,
                self.late
            )?,
        }
        if self.unreadable_lines > 0 {
            write!(f, "; {} unreadable lines in the log", self.unreadable_lines)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn sums_what_is_new() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, r#"{{"level":40,"title":"tickInterval","pointSet":{{"16":1000}}}}"#).unwrap();
        let log = ServerLog::open(file.path()).unwrap();
        assert_eq!(log.read().unwrap(), ServerTicks::default());
        for line in [
            r#"{"level":40,"title":"tickInterval","pointSet":{"0":1,"15":2,"17":3,"18":4}}"#,
            r#"{"level":40,"title":"tickRuntime","pointSet":{"16":9}}"#,
            r#"{"level":40,"title":"tickOnTime","count":5}"#,
            r#"{"level":50,"msg":"Played 100 games"}"#,
            r#"{"level":40,"title":"tickInterval","pointSet":{"16":10}}"#,
            "garbage",
        ] {
            writeln!(file, "{line}").unwrap();
        }
        let ticks = log.read().unwrap();
        assert_eq!((ticks.intervals, ticks.on_time, ticks.early, ticks.late), (20, 15, 1, 4));
        assert_eq!((ticks.on_time_share, ticks.unreadable_lines), (Some(0.75), 1));
        assert!(ticks.to_string().starts_with("75.00 % on time"));
    }

    #[test]
    fn a_missing_log_is_named() {
        let error = ServerLog::open(Path::new("/nowhere/server.log")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/server.log"));
    }
}
