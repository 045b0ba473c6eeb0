use super::*;
use crate::profile::Profile;
use crate::recording::Sample;
use crate::recording::about::{CpuTime, Source};
use crate::synthetic::simulation::{self, Site, normal};
use crate::synthetic::{Builder, Random, program, random};

fn side(recording: &Recording) -> Side<'_> {
    Side { recording, divisor: recording.seconds() }
}

fn compared(before: &Recording, after: &Recording, rules: &[&str], chance: Chance) -> Difference {
    let mut parsed = Rules::default();
    for rule in rules {
        parsed.add_option(rule).unwrap();
    }
    Difference::new(side(before), side(after), &parsed, chance)
}

/// Everything that is said to have changed.
fn reported(difference: &Difference) -> Vec<String> {
    let found = |change: &Change| matches!(change.verdict(), Verdict::Increase | Verdict::Decrease);
    let rows = [("region", &difference.regions), ("site", &difference.sites), ("function", &difference.functions)];
    let rows =
        rows.iter().flat_map(|(kind, rows)| rows.iter().map(move |row| (format!("{kind} {}", row.name), row.change)));
    let nodes = difference.nodes.iter().flatten().map(|change| ("node".to_owned(), *change));
    let all = [("total".to_owned(), difference.total)].into_iter().chain(rows).chain(nodes);
    all.filter(|(_, change)| found(change)).map(|(what, _)| what).collect()
}

fn row<'a>(rows: &'a [Row], name: &str) -> &'a Change {
    &rows.iter().find(|row| row.name == name).unwrap().change
}

/// Sixty places in a dozen functions, of all sizes and rates.
fn sites() -> Vec<Site> {
    const STACKS: [&str; 12] = [
        "main > net::accept > malloc",
        "main > net::read > net::frame > malloc",
        "main > net::read > net::frame > json::parse > malloc",
        "main > net::read > json::parse > alloc::vec::Vec<T>::push > realloc",
        "main > game::tick > game::spawn > malloc",
        "main > game::tick > game::move > alloc::vec::Vec<T>::push > malloc",
        "main > game::tick > log::write > malloc",
        "main > log::write > malloc",
        "main > log::flush > calloc",
        "thread > worker > job::one > malloc",
        "thread > worker > job::two > malloc",
        "thread > worker > job::three > net::send > malloc",
    ];
    let site = |i: usize| Site {
        stack: STACKS[i % STACKS.len()],
        size: [24, 48, 100, 640, 4000, 70_000][i / STACKS.len() % 6],
        rate: [4000.0, 900.0, 300.0, 60.0, 10.0, 0.4][i / STACKS.len() % 6] * (1.0 + (i % 5) as f64),
    };
    (0..60).map(site).collect()
}

/// Activity that wanders: independent from moment to moment, or slowly, or in rare bursts.
fn wandering(kind: u32) -> impl FnMut(&mut Random) -> f64 {
    let (mut level, mut burst) = (0.0, 0);
    move |random| match kind {
        0 => 1.0,
        1 => (0.5 * normal(random)).exp(),
        2 => {
            level = 0.95 * level + 0.1 * normal(random);
            f64::exp(level)
        }
        _ => {
            burst = if random.below(60) == 0 { 10 } else { burst - 1 };
            if burst > 0 { 5.0 } else { 0.5 }
        }
    }
}

/// Two recordings of the same program report nothing in 95 % of the cases, however unsteady the program is.
#[test]
fn the_same_program_twice_has_not_changed() {
    const PAIRS: usize = 40;
    let mut random = Random::new(20_261_122);
    let sites = sites();
    for kind in 0..4 {
        let mut wrong = 0;
        for _ in 0..PAIRS {
            let [a, b] =
                [(), ()].map(|()| simulation::record(&sites, 8, 32 << 10, &mut random, wandering(kind)).recording);
            let difference = compared(&a, &b, &["net=^net::", "game=^game::", "log=^log::"], Chance::Time);
            assert!(difference.questions[0] == 5 && difference.questions[1] > 10, "{:?}", difference.questions);
            let reported = reported(&difference);
            wrong += usize::from(!reported.is_empty());
            if !reported.is_empty() {
                println!("kind {kind}: {reported:?}");
            }
        }
        println!("activity {kind}: {wrong} of {PAIRS} pairs");
        assert!(wrong * 20 <= PAIRS, "activity {kind}: {wrong} of {PAIRS} pairs");
    }
}

