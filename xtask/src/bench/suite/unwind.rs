//! The walk by tables against the kernel's walk by frame pointers, and what tables cost.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use aya::maps::{MapData, StackTraceMap};
use tracer::unwind::measure::measure;
use tracer_ebpf::abi::sample::WalkStatus;

use super::{
    goal::{Goal, Verdict},
    interleave::interleave,
    probes::{ALWAYS, Probes},
    report::Section,
    scale::Scale,
    spread::Spread,
    target::{FramePointers, Load, Target},
    verified,
};
use crate::{exec, workspace};

const FRAMES: [u32; 3] = [10, 30, 100];
const ROUNDS: usize = 41;
const LIMIT: Duration = Duration::from_secs(20);
const GOAL: f64 = 1.3;

/// Measures walks, tables and programs.
///
/// # Errors
/// When something cannot be attached or measured.
pub fn run(section: &mut Section, scale: Scale) -> anyhow::Result<()> {
    walks(section, scale)?;
    verified::run(section)?;
    tables(section, scale)
}

fn walks(section: &mut Section, scale: Scale) -> anyhow::Result<()> {
    let mut omitted = Target::start(FramePointers::Omitted)?;
    let mut kept = Target::start(FramePointers::Kept)?;
    // Both must be through the loader.
    for target in [&mut omitted, &mut kept] {
        target.cost(1)?;
    }
    let mut probes = Probes::new(omitted.pid(), None)?;
    probes.add_tables(omitted.pid())?;
    let mut stacks = probes.programs.take_stacks()?;
    probes.set_interval(ALWAYS)?;

    let mut rows = Vec::new();
    let mut worst = 0.0_f64;
    for frames in FRAMES {
        let by_table = depth_for(frames, |depth| table_frames(&mut probes, &mut omitted, depth))?;
        let by_pointer = depth_for(frames, |depth| pointer_frames(&mut probes, &mut stacks, &mut kept, depth))?;
        let rounds = interleave(4, scale.rounds(ROUNDS), LIMIT, |arm| {
            let (program, target, depth) = match arm {
                0 => ("empty", &mut omitted, by_table),
                1 => ("walk", &mut omitted, by_table),
                2 => ("empty", &mut kept, by_pointer),
                _ => ("stackid", &mut kept, by_pointer),
            };
            let point = probes.malloc;
            probes.attached(program, point, target.pid(), || target.cost(depth))
        })?;
        let spread = |number: fn(&[f64]) -> f64| Spread::of(rounds.each(number));
        let ratio = spread(|ns| (ns[1] - ns[0]) / (ns[3] - ns[2]));
        worst = worst.max(ratio.median);
        rows.push(vec![
            frames.to_string(),
            spread(|ns| ns[1] - ns[0]).digits(0),
            spread(|ns| ns[3] - ns[2]).digits(0),
            ratio.to_string(),
            rounds.len().to_string(),
        ]);
    }
    probes.expect_no_loss()?;

    section.line(
        "A walk at the entry of `malloc`: the program that walks and does nothing else, less the empty program on the same \
         probe. By tables in a program without frame pointers; by `bpf_get_stackid` in the same program built with them, at \
         a depth that gives as many frames, always finding the same stack in its map.",
    );
    let head = ["frames", "by tables, ns", "by frame pointers, ns", "ratio", "rounds"];
    section.table(&head, &rows);
    let verdict = Verdict::at_most(worst, GOAL);
    let what = format!("a walk by tables takes at most {GOAL} times one by frame pointers, at each depth");
    section.goal(Goal { what, verdict, found: format!("largest {worst:.2}") });
    Ok(())
}

/// The depth at which a walk has this many frames.
fn depth_for(frames: u32, mut walk: impl FnMut(u32) -> anyhow::Result<u32>) -> anyhow::Result<u32> {
    let first = walk(1)?;
    let depth = frames.checked_sub(first).map(|more| more + 1);
    let depth = depth.with_context(|| format!("a stack has {first} frames at least"))?;
    let found = walk(depth)?;
    ensure!(found == frames, "{found} frames at depth {depth}, {frames} expected");
    Ok(depth)
}

