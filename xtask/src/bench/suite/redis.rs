//! What tools do to redis-server while redis-benchmark asks it.

use std::{
    cell::RefCell,
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
    interleave::interleave,
    report::Section,
    scale::Scale,
    spread::Spread,
    target::{folder, is_installed},
    tools::Tools,
};
use crate::{demo::background::Background, exec};

const ROUNDS: usize = 7;
/// No new round begins after this.
const LIMIT: Duration = Duration::from_secs(30 * 60);
const REQUESTS: u32 = 400_000;
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures requests under each tool.
///
/// # Errors
/// When redis does not start, or a tool that is there does not attach.
pub fn run(section: &mut Section, scale: Scale) -> anyhow::Result<()> {
    if let Some(missing) = ["redis-server", "redis-benchmark"].into_iter().find(|program| !is_installed(program)) {
        section.line(&format!("Not measured: {missing} is not installed."));
        return Ok(());
    }
    let requests = if scale.quick { REQUESTS / 20 } else { REQUESTS };
    let server = Server::start()?;
    let attachment = Attachment::new(server.running.pid(), &server.allocator()?)?;
    let tools = Tools::find()?;
    server.load(requests)?;
    let rates = RefCell::new(vec![Vec::new(); tools.tools.len()]);
    let rounds = interleave(tools.tools.len(), scale.rounds(ROUNDS), LIMIT, |arm| {
        let tool = tools.tools.get(arm).context("no such tool")?;
        attachment.wait(false, || Ok(()))?;
        let before = server.load(requests)?;
        let watching = tools.watch(tool, server.running.pid(), &attachment)?;
        let with = server.load(requests)?;
        drop(watching);
        if let Some(rates) = rates.borrow_mut().get_mut(arm) {
            rates.push(with.per_second / before.per_second);
        }
        Ok(with.cpu / before.cpu)
    })?;
    section.line(&format!(
        "`redis-benchmark -t set,get,lpush,lpop -d 64`, {requests} requests each over 20 connections; {} rounds. Against the \
         same just before the tool is started.",
        rounds.len()
    ));
    let rows: Vec<Vec<String>> = tools
        .tools
        .iter()
        .zip(rates.borrow().iter())
        .enumerate()
        .map(|(arm, (tool, rates))| {
            let cpu = Spread::of(rounds.each(|ratios| ratios[arm]));
            vec![tool.name.to_owned(), cpu.to_string(), Spread::of(rates.iter().copied()).to_string()]
        })
        .collect();
    section.table(&["tool", "CPU time of the server", "requests in a second"], &rows);
    tools.name_absent(section);
    Ok(())
}

struct Server {
    running: Background,
    port: u16,
}

/// What a load took.
struct Load {
    /// CPU time of the server, in clock ticks.
    cpu: f64,
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
        let (start, before) = (Instant::now(), self.cpu()?);
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
        Ok(Load { cpu: self.cpu()? - before, per_second })
    }

    /// CPU time so far, in clock ticks.
    fn cpu(&self) -> anyhow::Result<f64> {
        let stat = procfs::process::Process::new(self.running.pid().cast_signed())?.stat()?;
        Ok((stat.utime + stat.stime) as f64)
    }
}