/// With sampling as all of chance, a steady program is still told right.
#[test]
fn sampling_error_alone_reports_nothing_of_a_steady_program() {
    // As many blocks in both: all that differs is which are sampled.
    const PAIRS: usize = 200;
    let mut random = Random::new(5);
    let mut builder = Builder::default();
    let stacks: Vec<u32> = (0..30).map(|i| builder.stack(&format!("main > f{} > g{i} > malloc", i % 7))).collect();
    let mut wrong = 0;
    for _ in 0..PAIRS {
        let [a, b] = [(), ()].map(|()| {
            let mut recording = builder.recording.clone();
            for &stack in &stacks {
                for _ in 0..20_000 {
                    if random.unit() < -(-100.0f64 / 65_536.0).exp_m1() {
                        recording.samples.push(Sample { stack, size: 100, interval: 65_536, ..Sample::default() });
                    }
                }
            }
            recording.about.duration_ns = 1_000_000_000;
            recording
        });
        wrong += usize::from(!reported(&compared(&a, &b, &[], Chance::Sampling)).is_empty());
    }
    println!("{wrong} of {PAIRS} pairs");
    assert!(wrong * 20 <= PAIRS, "{wrong} of {PAIRS} pairs");
}

#[test]
fn a_real_change_is_found_where_it_is() {
    let mut random = Random::new(11);
    let sites = sites();
    let mut changed = sites.clone();
    for site in changed.iter_mut().filter(|site| site.stack.contains("game::spawn")) {
        site.rate *= 0.3;
    }
    let mut found = 0;
    for _ in 0..20 {
        let a = simulation::record(&sites, 8, 8 << 10, &mut random, wandering(1)).recording;
        let b = simulation::record(&changed, 8, 8 << 10, &mut random, wandering(1)).recording;
        let difference = compared(&a, &b, &["spawn=^game::spawn", "net=^net::"], Chance::Time);
        let spawn = row(&difference.regions, "spawn");
        assert!((spawn.relative() + 0.7).abs() < 0.2, "{spawn:?}");
        found += usize::from(spawn.verdict() == Verdict::Decrease);
        assert_eq!(row(&difference.regions, "net").verdict(), Verdict::Chance);
        let function = row(&difference.functions, "game::spawn");
        assert_eq!((function.samples, row(&difference.sites, "game::spawn").samples), (spawn.samples, spawn.samples));
    }
    assert!(found >= 19, "{found} of 20");
}

/// Intervals of differences hold the true ones.
#[test]
fn intervals_of_differences_hold_the_truth() {
    const RUNS: usize = 150;
    let mut random = Random::new(17);
    let sites = sites();
    let rate = |scale: f64| -> f64 {
        let of_net = sites.iter().filter(|site| site.stack.contains("net::frame") && !site.stack.contains("json"));
        of_net.map(|site| site.rate * scale * site.size as f64).sum()
    };
    let mut covered = 0;
    for _ in 0..RUNS {
        let a = simulation::record(&sites, 6, 32 << 10, &mut random, |_| 1.0).recording;
        let b = simulation::record(&sites, 4, 32 << 10, &mut random, |_| 1.5).recording;
        let difference = compared(&a, &b, &["frame=^net::frame", "json=^json::"], Chance::Time);
        let change = row(&difference.regions, "frame").difference;
        covered += usize::from((change.value - (rate(1.5) - rate(1.0))).abs() <= change.margin);
    }
    println!("coverage {covered} of {RUNS}");
    assert!((0.92..=1.0).contains(&(covered as f64 / RUNS as f64)), "{covered} of {RUNS}");
}

