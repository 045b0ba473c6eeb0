//! Whether the reference game server keeps its ticks while tools watch it, and what it needs for them.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use target_server::load::ServerLog;

use super::{
    attachment::{Attachment, c_library},
    awake::Awake,
    cpu_clock::cpu_time,
    failures::Failures,
    goal::{Goal, Mean},
    interleave::{Rounds, interleave},
    report::Section,
    scale::Scale,
    spread::Spread,
    target::folder,
    tools::{TRACER, Tool, Tools},
};
use crate::demo::loaded_server::{Load, LoadedServer};

const ROUNDS: usize = 40;
/// For tracer's default.
const LIMIT: Duration = Duration::from_secs(1_000);
/// For the others.
const LIMIT_OTHERS: Duration = Duration::from_secs(100);
/// Two connections each.
const GAMES: u32 = 500;
/// How long the server plays under a tool.
const PLAY: Duration = Duration::from_secs(6);
/// The server reports its ticks so often.
const REPORT: Duration = Duration::from_secs(1);
/// Percentage points of the ticks that tracer's default may cost.
const GOAL: f64 = 1.0;
/// What the default budget allows.
const BUDGET: f64 = 1.02;

/// Measures ticks under each tool.
///
/// # Errors
/// When the server does not start, or ends.
pub fn run(section: &mut Section, scale: Scale) -> anyhow::Result<()> {
    let tools = Tools::find()?.for_programs();
    let load = Load::spread(scale.count(GAMES));
    let mut game = Game::start(load, scale.time(PLAY))?;
    let _awake = Awake::start()?;
    let (own, others): (Vec<&Tool>, Vec<_>) = tools.tools.iter().partition(|tool| tool.name == TRACER);

    // Nothing twice: how far two runs differ when nothing does.
    let own: Vec<_> = [None, None].into_iter().chain(own.into_iter().map(Some)).collect();
    let others: Vec<_> = std::iter::once(None).chain(others.into_iter().map(Some)).collect();
    let mut failures = Failures::default();
    let mut measure = |arms: &[Option<&Tool>], limit| {
        let mut ticks = vec![Vec::new(); arms.len()];
        let rounds = interleave(arms.len(), scale.rounds(ROUNDS), limit, |arm| {
            let tool = arms.get(arm).copied().flatten();
            let found = match tool {
                Some(tool) => failures.or_none(tool.name, || game.play(&tools, Some(tool))),
                None => Some(game.play(&tools, None)?),
            };
            let Played { on_time, cpu } = found.unwrap_or(Played { on_time: f64::NAN, cpu: f64::NAN });
            ticks[arm].push(on_time);
            Ok(cpu)
        })?;
        anyhow::Ok((ticks, rounds))
    };
    let (ticks, rounds) = measure(&own, LIMIT)?;
    let (ticks_others, rounds_others) = measure(&others, LIMIT_OTHERS)?;

    section.line(&format!(
        "{} connections, {} games that begin one after another; the server plays {:.0} s under each tool, {} rounds with tracer's default and {} with others. A tick is \
         on time if it comes 15 to 17 ms after the last. What runs only where nothing else does keeps the CPUs from sleeping: the \
         CPU time of a server that waits most of the time is noise otherwise.",
        load.connections(),
        load.games,
        scale.time(PLAY).as_secs_f64(),
        rounds.len(),
        rounds_others.len()
    ));
    let mut rows = rows(&own, &ticks, &rounds);
    // Nothing is there already.
    rows.extend(self::rows(&others, &ticks_others, &rounds_others).into_iter().skip(1));
    section.table(&["tool", "ticks on time, %", "CPU time of the server"], &rows);
    if let Some(arm) = own.iter().position(|tool| tool.is_some_and(|tool| tool.name == TRACER)) {
        let pairs = ticks[0].iter().zip(&ticks[1]).zip(&ticks[arm]);
        let lost = Mean::of(pairs.map(|((none, again), with)| f64::midpoint(*none, *again) - with));
        let what = format!("tracer's default costs at most {GOAL} percentage point of the ticks");
        section.goal(Goal::mean_at_most(what, lost, GOAL));
        let slower = Mean::of(rounds.each(|cpu| cpu[arm] / f64::midpoint(cpu[0], cpu[1])));
        let what = format!("tracer's default raises CPU time at most {BUDGET} times");
        section.goal(Goal::mean_at_most(what, slower, BUDGET));
        let noise = (
            Mean::of(ticks[0].iter().zip(&ticks[1]).map(|(none, again)| none - again)).digits(2),
            Mean::of(rounds.each(|cpu| cpu[1] / cpu[0])).digits(3),
        );
        section.line(&format!("Nothing against nothing: {} percentage points; CPU time {} times.", noise.0, noise.1));
    }
    failures.tell(section);
    tools.name_absent(section);
    game.server.stop()?;
    Ok(())
}

fn rows(arms: &[Option<&Tool>], ticks: &[Vec<f64>], rounds: &Rounds) -> Vec<Vec<String>> {
    let row = |(arm, tool): (usize, &Option<&Tool>)| {
        let cpu = Spread::of(rounds.each(move |cpu| cpu[arm] / cpu[0]));
        let name = tool.map_or("none", |tool| tool.name);
        vec![name.to_owned(), Spread::of(ticks[arm].iter().copied()).to_string(), cpu.to_string()]
    };
    arms.iter().enumerate().map(row).collect()
}

/// The server while it plays.
struct Game {
    server: LoadedServer,
    attachment: Attachment,
    log: PathBuf,
    play: Duration,
}

/// What the server did in a while.
struct Played {
    /// Percent of the ticks.
    on_time: f64,
    /// CPU time for a second.
    cpu: f64,
}

impl Game {
    fn start(load: Load, play: Duration) -> anyhow::Result<Self> {
        let folder = folder()?.join("game");
        let server = LoadedServer::start(load, &folder)?;
        let attachment = Attachment::new(server.pid(), &c_library())?;
        Ok(Self { server, attachment, log: folder.join("server.log"), play })
    }

    fn play(&mut self, tools: &Tools, tool: Option<&Tool>) -> anyhow::Result<Played> {
        let pid = self.server.pid();
        self.attachment.wait(false, || Ok(()))?;
        let watching = tool.map(|tool| tools.watch(tool, pid, &self.attachment)).transpose()?;
        // The next report is in part of what was before.
        thread::sleep(REPORT);
        let (log, start, before) = (ServerLog::open(&self.log)?, Instant::now(), cpu_time(pid)?);
        thread::sleep(self.play.max(2 * REPORT));
        let cpu = (cpu_time(pid)? - before) / start.elapsed().as_secs_f64();
        let share = log.read()?.on_time_share.context("the server reports no ticks")?;
        drop(watching);
        Ok(Played { on_time: 100.0 * share, cpu })
    }
}
