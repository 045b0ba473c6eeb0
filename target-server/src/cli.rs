//! The server's command line. Option names are those of the server this one reproduces; `--host`, `--bullets` and
//! `--timer` are added. That server listens on all interfaces; this one on the loopback interface, unless told otherwise.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::Parser;
use serde::Serialize;

use crate::game::BulletStore;
use crate::logger::LogLevel;
use crate::ticker::TimerMode;

/// The reference game server. It prints `listening on PORT` when it is up.
#[derive(Clone, Debug, Parser, Serialize)]
#[command(name = "target-server", version)]
#[serde(rename_all = "camelCase")]
pub struct Options {
    /// Address to listen on; 0.0.0.0 for all interfaces
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub host: IpAddr,
    /// Port to listen on; 0 takes a free one
    #[arg(long, short, default_value_t = 42069)]
    pub port: u16,
    /// What to log
    #[arg(long = "logLevel", env = "PINO_LEVEL", value_enum, default_value_t)]
    pub log_level: LogLevel,
    /// File to append the log to [default: stdout]
    #[arg(long = "logPath", short = 'l')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_path: Option<PathBuf>,
    /// Time between two reports of statistics in the log, in milliseconds
    #[arg(long = "reportInterval", short, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub report_interval: u64,
    /// Speed of bullets, in units a second (players stand 2000 units apart)
    #[arg(long = "bulletSpeed", short, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub bullet_speed: u32,
    /// How a game keeps its bullets
    #[arg(long, value_enum, default_value_t)]
    pub bullets: BulletStore,
    /// How a game waits for its next tick
    #[arg(long, value_enum, default_value_t)]
    pub timer: TimerMode,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_original_spellings() {
        let options =
            "target-server --logLevel info --logPath a.log --port 1 --reportInterval 2 --bulletSpeed 3".split(' ');
        let long = Options::try_parse_from(options).unwrap();
        assert_eq!((long.log_level, long.port, long.report_interval, long.bullet_speed), (LogLevel::Info, 1, 2, 3));
        let short = Options::try_parse_from("target-server -l a.log -p 1 -r 2 -b 3".split(' ')).unwrap();
        assert_eq!((short.log_path, short.port), (long.log_path, 1));
        assert_eq!((short.report_interval, short.bullet_speed), (2, 3));
    }

    #[test]
    fn has_the_original_defaults_but_for_the_host() {
        let options = Options::try_parse_from(["target-server"]).unwrap();
        assert_eq!((options.port, options.report_interval, options.bullet_speed), (42069, 1000, 500));
        assert_eq!((options.log_level, options.log_path), (LogLevel::Warn, None));
        assert_eq!((options.bullets, options.timer), (BulletStore::Set, TimerMode::PerGame));
        assert_eq!(options.host.to_string(), "127.0.0.1");
    }

    #[test]
    fn is_logged_under_the_names_of_the_options() {
        let options = Options::try_parse_from("target-server -p 1 --logLevel fatal -l a.log".split(' ')).unwrap();
        assert_eq!(
            serde_json::to_string(&options).unwrap(),
            r#"{"host":"127.0.0.1","port":1,"logLevel":"fatal","logPath":"a.log","reportInterval":1000,"bulletSpeed":500,"bullets":"set","timer":"per-game"}"#
        );
    }
}
