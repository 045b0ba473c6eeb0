//! Time beside memory: for each function and region its share of CPU time, its share of allocation, and the CPU time that is spent
//! inside the allocator on its behalf. Two recordings of one program, made one after the other: what tracing allocations costs is
//! not to be in the CPU time.

use std::collections::HashMap;

use super::name::{NameIndex, NameKind};
use super::paths::Paths;
use super::sites::Sites;
use super::{Profile, Row};
use crate::estimate::{Interval, Measure};
use crate::recording::{Recording, StackIndex, about::Source};

/// Why two recordings cannot be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The first one is something else.
    #[error("the first recording is no recording of CPU time: make one with `tracer cpu`")]
    NotCpu,
    /// The second one is something else.
    #[error("the second recording is no recording of allocations: make one with `tracer record`")]
    NotAllocations,
}

/// See the module. Rows have most CPU time first.
#[derive(Clone, Debug, Default)]
pub struct Join {
    /// Functions: each stack counts at the nearest one outside kernel, allocator and standard library, so that they add up.
    pub functions: Vec<JoinRow>,
    /// Regions; empty where either profile has none.
    pub regions: Vec<JoinRow>,
    /// Everything. Of allocations, everything that samples speak for.
    pub total: JoinRow,
}

/// A function or a region.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JoinRow {
    /// Its name.
    pub name: String,
    /// CPU time.
    pub cpu: Part,
    /// CPU time inside the allocator, as a part of all CPU time.
    pub allocator: Part,
    /// Allocations.
    pub allocated: Part,
}

/// A part of everything that a recording has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Part {
    /// What it has, in nanoseconds or bytes.
    pub amount: Measure,
    /// Its share, in 0 ..= 1.
    pub share: f64,
    /// 95 % interval of the share.
    pub interval: Interval,
}

impl Part {
    /// Everything: a share that is not estimated.
    fn everything(profile: &Profile, amount: Measure) -> Self {
        let share = profile.share(&amount);
        Self { amount, share, interval: Interval { low: share, high: share } }
    }

    fn of(profile: &Profile, amount: Measure) -> Self {
        Self { amount, share: profile.share(&amount), interval: profile.share_interval(&amount) }
    }
}

/// A recording and its profile.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The recording.
    pub recording: &'a Recording,
    /// Its profile.
    pub profile: &'a Profile,
}

impl Join {
    /// Joins a recording of CPU time and one of allocations. Functions and regions are the same where their names are.
    ///
    /// # Errors
    /// Recordings of something else.
    pub fn new(cpu: Side<'_>, allocations: Side<'_>) -> Result<Self, JoinError> {
        if cpu.recording.about.source != Source::Cpu {
            return Err(JoinError::NotCpu);
        }
        if !allocations.recording.about.source.is_allocations() {
            return Err(JoinError::NotAllocations);
        }
        let Side { recording, profile } = cpu;
        let paths = Paths::new(recording, &profile.names, &[]);
        let sites = Sites::new(recording, &paths, &profile.names);
        let stacks = 0..recording.stacks.len() as StackIndex;
        let site_in_allocator: Vec<Option<NameIndex>> =
            stacks.map(|stack| sites.of(stack).filter(|_| sites.is_in_allocator(stack))).collect();

        let in_allocator = profile.calibration.sum(profile.names.len(), |stack, groups| {
            if let Some(site) = site_in_allocator[stack as usize] {
                groups.add(site);
            }
        });
        let is_function = |name: NameIndex| profile.names.kind(name) == NameKind::Function;
        let inside = (0..).zip(in_allocator).filter(|(name, total)| total.samples > 0 && is_function(*name));
        let functions = rows(
            cpu,
            allocations,
            named(profile, &profile.sites),
            inside.map(|(name, total)| (profile.names.text(name), total)),
            named(allocations.profile, &allocations.profile.sites),
        );

        let regions = match (&profile.regions, &allocations.profile.regions) {
            (Some(of_cpu), Some(of_allocations)) => {
                let inside = profile.calibration.sum(of_cpu.names.len(), |stack, groups| {
                    if let Some(region) = of_cpu.of_stack.get(stack as usize)
                        && site_in_allocator[stack as usize].is_some()
                    {
                        groups.add((*region).into());
                    }
                });
                rows(
                    cpu,
                    allocations,
                    of_cpu.rows.iter().map(|row| (of_cpu.name(row.region), row.total)),
                    of_cpu.names.iter().map(String::as_str).zip(inside),
                    of_allocations.rows.iter().map(|row| (of_allocations.name(row.region), row.total)),
                )
            }
            _ => Vec::new(),
        };

        let inside = profile.calibration.sum(1, |stack, groups| {
            if site_in_allocator[stack as usize].is_some() {
                groups.add(0);
            }
        });
        let total = JoinRow {
            name: "all".to_owned(),
            cpu: Part::everything(profile, profile.calibration.attributed()),
            allocator: Part::of(profile, inside.first().copied().unwrap_or_default()),
            allocated: Part::everything(allocations.profile, allocations.profile.calibration.attributed()),
        };
        Ok(Self { functions, regions, total })
    }
}

fn named<'a>(profile: &'a Profile, rows: &'a [Row]) -> impl Iterator<Item = (&'a str, Measure)> {
    rows.iter().map(|row| (profile.names.text(row.name), row.total))
}