fn table_frames(probes: &mut Probes, target: &mut Target, depth: u32) -> anyhow::Result<u32> {
    let (malloc, pid) = (probes.malloc, target.pid());
    probes.samples()?;
    probes.attached("allocation", malloc, pid, || target.run(Load { depth, pairs: 1, work: 0 }))?;
    let samples = probes.samples()?;
    let [sample] = samples.as_slice() else { bail!("{} samples of one allocation", samples.len()) };
    ensure!(sample.status == WalkStatus::Complete, "the walk ended early: {:?}", sample.status);
    Ok(sample.frames.len() as u32)
}

fn pointer_frames(
    probes: &mut Probes,
    stacks: &mut StackTraceMap<MapData>,
    target: &mut Target,
    depth: u32,
) -> anyhow::Result<u32> {
    for id in stacks.stack_ids().collect::<Result<Vec<_>, _>>()? {
        stacks.remove(&id)?;
    }
    let (malloc, pid) = (probes.malloc, target.pid());
    probes.attached("stackid", malloc, pid, || target.run(Load { depth, pairs: 1, work: 0 }))?;
    let found = stacks.iter().collect::<Result<Vec<_>, _>>()?;
    let [(_, stack)] = found.as_slice() else { bail!("{} stacks of one allocation", found.len()) };
    Ok(stack.frames().len() as u32)
}

/// Builds of a table that are measured.
const BUILDS: usize = 9;

fn tables(section: &mut Section, scale: Scale) -> anyhow::Result<()> {
    let files = files()?;
    let mut costs = Vec::new();
    for (_, path) in &files {
        costs.push(measure(path, 1).with_context(|| path.display().to_string())?);
    }
    let rounds = interleave(files.len(), scale.rounds(BUILDS), LIMIT, |file| {
        let (_, path) = files.get(file).context("no such file")?;
        Ok(measure(path, 1)?.build.as_secs_f64() * 1e3)
    })?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let rows = files.iter().zip(&costs).enumerate().map(|(index, ((name, _), cost))| {
        let text = mib(cost.coverage.text);
        vec![
            name.clone(),
            format!("{text:.1}"),
            cost.rows.to_string(),
            cost.rules.to_string(),
            format!("{:.0}", cost.kib_per_mib()),
            Spread::of(rounds.each(|ms| ms[index] / text)).digits(1),
        ]
    });
    section.line("Tables, built by one thread from a file in the page cache:");
    let head = ["file", "MiB of text", "rows", "rules", "KiB per MiB of text", "build, ms per MiB of text"];
    section.table(&head, &rows.collect::<Vec<_>>());
    Ok(())
}

/// What there is of a C library, an interpreter, a JIT and a large Rust library.
fn files() -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    let mut add = |name: &str, path: Option<PathBuf>| match path.and_then(|path| path.canonicalize().ok()) {
        Some(path) => files.push((name.to_owned(), path)),
        None => eprintln!("skipped: no {name} here"),
    };
    add("libc", Some("/lib/x86_64-linux-gnu/libc.so.6".into()));
    // The program may be a stub that loads the interpreter: the largest executable mapping is meant.
    let largest = "import re; print(max((int(b, 16) - int(a, 16), path) for a, b, path in \
        re.findall(r'(?m)^(\\w+)-(\\w+) r-xp .*?(/.*python.*)$', open('/proc/self/maps').read()))[1])";
    let python = exec::capture(Command::new("python3").args(["-c", largest]));
    add("python3", python.ok().map(PathBuf::from));
    add("node", Some("/usr/bin/node".into()));
    let sysroot = exec::capture(Command::new("rustc").args(["--print", "sysroot"]).current_dir(workspace::root()?))?;
    let drivers = Path::new(&sysroot).join("lib").read_dir()?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_driver =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("librustc_driver"));
    let driver = drivers.into_iter().find(is_driver);
    add("rustc's driver", driver);
    Ok(files)
}