/// Ticks a second of CPU time, of a program that is busy for a third of it.
fn cpu_sites(scale: f64) -> [Site; 6] {
    let site = |stack, rate| Site { stack, size: 10_000_000, rate };
    [
        site("main > game::tick > game::spawn", 9.0 * scale),
        site("main > game::tick > malloc", 4.0),
        site("main > net::read > read@plt > entry_[k]", 10.0),
        site("main > net::read > net::frame > json::parse", 6.0),
        site("main > log::write", 3.0),
        site("main > rare", 0.2),
    ]
}

/// A recording of CPU time: each block of the simulation is a tick, and the kernel's account says as much as they do.
fn cpu_recording(sites: &[Site], random: &mut Random, activity: impl FnMut(&mut Random) -> f64) -> Recording {
    // An interval of 1 byte: every tick is in.
    let mut recording = simulation::record(sites, 10, 1, random, activity).recording;
    let accounted = recording.samples.iter().map(|tick| tick.size).sum();
    for tick in &mut recording.samples {
        tick.interval = tick.size;
    }
    recording.about.source = Source::Cpu;
    recording.about.counters.clear();
    recording.about.cpu = Some(CpuTime { period_ns: 10_000_000, accounted_ns: Some(accounted) });
    recording
}

/// As for bytes: the same program twice has not changed, in 95 % of the pairs, and what has is found where it is.
#[test]
fn cpu_time_is_compared_like_bytes() {
    const PAIRS: usize = 60;
    let rules = ["net=^net::", "game=^game::"];
    let mut random = Random::new(7);
    for kind in 0..3 {
        let (mut wrong, mut found) = (0, 0);
        for _ in 0..PAIRS {
            let [a, b] = [(), ()].map(|()| cpu_recording(&cpu_sites(1.0), &mut random, wandering(kind)));
            let difference = compared(&a, &b, &rules, Chance::Time);
            assert!(difference.questions[0] == 4 && difference.questions[1] > 5, "{:?}", difference.questions);
            wrong += usize::from(!reported(&difference).is_empty());

            let changed = cpu_recording(&cpu_sites(0.1), &mut random, wandering(kind));
            let difference = compared(&a, &changed, &rules, Chance::Time);
            found += usize::from(row(&difference.sites, "game::spawn").verdict() == Verdict::Decrease);
        }
        println!("activity {kind}: {wrong} of {PAIRS} pairs wrong, {found} changes found");
        assert!(wrong * 20 <= PAIRS, "activity {kind}: {wrong} of {PAIRS} pairs");
        assert!(found * 2 > PAIRS, "activity {kind}: found {found} of {PAIRS} times");
    }
}

#[test]
fn cpu_time_is_what_the_kernel_accounted_for() {
    let mut random = Random::new(3);
    let mut recording = cpu_recording(&cpu_sites(1.0), &mut random, |_| 1.0);
    let ticks = recording.samples.len() as f64;
    recording.about.cpu = Some(CpuTime { period_ns: 10_000_000, accounted_ns: Some(4_000_000_000) });
    let difference = compared(&recording, &recording, &[], Chance::Sampling);
    // Nanoseconds a second, of ten seconds.
    assert!((difference.total.before.value / 4e8 - 1.0).abs() < 1e-12);
    assert_eq!(difference.total.before.variance, 0.0);
    let rare = row(&difference.functions, "net::read");
    assert!((rare.before.value / (4e8 * rare.samples[0] as f64 / ticks) - 1.0).abs() < 1e-9);
}

#[test]
fn totals_and_tables_are_those_of_the_recordings() {
    let (before, mut after) = (program::recording(), program::recording());
    after.about.duration_ns *= 2;
    let difference = compared(&before, &after, &["ai=^game::ai::"], Chance::Time);
    let [a, b] = [&before, &after].map(Profile::new);
    assert!((difference.total.before.value / (a.total().bytes.value / 10.0) - 1.0).abs() < 1e-12);
    assert!((difference.total.after.value / (b.total().bytes.value / 20.0) - 1.0).abs() < 1e-12);
    assert_eq!(difference.sites.len(), a.sites.len());
    assert_eq!(difference.functions.len(), a.functions.len());
    for site in &a.sites {
        let change = row(&difference.sites, a.names.text(site.name));
        assert!((change.before.value * 10.0 - site.total.bytes.value).abs() < 1e-6 * site.total.bytes.value);
        assert_eq!(change.samples, [site.total.samples; 2]);
    }
    assert_eq!(difference.regions.last().unwrap().name, "other");
    // But for the unattributed calls, which are of 0 bytes.
    assert_eq!(difference.tree.nodes.len(), a.tree.nodes.len() - 1);
}

