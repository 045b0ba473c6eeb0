//! What following blocks costs a pair of malloc and free: the probes alone, then tracer beside other tools.

use std::time::Duration;

use anyhow::Context as _;
use tracer::probe::live::LivePoints;
use tracer_ebpf::abi::live::{Block, BlockKey};

use super::{
    interleave::interleave,
    loops,
    probes::{ALWAYS, NEVER, Probes},
    report::Section,
    scale::Scale,
    spread::Spread,
    target::{FramePointers, Target},
};

const ROUNDS: usize = 31;
const LIMIT: Duration = Duration::from_secs(20);
/// Blocks that are followed while releases of others are measured.
const IN_USE: [u64; 3] = [0, 2_000, 100_000];

/// Measures probes.
///
/// # Errors
/// When something cannot be attached or measured.
pub fn run(section: &mut Section, scale: Scale) -> anyhow::Result<()> {
    let mut target = Target::start(FramePointers::Omitted)?;
    target.cost(1)?;
    let mut sessions = Probes::new(target.pid(), Some(true))?;
    let mut always = Probes::new(target.pid(), Some(false))?;
    sessions.add_tables(target.pid())?;
    always.add_tables(target.pid())?;
    probes(section, scale, &mut sessions, &mut always, &mut target)?;
    misses(section, scale, &mut sessions, &mut target)?;
    drop((sessions, always, target));
    loops::following(section, scale)
}

/// What is attached in an arm.
#[derive(Clone, Copy)]
enum Arm {
    Nothing,
    Empty,
    Sessions(u64),
    Always(u64),
}

const ARMS: [(Arm, &str); 6] = [
    (Arm::Nothing, "nothing"),
    (Arm::Empty, "empty programs at both"),
    (Arm::Sessions(NEVER), "blocks followed, none sampled"),
    (Arm::Always(NEVER), "the same without session links: all returns trapped"),
    (Arm::Sessions(ALWAYS), "blocks followed, all sampled"),
    (Arm::Always(ALWAYS), "the same without session links"),
];

fn probes(
    section: &mut Section,
    scale: Scale,
    sessions: &mut Probes,
    always: &mut Probes,
    target: &mut Target,
) -> anyhow::Result<()> {
    let pid = target.pid();
    let rounds = interleave(ARMS.len(), scale.rounds(ROUNDS), LIMIT, |arm| {
        let (arm, _) = ARMS.get(arm).context("no such arm")?;
        let probes = match arm {
            Arm::Always(_) => &mut *always,
            _ => &mut *sessions,
        };
        let links = match *arm {
            Arm::Nothing => Vec::new(),
            Arm::Empty => vec![probes.link("empty", probes.malloc, pid)?, probes.link("empty", probes.free, pid)?],
            Arm::Sessions(interval) | Arm::Always(interval) => {
                probes.set_interval(interval)?;
                probes.follow(
                    &LivePoints {
                        returning: vec![probes.malloc],
                        releasing: vec![probes.free],
                        ..LivePoints::default()
                    },
                    pid,
                )?
            }
        };
        let time = target.cost(1);
        drop(links);
        // Room for those of the next.
        probes.discard()?;
        time
    })?;
    let added = |arm: usize| Spread::of(rounds.each(move |ns| ns[arm] - ns[0]));
    let ratio = |arm: usize| Spread::of(rounds.each(move |ns| (ns[arm] - ns[0]) / (ns[1] - ns[0])));
    let rows: Vec<Vec<String>> = (1..ARMS.len())
        .zip(&ARMS[1..])
        .map(|(arm, (_, name))| vec![(*name).to_owned(), added(arm).digits(0), ratio(arm).to_string()])
        .collect();
    section.line("A pair of malloc and free, in CPU time of the program, less the same without probes:");
    section.table(&["probes", "ns", "ratio"], &rows);
    Ok(())
}

/// Nearly all releases are of blocks that are not followed.
fn misses(section: &mut Section, scale: Scale, probes: &mut Probes, target: &mut Target) -> anyhow::Result<()> {
    let pid = target.pid();
    probes.set_interval(NEVER)?;
    let mut rows = Vec::new();
    for in_use in IN_USE {
        let live = probes.programs.live.as_ref().context("blocks are not followed")?;
        for number in 0..in_use {
            let key = BlockKey { pointer: 0x5500_0000_0000 + number * 48, process: pid, padding: 0 };
            live.map.insert(key, Block { time_ns: number + 1, released_ns: 0, thread: pid, released_by: 0 })?;
        }
        let rounds = interleave(3, scale.rounds(ROUNDS), LIMIT, |arm| {
            let _links = match arm {
                0 => Vec::new(),
                1 => vec![probes.link("empty", probes.free, pid)?],
                _ => probes.follow(&LivePoints { releasing: vec![probes.free], ..LivePoints::default() }, pid)?,
            };
            target.cost(1)
        })?;
        rows.push(vec![
            in_use.to_string(),
            Spread::of(rounds.each(|ns| ns[2] - ns[1])).digits(0),
            Spread::of(rounds.each(|ns| (ns[2] - ns[0]) / (ns[1] - ns[0]))).to_string(),
        ]);
    }
    section.line("A release of a block that is not followed, against a hit of an empty program:");
    section.table(&["blocks that are followed", "ns more", "ratio"], &rows);
    Ok(())
}
