//! What tools do to real programs, each from its start to its end.

mod inputs;
mod run;

use std::{cell::RefCell, time::Duration};

use anyhow::Context as _;

use self::{
    inputs::{Program, RECIPES, Recipe},
    run::{Runner, Time},
};
use super::{
    interleave::interleave,
    report::Section,
    scale::Scale,
    spread::Spread,
    target::folder,
    tools::{Inside, Tool, Tools, insides},
};

const ROUNDS: usize = 7;
/// No new round begins after this.
const LIMIT: Duration = Duration::from_secs(60 * 60);
/// CPU time of a run without tools: several of the epochs in which a tool may be on and off.
const RUN: Duration = Duration::from_secs(5);
/// Slowdown that tracer's budget allows.
const BUDGET: f64 = 1.02;

/// One way to run a program.
enum Arm<'a> {
    Bare,
    Preloaded(Inside),
    Watched(&'a Tool),
}

/// Measures programs under each tool.
///
/// # Errors
/// When tracer does not build, or nothing can be run.
pub fn run(section: &mut Section, scale: Scale) -> anyhow::Result<()> {
    let folder = folder()?;
    let runner = Runner::new(&folder)?;
    let mut programs = Vec::new();
    for recipe in RECIPES {
        match sized(&recipe, &runner, &folder, scale.time(RUN)) {
            Ok(program) => programs.push(program),
            Err(error) => section.line(&format!("Not measured: {} ({error:#}).", recipe.name)),
        }
    }
    let tools = Tools::find()?;
    let (insides, missing) = insides(&folder);
    let mut arms = vec![Arm::Bare];
    arms.extend(tools.tools.iter().map(Arm::Watched));
    // Each allocator without its sampling goes right before the one with it.
    for tool in insides {
        if let Some(library) = &tool.bare {
            arms.push(Arm::Preloaded(Inside { preload: library.clone(), variables: Vec::new(), ..tool.clone() }));
        }
        arms.push(Arm::Preloaded(tool));
    }

    let walls = RefCell::new(Vec::new());
    let failures = RefCell::new(Vec::new());
    let rounds = interleave(arms.len() * programs.len(), scale.rounds(ROUNDS), LIMIT, |index| {
        let arm = arms.get(index / programs.len()).context("no such tool")?;
        let program = programs.get(index % programs.len()).context("no such program")?;
        let time = match arm {
            Arm::Bare => runner.watched(program, None),
            Arm::Watched(tool) => runner.watched(program, Some((&tools, tool))),
            Arm::Preloaded(tool) => runner.inside(program, tool),
        };
        // One tool that cannot stand one program is a result, not the end.
        let time = time.unwrap_or_else(|error| {
            let error = format!("{error:#}");
            eprintln!("{error}");
            let last = error.trim_end().lines().last().unwrap_or_default();
            failures.borrow_mut().push(format!("{} under {} ({last})", program.name, arm.name()));
            Time { cpu: f64::NAN, wall: f64::NAN }
        });
        walls.borrow_mut().push((index, time.wall));
        Ok(time.cpu)
    })?;

    section.line(&format!(
        "Programs from their start to their end, each some {:.1} s of CPU time when nobody watches; {} rounds. CPU time, and in \
         brackets time by the clock, against a run without tools in the same round.",
        scale.time(RUN).as_secs_f64(),
        rounds.len()
    ));
    let mut head = vec!["tool"];
    head.extend(programs.iter().map(|program| program.name));
    let walls = by_arm(&walls.into_inner(), arms.len() * programs.len());
    let shown = arms.iter().enumerate().skip(1).filter(|(_, arm)| !arm.is_baseline());
    let rows: Vec<Vec<String>> = shown
        .map(|(i, arm)| {
            let base = if arm.has_own_baseline() { i - 1 } else { 0 };
            let cells = (0..programs.len()).map(|program| {
                let (with, without) = (i * programs.len() + program, base * programs.len() + program);
                let cpu =
                    Spread::of(rounds.each(|times| times[with] / times[without]).filter(|ratio| ratio.is_finite()));
                let wall = walls[with].iter().zip(&walls[without]).map(|(with, without)| with / without);
                let wall = Spread::of(wall.filter(|ratio| ratio.is_finite()));
                if cpu.median.is_nan() { "failed".into() } else { format!("{cpu} [{:.2}]", wall.median) }
            });
            std::iter::once(arm.name().to_owned()).chain(cells).collect()
        })
        .collect();
    section.table(&head, &rows);
    if let Some(i) = arms.iter().position(|arm| arm.name() == "tracer") {
        let worst = (0..programs.len()).map(|program| {
            Spread::of(rounds.each(|times| times[i * programs.len() + program] / times[program])).median
        });
        let worst = worst.fold(0.0, f64::max);
        let verdict = if worst <= BUDGET { "met" } else { "missed" };
        section.line(&format!(
            "Goal: tracer's default slows none of them more than {BUDGET} times: {verdict} (largest {worst:.3})."
        ));
    }
    for failure in failures.into_inner() {
        section.line(&format!("Failed: {failure}."));
    }
    tools.name_absent(section);
    if !missing.is_empty() {
        section.line(&format!("Not installed: {}.", missing.join("; ")));
    }
    Ok(())
}

impl Arm<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Bare => "none",
            Self::Preloaded(tool) => tool.name,
            Self::Watched(tool) => tool.name,
        }
    }

    fn is_baseline(&self) -> bool {
        matches!(self, Self::Preloaded(tool) if tool.bare.is_some() && tool.variables.is_empty())
    }

    fn has_own_baseline(&self) -> bool {
        matches!(self, Self::Preloaded(tool) if tool.bare.is_some())
    }
}

/// The program with an input that takes about the wanted CPU time.
fn sized(recipe: &Recipe, runner: &Runner, folder: &std::path::Path, wanted: Duration) -> anyhow::Result<Program> {
    let small = (recipe.make)(recipe.small, folder)?;
    // Twice: what a start takes does not grow with the input.
    let time = |program| runner.watched(program, None).map(|time| time.cpu);
    let first = time(&small)?;
    let second = time(&(recipe.make)(recipe.small * 2, folder)?)?;
    let each = ((second - first) / f64::from(recipe.small)).max(first / f64::from(recipe.small) / 10.0);
    let size = (wanted.as_nanos() as f64 / each).clamp(1.0, f64::from(recipe.small) * 1000.0);
    (recipe.make)(size as u32, folder)
}

/// Values in the order of their rounds, by arm.
fn by_arm(values: &[(usize, f64)], arms: usize) -> Vec<Vec<f64>> {
    let mut sorted = vec![Vec::new(); arms];
    for &(arm, value) in values {
        if let Some(values) = sorted.get_mut(arm) {
            values.push(value);
        }
    }
    sorted
}