/// One row for each name.
fn rows<'a>(
    cpu: Side<'_>,
    allocations: Side<'_>,
    times: impl Iterator<Item = (&'a str, Measure)>,
    inside: impl Iterator<Item = (&'a str, Measure)>,
    bytes: impl Iterator<Item = (&'a str, Measure)>,
) -> Vec<JoinRow> {
    let mut measures: HashMap<&str, [Measure; 3]> = HashMap::new();
    for (name, total) in times {
        measures.entry(name).or_default()[0] += total;
    }
    for (name, total) in inside {
        measures.entry(name).or_default()[1] += total;
    }
    for (name, total) in bytes {
        measures.entry(name).or_default()[2] += total;
    }
    let mut rows: Vec<JoinRow> = measures
        .into_iter()
        .map(|(name, [time, inside, bytes])| JoinRow {
            name: name.to_owned(),
            cpu: Part::of(cpu.profile, time),
            allocator: Part::of(cpu.profile, inside),
            allocated: Part::of(allocations.profile, bytes),
        })
        .collect();
    rows.sort_by(|a, b| {
        let by = |part: fn(&JoinRow) -> f64| part(b).total_cmp(&part(a));
        by(|row| row.cpu.share).then(by(|row| row.allocated.share)).then_with(|| a.name.cmp(&b.name))
    });
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Options, Rules};
    use crate::recording::Sample;
    use crate::recording::about::{About, CpuTime};
    use crate::synthetic::Builder;

    const PERIOD: u64 = 10_000_000;

    /// Stacks, each with as many ticks.
    fn cpu(stacks: &[(&str, u64)]) -> Recording {
        let mut builder = Builder::default();
        for &(text, ticks) in stacks {
            let stack = builder.stack(text);
            let tick = Sample { stack, size: PERIOD, interval: PERIOD, ..Sample::default() };
            builder.recording.samples.extend((0..ticks).map(|_| tick.clone()));
        }
        let cpu = CpuTime { period_ns: PERIOD, accounted_ns: Some(builder.recording.samples.len() as u64 * PERIOD) };
        builder.recording.about = About { source: Source::Cpu, cpu: Some(cpu), ..About::default() };
        builder.recording
    }

    /// Stacks, each with one block.
    fn allocations(stacks: &[(&str, u64)]) -> Recording {
        let mut builder = Builder::default();
        for &(text, size) in stacks {
            let stack = builder.stack(text);
            builder.recording.samples.push(Sample { stack, size, ..Sample::default() });
        }
        builder.recording
    }

    fn example() -> (Recording, Recording) {
        let cpu = cpu(&[
            ("main > game::tick", 40),
            ("main > game::tick > alloc::vec::Vec<T>::push > malloc > arena_thing > entry_[k]", 30),
            ("main > log::write > memcpy", 10),
            ("main > log::write > cfree@GLIBC_2.2.5", 20),
        ]);
        let allocations = allocations(&[
            ("main > game::tick > alloc::vec::Vec<T>::push > malloc", 3000),
            ("main > net::read > malloc", 1000),
        ]);
        (cpu, allocations)
    }

    fn joined(cpu: &Recording, allocations: &Recording, rules: Rules) -> Result<Join, JoinError> {
        let options = Options { rules, ..Options::default() };
        let (time, memory) = (Profile::with_options(cpu, &options), Profile::with_options(allocations, &options));
        let side = |recording, profile| Side { recording, profile };
        Join::new(side(cpu, &time), side(allocations, &memory))
    }

    fn shares(rows: &[JoinRow]) -> Vec<(&str, [u64; 3])> {
        let percent = |part: &Part| (part.share * 100.0).round() as u64;
        let of = |row: &JoinRow| [percent(&row.cpu), percent(&row.allocator), percent(&row.allocated)];
        rows.iter().map(|row| (&row.name[..], of(row))).collect()
    }

    #[test]
    fn functions_have_time_memory_and_time_in_the_allocator() {
        let (cpu, allocations) = example();
        let join = joined(&cpu, &allocations, Rules::default()).unwrap();
        let expected = [
            ("game::tick", [70, 30, 75]),
            ("log::write", [20, 20, 0]),
            ("memcpy", [10, 0, 0]),
            ("net::read", [0, 0, 25]),
        ];
        assert_eq!(shares(&join.functions), expected);
        assert_eq!(
            (join.total.cpu.interval, join.total.allocated.interval),
            (Interval { low: 1.0, high: 1.0 }, Interval { low: 1.0, high: 1.0 })
        );
        assert_eq!(shares(&[join.total]), [("all", [100, 50, 100])]);
        // Binomial: 70 ± 1.96 √(100 · 0.7 · 0.3).
        let Interval { low, high } = join.functions[0].cpu.interval;
        assert!((low - 0.6).abs() < 0.02 && (high - 0.79).abs() < 0.02, "{low} to {high}");
        assert!(join.functions[3].cpu.interval.high > 0.0, "what was never seen may be rare");
    }

    #[test]
    fn regions_have_the_same() {
        let (cpu, allocations) = example();
        let mut rules = Rules::default();
        rules.add_option("game=^game::").unwrap();
        let join = joined(&cpu, &allocations, rules).unwrap();
        assert_eq!(shares(&join.regions), [("game", [70, 30, 75]), ("other", [30, 20, 25])]);
    }

    #[test]
    fn recordings_in_the_wrong_order_say_so() {
        let (cpu, allocations) = example();
        assert_eq!(joined(&allocations, &allocations, Rules::default()).unwrap_err(), JoinError::NotCpu);
        assert_eq!(joined(&cpu, &cpu, Rules::default()).unwrap_err(), JoinError::NotAllocations);
    }
}
