//! The reference game server under its load client: what demos, checks and benchmarks watch.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use procfs::net::TcpState;

use super::background::Background;
use crate::{exec, workspace};

/// Milliseconds between the begins of games that begin together.
const TOGETHER: u32 = 2;
/// More games than any run plays: the load ends when it is stopped.
const GAMES_IN_ALL: u32 = 1_000_000;
const POLL: Duration = Duration::from_millis(50);
/// How long the server may take to listen, and the clients to connect beyond the time their starts take.
const PATIENCE: Duration = Duration::from_secs(30);
/// File descriptors of a process beside its sockets.
const OTHER_FILES: u64 = 256;

/// How much load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Games at a time; each is two connections.
    pub games: u32,
    /// Milliseconds between the begins of two.
    between: u32,
}

impl Load {
    /// Games that begin together, and so end together too.
    pub fn together(games: u32) -> Self {
        Self { games, between: TOGETHER }
    }

    /// Games that begin one after another: at any time some are at their begin and some at their end, so that one stretch
    /// of time is like any other.
    #[cfg(feature = "bench")]
    pub fn spread(games: u32) -> Self {
        // All have begun before the first is over.
        Self { games, between: (super::GAME.as_millis() as u32 * 9 / 10 / games.max(1)).max(TOGETHER) }
    }

    /// Connections at a time.
    pub fn connections(self) -> usize {
        self.games as usize * 2
    }
}

/// A server that plays, and the client that keeps it playing. Dropping it stops both.
pub struct LoadedServer {
    // Dropped in this order: the load first.
    load: Background,
    server: Background,
    server_log: PathBuf,
    port: u16,
}

impl LoadedServer {
    /// Builds both programs, starts them on a free port of the loopback interface, and returns once all connections
    /// are up. Logs go to `directory`.
    ///
    /// # Errors
    /// When they do not build, do not start, or do not connect in time; the error carries what they wrote.
    pub fn start(load: Load, directory: &Path) -> anyhow::Result<Self> {
        Self::start_with(load, &[], directory)
    }

    /// The same, with more options for the server.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(load: Load, options: &[&str], directory: &Path) -> anyhow::Result<Self> {
        let programs = build()?;
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        raise_open_files(load.connections() as u64 + OTHER_FILES)?;

        let server_log = directory.join("server.log");
        // The server appends: what an earlier run logged is not this run's.
        remove(&server_log)?;
        let mut server = Background::start(
            Command::new(programs.join("target-server"))
                .args(options)
                .args(["--port", "0", "--logPath"])
                .arg(&server_log),
            &directory.join("server.out"),
        )?;
        let mut port = None;
        wait_until(PATIENCE, "the server to listen", || {
            server.expect_running()?;
            port = port_of(&server.output()?);
            Ok(port.is_some())
        })?;
        let port = port.context("the server does not say its port")?;

        let client = Background::start(
            Command::new(programs.join("target-server-load"))
                .args(["-p", &port.to_string(), "-q", &load.games.to_string(), "-g", &GAMES_IN_ALL.to_string()])
                .args(["-t", &load.between.to_string(), "--server-log"])
                .arg(&server_log),
            &directory.join("load.out"),
        )?;
        let mut loaded = Self { load: client, server, server_log, port };
        loaded.wait_for_connections(load)?;
        Ok(loaded)
    }

    /// Process id of the server.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// The file that the server logs to: a JSON object a line, in these its statistics.
    pub fn log(&self) -> &Path {
        &self.server_log
    }

    /// Stops the load, then the server; returns the totals that the load client prints at its end.
    ///
    /// # Errors
    /// When either had ended before, a log has gone, or a game failed: then the load was not what it is said to be.
    pub fn stop(mut self) -> anyhow::Result<String> {
        self.server.expect_running()?;
        self.load.expect_running()?;
        let totals = self.load.stop()?;
        self.server.stop()?;
        if failed_games(&totals)? > 0 {
            bail!("games failed:\n{totals}");
        }
        Ok(totals)
    }

    fn wait_for_connections(&mut self, load: Load) -> anyhow::Result<()> {
        let limit = PATIENCE + Duration::from_millis(u64::from(load.games) * u64::from(load.between));
        wait_until(limit, &format!("{} connections", load.connections()), || {
            self.server.expect_running()?;
            self.load.expect_running()?;
            Ok(established(self.port)? >= load.connections())
        })
    }
}

/// Builds the release programs; returns their folder.
fn build() -> anyhow::Result<PathBuf> {
    exec::exec(workspace::cargo()?.args(["build", "--locked", "--release", "--package", "target-server"]))?;
    Ok(workspace::target_dir()?.join("release"))
}

/// The port in the whole line `listening on PORT` that the server prints when it is up.
fn port_of(output: &str) -> Option<u16> {
    output.split_inclusive('\n').find_map(|line| line.strip_prefix("listening on ")?.strip_suffix('\n')?.parse().ok())
}

/// The number in the line `games: 8 started, 7 finished, 1 failed, …` of the load client's totals.
fn failed_games(totals: &str) -> anyhow::Result<u64> {
    let counts = totals.lines().find_map(|line| line.strip_prefix("games: "));
    let failed = counts.and_then(|counts| counts.split(", ").find_map(|count| count.strip_suffix(" failed")));
    let failed = failed.and_then(|number| number.parse().ok());
    failed.with_context(|| format!("the load client does not say how many games failed:\n{totals}"))
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Established connections whose end at `port` is the local one: each connection counts once, on the server's side.
fn established(port: u16) -> anyhow::Result<usize> {
    let sockets = procfs::net::tcp().context("cannot read /proc/net/tcp")?;
    let at_port = sockets.iter().filter(|socket| socket.local_address.port() == port);
    Ok(at_port.filter(|socket| socket.state == TcpState::Established).count())
}

fn wait_until(limit: Duration, what: &str, mut is_so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let start = Instant::now();
    while !is_so()? {
        if start.elapsed() > limit {
            bail!("waited {} s in vain for: {what}", limit.as_secs());
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Raises the soft limit of open files, which children inherit, to `wanted` at least.
fn raise_open_files(wanted: u64) -> anyhow::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot read the limit of open files")?;
    if soft >= wanted {
        return Ok(());
    }
    if hard < wanted && !workspace::is_root() {
        bail!(
            "{wanted} open files are needed, and the hard limit is {hard}: take fewer games, or raise it (ulimit -Hn)"
        );
    }
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).context("cannot raise the limit of open files")
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_counts_once() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(established(port).unwrap(), 0);
        let _client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let _server = listener.accept().unwrap();
        assert_eq!(established(port).unwrap(), 1);
    }

    #[test]
    fn port_is_that_of_a_whole_line() {
        assert_eq!(port_of("at most 500 connections\nlistening on 40123\n"), Some(40123));
        assert_eq!(port_of("listening on 40"), None);
    }

    #[test]
    fn failed_games_are_counted_in_the_totals() {
        let totals = |failed| {
            format!(
                "started: 9, fails: {failed}\ngames: 9 started, 6 finished, {failed} failed, 3 unfinished, in 1.0 s\n"
            )
        };
        assert_eq!(failed_games(&totals(0)).unwrap(), 0);
        assert_eq!(failed_games(&totals(12)).unwrap(), 12);
        assert!(failed_games("started: 9, fails: 0\n").unwrap_err().to_string().contains("started: 9"));
    }

    #[test]
    fn waiting_in_vain_says_for_what() {
        let error = wait_until(Duration::ZERO, "rain", || Ok(false)).unwrap_err().to_string();
        assert!(error.contains("rain"), "{error}");
    }
}
