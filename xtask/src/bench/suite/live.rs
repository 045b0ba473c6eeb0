//! What following blocks costs a pair of malloc and free: the probes alone, and whole tools that look for leaks.

use std::{process::Command, time::Duration};

use anyhow::Context as _;
use tracer::probe::live::LivePoints;
use tracer_ebpf::abi::live::{Block, BlockKey};

use super::{
    interleave::interleave,
    peers::{self, Tool},
    probes::{ALWAYS, NEVER, Probes},
    report::Section,
    spread::Spread,
    target::{FramePointers, Load, Target, folder, is_installed},
};
use crate::demo::build_tracer;

const ROUNDS: usize = 31;
const LIMIT: Duration = Duration::from_secs(20);
const PAIRS: u32 = 2000;
const WARM_UP: u32 = 100;
/// Blocks that are followed while releases of others are measured.
const IN_USE: u64 = 100_000;
const GOAL: f64 = 4.0;

/// Measures probes, then tools.
///
/// # Errors
/// When something cannot be attached or measured.
pub fn run(section: &mut Section) -> anyhow::Result<()> {
    let mut target = Target::start(FramePointers::Omitted)?;
    target.run(Load { depth: 1, pairs: WARM_UP, work: 0 })?;
    let mut sessions = Probes::new(target.pid(), Some(true))?;
    let mut always = Probes::new(target.pid(), Some(false))?;
    sessions.add_tables(target.pid())?;
    probes(section, &mut sessions, &mut always, &mut target)?;
    misses(section, &mut sessions, &mut target)?;
    drop((sessions, always, target));
    tools(section)
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
    sessions: &mut Probes,
    always: &mut Probes,
    target: &mut Target,
) -> anyhow::Result<()> {
    let load = |pairs| Load { depth: 1, pairs, work: 0 };
    let pid = target.pid();
    let rounds = interleave(ARMS.len(), ROUNDS, LIMIT, |arm| {
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
        target.run(load(WARM_UP))?;
        let time = target.run(load(PAIRS));
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
fn misses(section: &mut Section, probes: &mut Probes, target: &mut Target) -> anyhow::Result<()> {
    let load = |pairs| Load { depth: 1, pairs, work: 0 };
    let pid = target.pid();
    probes.set_interval(NEVER)?;
    let live = probes.programs.live.as_ref().context("blocks are not followed")?;
    for number in 0..IN_USE {
        let key = BlockKey { pointer: 0x5500_0000_0000 + number * 48, process: pid, padding: 0 };
        live.map.insert(key, Block { time_ns: number + 1, released_ns: 0, thread: pid, released_by: 0 })?;
    }
    let rounds = interleave(3, ROUNDS, LIMIT, |arm| {
        let _links = match arm {
            0 => Vec::new(),
            1 => vec![probes.link("empty", probes.free, pid)?],
            _ => probes.follow(&LivePoints { releasing: vec![probes.free], ..LivePoints::default() }, pid)?,
        };
        target.run(load(WARM_UP))?;
        target.run(load(PAIRS))
    })?;
    let ratio = Spread::of(rounds.each(|ns| (ns[2] - ns[0]) / (ns[1] - ns[0])));
    let added = Spread::of(rounds.each(|ns| ns[2] - ns[1]));
    section.line(&format!(
        "A release of a block that is not followed, with {IN_USE} others in the map, costs {ratio} times a hit of an empty \
         program: {} ns more.",
        added.digits(0)
    ));
    Ok(())
}

fn tools(section: &mut Section) -> anyhow::Result<()> {
    let folder = folder()?;
    let (tracer, output) = (build_tracer()?, folder.join("live.pb.gz"));
    let record = move |pid: u32| {
        let mut command = Command::new(&tracer);
        command.args(["--pid", &pid.to_string(), "--live", "--quiet", "--force", "-o"]).arg(&output);
        command
    };
    let mut tools = vec![Tool { name: "tracer --live".into(), command: Box::new(record) }];
    for (program, name, command) in [
        ("memleak-bpfcc", "bcc memleak", memleak as fn(u32) -> Command),
        ("bpftrace", "bpftrace, malloc, its return and free", bpftrace),
    ] {
        if is_installed(program) {
            tools.push(Tool { name: name.into(), command: Box::new(command) });
        } else {
            eprintln!("skipped: {program} is not installed");
        }
    }
    let costs = peers::compare(section, &folder, &tools)?;
    let [own, others @ ..] = costs.as_slice() else { return Ok(()) };
    if let Some(cheapest) = others.iter().copied().reduce(f64::min) {
        let verdict = if cheapest >= GOAL * own { "met" } else { "missed" };
        section.line(&format!(
            "Goal: a pair costs at least {GOAL} times less than under the others: {:.1} times; {verdict}.",
            cheapest / own
        ));
    }
    Ok(())
}

fn memleak(pid: u32) -> Command {
    let mut command = Command::new("memleak-bpfcc");
    // It prints every so many seconds.
    command.args(["-p", &pid.to_string(), "3600"]);
    command
}

/// What bpftrace users write, see its tutorial for the like.
fn bpftrace(pid: u32) -> Command {
    const LIBRARY: &str = "/lib/x86_64-linux-gnu/libc.so.6";
    let script = format!(
        "uprobe:{LIBRARY}:malloc {{ @size[tid] = arg0; }} \
         uretprobe:{LIBRARY}:malloc /@size[tid]/ {{ @stack[retval] = ustack; @bytes[retval] = @size[tid]; delete(@size[tid]); }} \
         uprobe:{LIBRARY}:free {{ delete(@stack[arg0]); delete(@bytes[arg0]); }}"
    );
    let mut command = Command::new("bpftrace");
    command.args(["-p", &pid.to_string(), "-e", &script]);
    command
}
