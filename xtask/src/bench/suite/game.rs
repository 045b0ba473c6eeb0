//! Whether the reference game server keeps its ticks while tools watch it.

use std::{cell::RefCell, thread, time::Duration};

use anyhow::Context as _;

use super::{
    attachment::{Attachment, c_library},
    interleave::interleave,
    report::Section,
    scale::Scale,
    spread::Spread,
    target::folder,
    tools::Tools,
};
use crate::demo::loaded_server::{Load, LoadedServer};

const ROUNDS: usize = 5;
/// No new round begins after this.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// Two connections each.
const GAMES: u32 = 500;
/// How long the server plays under a tool.
const PLAY: Duration = Duration::from_secs(20);
/// Percentage points of the ticks that tracer's default may cost.
const GOAL: f64 = 1.0;

/// Measures ticks under each tool.
///
/// # Errors
/// When the server does not start, or a tool that is there does not attach.
pub fn run(section: &mut Section, scale: Scale) -> anyhow::Result<()> {
    let tools = Tools::find()?;
    let load = Load { games: if scale.quick { GAMES / 10 } else { GAMES } };
    let play = scale.time(PLAY);
    let shares = RefCell::new(Vec::new());
    let rounds = interleave(tools.tools.len() + 1, scale.rounds(ROUNDS), LIMIT, |arm| {
        let server = LoadedServer::start(load, &folder()?.join("game"))?;
        let attachment = Attachment::new(server.pid(), &c_library())?;
        let watching = match arm.checked_sub(1).and_then(|index| tools.tools.get(index)) {
            Some(tool) => Some(tools.watch(tool, server.pid(), &attachment)?),
            None => None,
        };
        let before = cpu(server.pid())?;
        thread::sleep(play);
        let used = cpu(server.pid())? - before;
        // Stopped under the tool: what the tool's end does to it is not asked here.
        let totals = server.stop()?;
        drop(watching);
        let share = on_time(&totals).with_context(|| format!("the load client does not say the ticks:\n{totals}"))?;
        shares.borrow_mut().push((arm, share));
        Ok(used)
    })?;

    section.line(&format!(
        "{} connections, {} games; the server plays {:.0} s under each tool, {} rounds. A tick is on time if it comes 15 to 17 ms \
         after the last; the share is over the whole life of the server.",
        load.connections(),
        load.games,
        play.as_secs_f64(),
        rounds.len()
    ));
    let shares = shares.into_inner();
    let of_arm = |arm: usize| Spread::of(shares.iter().filter(|(of, _)| *of == arm).map(|(_, share)| *share));
    let names = std::iter::once("none").chain(tools.tools.iter().map(|tool| tool.name));
    let rows: Vec<Vec<String>> = names
        .enumerate()
        .map(|(arm, name)| {
            let cpu = Spread::of(rounds.each(|times| times[arm] / times[0]));
            vec![name.to_owned(), of_arm(arm).to_string(), cpu.to_string()]
        })
        .collect();
    section.table(&["tool", "ticks on time, %", "CPU time of the server"], &rows);
    if let Some(index) = tools.tools.iter().position(|tool| tool.name == "tracer") {
        let lost = of_arm(0).median - of_arm(index + 1).median;
        let verdict = if lost <= GOAL { "met" } else { "missed" };
        section.line(&format!(
            "Goal: tracer's default costs at most {GOAL} percentage point of the ticks: {verdict} ({lost:.2})."
        ));
    }
    tools.name_absent(section);
    Ok(())
}

/// CPU time of a process so far, in clock ticks.
fn cpu(pid: u32) -> anyhow::Result<f64> {
    let stat = procfs::process::Process::new(pid.cast_signed())?.stat()?;
    Ok((stat.utime + stat.stime) as f64)
}

/// The number before `% on time` in what the load client prints.
fn on_time(totals: &str) -> Option<f64> {
    totals.split_once(" % on time")?.0.rsplit(|c: char| c.is_whitespace()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_ticks_is_found() {
        assert_eq!(on_time("games 12\nticks: 98.25 % on time (393 of 400; 3 early, 4 late)\n"), Some(98.25));
        assert_eq!(on_time("ticks: none reported"), None);
    }
}
