//! How much tracer's default budget slows programs that allocate without a pause: pairs of runs with and without it.
//! The game server is in a section of its own.

mod job;

use std::time::Duration;

use anyhow::Context as _;

use self::job::{Cost, Job};
use super::{
    attachment::{Attachment, c_library},
    goal::{Goal, Mean},
    interleave::interleave,
    report::Section,
    scale::Scale,
    tools::{TRACER, Tools},
};

const ROUNDS: usize = 40;
/// For each program.
const LIMIT: Duration = Duration::from_secs(300);
/// With tracer: several of its epochs, however little is measured.
const READING: Duration = Duration::from_secs(3);
/// Without, twice in a round.
const READING_BARE: Duration = Duration::from_millis(1500);
const GOAL: f64 = 1.02;

/// Starts a program.
type Start = fn() -> anyhow::Result<Job>;

const JOBS: [(&str, Start); 3] =
    [("malloc loop, full rate", Job::malloc_loop), ("sqlite3", Job::sqlite), ("jq", Job::jq)];

/// Measures each program.
///
/// # Errors
/// When tracer does not build.
pub fn run(section: &mut Section, scale: Scale) -> anyhow::Result<()> {
    let tools = Tools::find()?;
    section.line(
        "One process of each program does the same work again and again, in turn without tracer, without tracer again, and with \
         its default, in a new order every round: time for a piece of work with tracer, against the mean of the two without. \
         Means of the rounds' ratios, with their 95 % intervals.",
    );
    let (mut rows, mut goals) = (Vec::new(), Vec::new());
    for (name, start) in JOBS {
        match start().and_then(|mut job| measure(&tools, &mut job, scale)) {
            Ok(found) => {
                let [cpu, wall, noise] = found;
                rows.push(vec![name.to_owned(), cpu.digits(3), wall.digits(3), noise.digits(3), cpu.count.to_string()]);
                goals.push(Goal::mean_at_most(format!("{name} is slowed at most {GOAL} times (CPU time)"), cpu, GOAL));
                goals.push(Goal::mean_at_most(format!("{name} is slowed at most {GOAL} times (clock)"), wall, GOAL));
            }
            Err(error) => {
                eprintln!("{name}: {error:#}");
                section.line(&format!("Not measured: {name} ({error:#})."));
            }
        }
    }
    section.table(&["program", "CPU time", "time by the clock", "CPU time, nothing against nothing", "rounds"], &rows);
    for goal in goals {
        section.goal(goal);
    }
    Ok(())
}

/// CPU time and time by the clock with tracer, and CPU time without again, against without.
fn measure(tools: &Tools, job: &mut Job, scale: Scale) -> anyhow::Result<[Mean; 3]> {
    let tool = tools.tools.iter().find(|tool| tool.name == TRACER).context("no tracer")?;
    // It must be through the loader, and warm.
    job.work(scale.time(READING_BARE))?;
    let attachment = Attachment::new(job.pid(), &c_library())?;
    let mut walls = [Vec::new(), Vec::new(), Vec::new()];
    let rounds = interleave(walls.len(), scale.rounds(ROUNDS), LIMIT, |arm| {
        attachment.wait(false, || Ok(()))?;
        let Cost { cpu, wall } = if arm < 2 {
            job.work(scale.time(READING_BARE))?
        } else {
            let running = tools.watch(tool, job.pid(), &attachment)?;
            let cost = job.work(READING)?;
            drop(running);
            cost
        };
        walls[arm].push(wall);
        Ok(cpu)
    })?;
    let ratio = |none: f64, again: f64, with: f64| with / f64::midpoint(none, again);
    let [none, again, with] = &walls;
    Ok([
        Mean::of(rounds.each(|cpu| ratio(cpu[0], cpu[1], cpu[2]))),
        Mean::of(none.iter().zip(again).zip(with).map(|((none, again), with)| ratio(*none, *again, *with))),
        Mean::of(rounds.each(|cpu| cpu[1] / cpu[0])),
    ])
}
