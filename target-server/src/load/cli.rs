//! The load client's command line. Short options and their defaults are those of the client this one reproduces, but for the
//! host: that one looks for the server at 0.0.0.0, which is the loopback interface as well.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Plays many games at once against target-server, and says how it went.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "target-server-load",
    version,
    after_help = "Exit codes: 0 no game failed (those unfinished when time was up did not), 1 games failed or none could begin, \
                  2 wrong usage"
)]
pub struct Options {
    /// Port of the server
    #[arg(long, short, default_value_t = 42069)]
    pub port: u16,
    /// Address of the server
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub host: IpAddr,
    /// Games to play in all
    #[arg(long, short, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub games: u64,
    /// Milliseconds between two shots of the fast player
    #[arg(long, short, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub fast: u64,
    /// Milliseconds between two shots of the slow player
    #[arg(long, short, default_value_t = 140, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub slow: u64,
    /// Milliseconds between the begins of two games
    #[arg(long, short, default_value_t = 2, value_parser = clap::value_parser!(u64).range(..=3_600_000))]
    pub time_between: u64,
    /// Games at once, each of them two connections
    #[arg(long = "parallel", short = 'q', default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub parallel: u32,
    /// Print each game's end
    #[arg(long, short)]
    pub debug: bool,
    /// Stop after this time, for example 60s, with the games then running unfinished [default: when all games are played]
    #[arg(long, value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// The log file that the server writes (its --logPath): adds how many of its ticks were on time
    #[arg(long)]
    pub server_log: Option<PathBuf>,
    /// Let each fast player ping the server so often, in milliseconds, to measure round trips; 0: never, as pings are
    /// load of their own
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=3_600_000))]
    pub ping: u64,
    /// Print the totals as one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Options {
    /// Where the server is.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }

    /// Open files that the connections need, with some for everything else.
    pub fn files(&self) -> u64 {
        u64::from(self.parallel) * 2 + 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_short_spellings() {
        let line = "target-server-load -p 1 -g 2 -f 3 -s 4 -t 5 -q 6 -d --duration 1m --json";
        let options = Options::try_parse_from(line.split(' ')).unwrap();
        assert_eq!((options.port, options.games, options.fast, options.slow), (1, 2, 3, 4));
        assert_eq!((options.time_between, options.parallel, options.debug), (5, 6, true));
        assert_eq!((options.duration, options.files()), (Some(Duration::from_secs(60)), 76));
    }

    #[test]
    fn has_the_original_defaults() {
        let options = Options::try_parse_from(["target-server-load"]).unwrap();
        assert_eq!(options.address().to_string(), "127.0.0.1:42069");
        assert_eq!((options.games, options.fast, options.slow), (10_000, 120, 140));
        assert_eq!((options.time_between, options.parallel, options.debug), (2, 100, false));
        assert_eq!((options.duration, options.server_log, options.ping, options.json), (None, None, 0, false));
    }
}
