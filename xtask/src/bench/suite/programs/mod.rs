//! What tools do to real programs, each from its start to its end.

pub mod inputs;
mod run;

use std::time::Duration;

use anyhow::Context as _;

use self::{
    inputs::{Program, RECIPES, Recipe},
    run::{Runner, Time},
};
use super::{
    failures::Failures,
    interleave::interleave,
    report::Section,
    scale::Scale,
    spread::Spread,
    target::folder,
    tools::{Inside, Tool, Tools, insides},
};

const ROUNDS: usize = 7;
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// CPU time of a run without tools.
const RUN: Duration = Duration::from_millis(700);

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
    let tools = Tools::find()?.for_programs();
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

    let mut failures = Failures::default();
    let mut walls = vec![Vec::new(); arms.len() * programs.len()];
    let rounds = interleave(walls.len(), scale.rounds(ROUNDS), LIMIT, |index| {
        let arm = arms.get(index / programs.len()).context("no such tool")?;
        let program = programs.get(index % programs.len()).context("no such program")?;
        let time = failures.or_none(&format!("{} under {}", program.name, arm.name()), || match arm {
            Arm::Bare => runner.watched(program, None),
            Arm::Watched(tool) => runner.watched(program, Some((&tools, tool))),
            Arm::Preloaded(tool) => runner.inside(program, tool),
        });
        let time = time.unwrap_or(Time { cpu: f64::NAN, wall: f64::NAN });
        walls[index].push(time.wall);
        Ok(time.cpu)
    })?;

    section.line(&format!(
        "Programs from their start to their end, each some {:.1} s of CPU time when nobody watches; {} rounds. CPU time, and in \
         brackets time by the clock, against a run without tools in the same round. What tracer's default does to longer runs \
         is under `budget`.",
        scale.time(RUN).as_secs_f64(),
        rounds.len()
    ));
    let mut head = vec!["tool"];
    head.extend(programs.iter().map(|program| program.name));
    let shown = arms.iter().enumerate().skip(1).filter(|(_, arm)| !arm.is_baseline());
    let rows: Vec<Vec<String>> = shown
        .map(|(i, arm)| {
            let base = if arm.has_own_baseline() { i - 1 } else { 0 };
            let cells = (0..programs.len()).map(|program| {
                let (with, without) = (i * programs.len() + program, base * programs.len() + program);
                let cpu = Spread::of(rounds.each(|times| times[with] / times[without]));
                let wall = Spread::of(walls[with].iter().zip(&walls[without]).map(|(with, without)| with / without));
                if cpu.median.is_nan() { "failed".into() } else { format!("{cpu} [{:.2}]", wall.median) }
            });
            std::iter::once(arm.name().to_owned()).chain(cells).collect()
        })
        .collect();
    section.table(&head, &rows);
    failures.tell(section);
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
