//! What a hit costs: not sampled, sampled, on an instruction that the kernel must single-step.

use std::time::Duration;

use super::{
    goal::Goal,
    interleave::interleave,
    probes::{ALWAYS, NEVER, Probes},
    report::Section,
    scale::Scale,
    spread::Spread,
    target::{FramePointers, PAIRS, Target, WARM_UP},
};

const ROUNDS: usize = 31;
const LIMIT: Duration = Duration::from_secs(20);
const DEPTHS: [u32; 3] = [1, 20, 90];
/// Times the empty program.
const GOAL: f64 = 1.1;
/// How much less the picked instruction of `free` costs than its first.
const GOAL_PICKED: f64 = 4.0;

/// Measures hits.
///
/// # Errors
/// When something cannot be attached or measured.
pub fn run(section: &mut Section, scale: Scale) -> anyhow::Result<()> {
    let mut target = Target::start(FramePointers::Omitted)?;
    target.cost(1)?;
    let mut probes = Probes::new(target.pid(), None)?;
    probes.add_tables(target.pid())?;
    unsampled(section, scale, &mut probes, &mut target)?;
    sampled(section, scale, &mut probes, &mut target)
}

fn unsampled(section: &mut Section, scale: Scale, probes: &mut Probes, target: &mut Target) -> anyhow::Result<()> {
    probes.set_interval(NEVER)?;
    let pid = target.pid();
    let rounds = interleave(5, scale.rounds(ROUNDS), LIMIT, |arm| {
        let (program, point) = match arm {
            0 => return target.cost(1),
            1 => ("empty", probes.malloc),
            2 => ("allocation", probes.malloc),
            3 => ("empty", probes.free),
            _ => ("empty", probes.free_entry),
        };
        probes.attached(program, point, pid, || target.cost(1))
    })?;
    let taken = probes.samples()?.len();
    let spread = |number: fn(&[f64]) -> f64| Spread::of(rounds.each(number));
    let ratio = spread(|ns| (ns[2] - ns[0]) / (ns[1] - ns[0]));
    let stepped = spread(|ns| (ns[4] - ns[0]) / (ns[3] - ns[0]));
    let shift = probes.free.file_offset - probes.free_entry.file_offset;
    section.line(&format!(
        "A hit that is not sampled ({taken} were, of {} hits), in CPU time of the program that is hit, less the same without \
         a probe:",
        rounds.len() as u64 * u64::from(PAIRS + WARM_UP)
    ));
    section.table(
        &["hit", "ns", "ratio"],
        &[
            vec!["`malloc`, empty program".into(), spread(|ns| ns[1] - ns[0]).digits(0), "1".into()],
            vec!["`malloc`, allocation program".into(), spread(|ns| ns[2] - ns[0]).digits(0), ratio.to_string()],
            vec![format!("`free+{shift}`, empty program"), spread(|ns| ns[3] - ns[0]).digits(0), "1".into()],
            vec!["`free+0`, empty program".into(), spread(|ns| ns[4] - ns[0]).digits(0), stepped.to_string()],
        ],
    );
    section.goal(Goal::at_most(
        format!("the allocation program costs at most {GOAL} times the empty one"),
        ratio,
        GOAL,
    ));
    let what =
        format!("`free` at its first instruction costs at least {GOAL_PICKED} times what it does at the picked one");
    section.goal(Goal::at_least(what, stepped, GOAL_PICKED));
    Ok(())
}

fn sampled(section: &mut Section, scale: Scale, probes: &mut Probes, target: &mut Target) -> anyhow::Result<()> {
    probes.set_interval(ALWAYS)?;
    let (malloc, pid) = (probes.malloc, target.pid());
    let mut rows = Vec::new();
    for depth in DEPTHS {
        let mut frames = 0;
        probes.discard()?;
        let rounds = interleave(3, scale.rounds(ROUNDS), LIMIT, |arm| {
            let program = match arm {
                0 => return target.cost(depth),
                1 => "empty",
                _ => "allocation",
            };
            let time = probes.attached(program, malloc, pid, || target.cost(depth))?;
            let samples = probes.samples()?;
            frames = samples.last().map_or(frames, |sample| sample.frames.len());
            Ok(time)
        })?;
        let spread = |number: fn(&[f64]) -> f64| Spread::of(rounds.each(number));
        rows.push(vec![
            frames.to_string(),
            spread(|ns| ns[2] - ns[0]).digits(0),
            spread(|ns| (ns[2] - ns[0]) / (ns[1] - ns[0])).to_string(),
        ]);
    }
    probes.expect_no_loss()?;
    section.line("A hit that is sampled: stack walked, record written. The ratio is to a hit of the empty program.");
    section.table(&["frames", "ns", "ratio"], &rows);
    Ok(())
}
