//! What tools do to redis-server while redis-benchmark asks it.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{
    attachment::Attachment,
    cpu_clock::cpu_time,
    failures::Failures,
    interleave::interleave,
    report::Section,
    scale::Scale,
    spread::Spread,
    target::{folder, is_installed},
    tools::Tools,
};
use crate::{demo::background::Background, exec};

const ROUNDS: usize = 7;
const LIMIT: Duration = Duration::from_secs(2 * 60);
const REQUESTS: u32 = 40_000;
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures requests under each tool.
///
/// # Errors
/// When redis does not start.
pub fn run(section: &mut Section, scale: Scale) -> anyhow::Result<()> {
    if let Some(missing) = ["redis-server", "redis-benchmark"].into_iter().find(|program| !is_installed(program)) {
        section.line(&format!("Not measured: {missing} is not installed."));
        return Ok(());
    }
    let requests = scale.count(REQUESTS);
    let server = Server::start()?;
    let attachment = Attachment::new(server.running.pid(), &server.allocator()?)?;
    let tools = Tools::find()?.for_programs();
    server.load(requests)?;
    let mut failures = Failures::default();
    let mut ratios: Vec<Vec<Load>> = vec![Vec::new(); tools.tools.len()];
    let rounds = interleave(tools.tools.len(), scale.rounds(ROUNDS), LIMIT, |arm| {
        let tool = tools.tools.get(arm).context("no such tool")?;
        let ratio = failures.or_none(tool.name, || {
            attachment.wait(false, || Ok(()))?;
            let before = server.load(requests)?;
            let watching = tools.watch(tool, server.running.pid(), &attachment)?;
            let with = server.load(requests)?;
            drop(watching);
            Ok(Load { cpu: with.cpu / before.cpu, per_second: with.per_second / before.per_second })
        });
        ratios[arm].extend(ratio);
        Ok(0.0)
    })?;
    section.line(&format!(
        "`redis-benchmark -t set,get,lpush,lpop -d 64`, {requests} requests each over 20 connections; {} rounds. Against the \
         same just before the tool is started.",
        rounds.len()
    ));
    let rows: Vec<Vec<String>> = tools
        .tools
        .iter()
        .zip(&ratios)
        .map(|(tool, ratios)| {
            let spread = |number: fn(&Load) -> f64| Spread::of(ratios.iter().map(number)).to_string();
            vec![tool.name.to_owned(), spread(|ratio| ratio.cpu), spread(|ratio| ratio.per_second)]
        })
        .collect();
    section.table(&["tool", "CPU time of the server", "requests in a second"], &rows);
    failures.tell(section);
    tools.name_absent(section);
    Ok(())
}

struct Server {
    running: Background,
    port: u16,
}

/// What a load took, or how often so much.
#[derive(Clone, Copy)]
struct Load {
    /// CPU time of the server, in nanoseconds.
    cpu: f64,
    /// Requests.
    per_second: f64,
}

impl Server {
    fn start() -> anyhow::Result<Self> {
        // Free now; nobody else is expected to take it in between.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
        let mut running = Background::start(&mut command, &folder()?.join("redis.log"))?;
        let start = Instant::now();
        while !running.output()?.contains("Ready to accept connections") {
            running.expect_running()?;
            if start.elapsed() > PATIENCE {
                bail!("redis-server is not ready after {} s", PATIENCE.as_secs());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { running, port })
    }

    /// The library whose malloc it uses: Debian's is linked to jemalloc.
    fn allocator(&self) -> anyhow::Result<PathBuf> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.running.pid()))?;
        let mapped = |name: &str| {
            maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains(name))
        };
        let path = mapped("/libjemalloc.so")
            .or_else(|| mapped("/libc.so.6"))
            .context("redis-server has no library with malloc")?;
        Ok(Path::new(path).to_owned())
    }

    fn load(&self, requests: u32) -> anyhow::Result<Load> {
        let (start, before) = (Instant::now(), cpu_time(self.running.pid())?);
        exec::capture(Command::new("redis-benchmark").args([
            "-h",
            "127.0.0.1",
            "-p",
            &self.port.to_string(),
            "-t",
            "set,get,lpush,lpop",
            "-d",
            "64",
            "-c",
            "20",
            "-r",
            "10000",
            "-n",
            &requests.to_string(),
            "-q",
        ]))?;
        let per_second = 4.0 * f64::from(requests) / start.elapsed().as_secs_f64();
        Ok(Load { cpu: cpu_time(self.running.pid())? - before, per_second })
    }
}
