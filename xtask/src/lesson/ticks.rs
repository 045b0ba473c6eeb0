//! How many of the server's ticks were on time while something was done, by what its log says in that time.

use std::{
    fmt,
    fs::File,
    io::{BufRead as _, BufReader, Seek as _, SeekFrom},
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::Value;

/// Milliseconds between two ticks of a game that are on time.
const ON_TIME: RangeInclusive<u64> = 15..=17;

/// A place in the log.
pub struct Mark {
    log: PathBuf,
    at: u64,
}

/// Ticks, and how many of them were on time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticks {
    all: u64,
    on_time: u64,
}

impl Mark {
    /// Where the log ends now.
    ///
    /// # Errors
    /// When there is no log.
    pub fn set(log: &Path) -> anyhow::Result<Self> {
        let length = log.metadata().with_context(|| format!("cannot read {}", log.display()))?.len();
        Ok(Self { log: log.to_owned(), at: length })
    }

    /// The ticks that were logged since. The server does that once a second.
    ///
    /// # Errors
    /// When the log has gone.
    pub fn ticks(&self) -> anyhow::Result<Ticks> {
        let read = || -> std::io::Result<Ticks> {
            let mut file = File::open(&self.log)?;
            file.seek(SeekFrom::Start(self.at))?;
            let mut ticks = Ticks::default();
            for line in BufReader::new(file).lines() {
                ticks.add(&line?);
            }
            Ok(ticks)
        };
        read().with_context(|| format!("cannot read {}", self.log.display()))
    }
}

impl Ticks {
    /// Counts a line such as `{"title":"tickInterval","pointSet":{"16":980,"18":20}}`; others have no ticks.
    fn add(&mut self, line: &str) {
        let Ok(line) = serde_json::from_str::<Value>(line) else { return };
        if line["title"] != "tickInterval" {
            return;
        }
        let Some(points) = line["pointSet"].as_object() else { return };
        for (interval, count) in points {
            let (Ok(interval), Some(count)) = (interval.parse(), count.as_u64()) else { continue };
            self.all += count;
            self.on_time += if ON_TIME.contains(&interval) { count } else { 0 };
        }
    }
}

impl fmt::Display for Ticks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.all {
            0 => f.write_str("none logged"),
            all => write!(f, "{:.2} %", 100.0 * self.on_time as f64 / all as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn only_what_was_logged_since_counts() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, r#"{{"title":"tickInterval","pointSet":{{"16":1000}}}}"#).unwrap();
        let mark = Mark::set(file.path()).unwrap();
        assert_eq!(mark.ticks().unwrap().to_string(), "none logged");
        for line in [
            r#"{"title":"tickInterval","pointSet":{"0":1,"15":2,"17":3,"18":2}}"#,
            r#"{"title":"tickRuntime","pointSet":{"16":9}}"#,
            r#"{"title":"tickOnTime","count":5}"#,
            "half a li",
        ] {
            writeln!(file, "{line}").unwrap();
        }
        let ticks = mark.ticks().unwrap();
        assert_eq!(ticks, Ticks { all: 8, on_time: 5 });
        assert_eq!(ticks.to_string(), "62.50 %");
        let missing = Mark::set(Path::new("/nowhere/server.log")).err().unwrap();
        assert!(missing.to_string().contains("/nowhere/server.log"));
    }
}