#[test]
fn what_comes_and_what_goes_are_both_in_the_tree() {
    let mut builder = Builder::default();
    let (gone, stays, come) = (
        builder.stack("main > gone > malloc"),
        builder.stack("main > stays > malloc"),
        builder.stack("main > come > malloc"),
    );
    let recording = |stacks: &[u32]| {
        let mut recording = builder.recording.clone();
        recording.about.duration_ns = 1_000_000_000;
        for i in 0..200 {
            for &stack in stacks {
                recording.samples.push(Sample { stack, size: 1000, time_ns: i * 5_000_000, ..Sample::default() });
            }
        }
        recording
    };
    let difference = compared(&recording(&[gone, stays]), &recording(&[stays, come]), &[], Chance::Time);
    let shown: Vec<_> =
        difference.tree.nodes.iter().zip(&difference.nodes).filter(|(node, _)| node.depth == 2).collect();
    let names: Vec<&str> = shown.iter().map(|(node, _)| difference.names.text(node.frame.unwrap().name())).collect();
    assert_eq!(names, ["come", "gone", "stays"]);
    let verdicts: Vec<_> = shown.iter().map(|(_, change)| change.unwrap().verdict()).collect();
    assert_eq!(verdicts, [Verdict::Increase, Verdict::Decrease, Verdict::Chance]);
    assert_eq!(row(&difference.sites, "come").relative(), f64::INFINITY);
    assert_eq!(row(&difference.sites, "gone").relative(), -1.0);
    assert_eq!(difference.total.difference.value, 0.0);
    let widths: f64 = difference.tree.nodes.iter().map(|node| node.own_bytes).sum();
    assert!((widths / 1e12 - 1.0).abs() < 1e-9);
}

#[test]
fn few_samples_are_not_asked_about() {
    let mut builder = Builder::default();
    let (often, rare) = (builder.stack("main > often > malloc"), builder.stack("main > rare > malloc"));
    builder.recording.about.duration_ns = 1_000_000_000;
    for i in 0..100 {
        let stack = if i % 50 == 0 { rare } else { often };
        builder.recording.samples.push(Sample {
            stack,
            size: 10,
            interval: 1000,
            time_ns: i * 9_999_999,
            ..Sample::default()
        });
    }
    let mut after = builder.recording.clone();
    after.samples.retain(|sample| sample.stack == often);
    let difference = compared(&builder.recording, &after, &[], Chance::Time);
    assert_eq!(row(&difference.sites, "rare").verdict(), Verdict::FewSamples);
    assert_eq!(row(&difference.sites, "often").verdict(), Verdict::Chance);
    // `often` as site and function; main, malloc and everything are another question.
    assert_eq!(difference.questions, [1, 2]);
}

#[test]
fn units_of_work_divide() {
    let recording = program::recording();
    let difference = Difference::new(
        Side { recording: &recording, divisor: 100.0 },
        Side { recording: &recording, divisor: 400.0 },
        &Rules::default(),
        Chance::Sampling,
    );
    assert!((difference.total.relative() + 0.75).abs() < 1e-12);
    // Exact, so that nothing is left to chance.
    assert_eq!((difference.total.difference.margin, difference.total.verdict()), (0.0, Verdict::Decrease));
}

#[test]
fn large_and_empty_recordings() {
    let large = random::recording(&mut Random::new(1), 3000, 20);
    assert_eq!(reported(&compared(&large, &large, &["a=module_1"], Chance::Time)), Vec::<String>::new());
    let empty = Recording::default();
    let difference = compared(&empty, &empty, &[], Chance::Time);
    assert_eq!((difference.total.difference.value, difference.total.verdict()), (0.0, Verdict::Chance));
    assert!(difference.functions.is_empty() && difference.tree.nodes.len() == 1);
}
