//! Simulated recordings of programs whose truth is known.

use tracer_ebpf::abi::allocation::size_class;

use super::super::peak;
use super::*;
use crate::estimate::followed::followed;
use crate::estimate::inclusion::probability;
use crate::profile::{NotFollowed, Profile, Row};
use crate::recording::about::{About, Counter, Live, SizeClass};
use crate::synthetic::{Builder, Random, program};

const RUNS: u32 = 200;
const R: u64 = 16 << 10;
const SECOND: u64 = 1_000_000_000;
const END: u64 = 10 * SECOND;

/// What blocks of a site are, and how long they live: seconds, from a uniform number.
struct Site {
    name: &'static str,
    size: u64,
    count: usize,
    lifetime: fn(f64) -> f64,
}

/// Sites of all kinds: blocks that all stay, most, half, few or none; small, about the interval, and large.
const SITES: &[Site] = &[
    Site { name: "kept", size: 100, count: 20_000, lifetime: |_| f64::INFINITY },
    Site { name: "half", size: 80, count: 60_000, lifetime: |u| if u < 0.5 { f64::INFINITY } else { 0.001 } },
    Site { name: "churn", size: 64, count: 150_000, lifetime: |u| -u.ln() * 0.2 },
    Site { name: "long", size: 90, count: 40_000, lifetime: |u| -u.ln() * 8.0 },
    Site { name: "same", size: 200, count: 20_000, lifetime: |_| 3.0 },
    Site { name: "medium", size: R, count: 400, lifetime: |u| -u.ln() * 5.0 },
    Site { name: "large", size: 30 * R, count: 20, lifetime: |u| u * 15.0 },
];

/// A block that the program made.
#[derive(Clone, Copy)]
struct Made {
    at: u64,
    released: Option<u64>,
}

/// All blocks of a site.
struct Blocks {
    blocks: Vec<Made>,
    /// Times at which one was made, and at which one was released, in order.
    made: Vec<u64>,
    released: Vec<u64>,
}

impl Blocks {
    fn new(blocks: Vec<Made>) -> Self {
        let mut made: Vec<u64> = blocks.iter().map(|made| made.at).collect();
        let mut released: Vec<u64> = blocks.iter().filter_map(|made| made.released).collect();
        made.sort_unstable();
        released.sort_unstable();
        Self { blocks, made, released }
    }

    /// How many were in use.
    fn at(&self, time: u64) -> f64 {
        let until = |times: &[u64]| times.partition_point(|&at| at <= time) as f64;
        until(&self.made) - until(&self.released)
    }
}

fn bytes_at(sites: &[Site], population: &[Blocks], time: u64) -> f64 {
    population.iter().zip(sites).map(|(blocks, site)| blocks.at(time) * site.size as f64).sum()
}

/// All blocks of each site.
fn population(sites: &[Site], random: &mut Random) -> Vec<Blocks> {
    let mut blocks = |site: &Site| {
        let made = (0..site.count).map(|_| {
            let at = random.below(END);
            let released = at as f64 + (site.lifetime)(random.unit()) * 1e9;
            Made { at, released: (released < END as f64).then_some(released as u64) }
        });
        Blocks::new(made.collect())
    };
    sites.iter().map(&mut blocks).collect()
}

/// A recording of it; with 0 every call is sampled.
fn draw(sites: &[Site], population: &[Blocks], interval: u64, random: &mut Random) -> Recording {
    let mut builder = Builder::default();
    let mut samples = Vec::new();
    let mut classes = Vec::new();
    for (site, blocks) in sites.iter().zip(population) {
        let stack = builder.stack(&format!("main > {} > malloc", site.name));
        let calls = blocks.blocks.len() as u64;
        classes.push(SizeClass { class: size_class(site.size) as u8, calls, bytes: calls * site.size });
        let p = probability(site.size, interval);
        let mut position = 0;
        loop {
            position += if p < 1.0 { (random.unit().ln() / (-p).ln_1p()).floor() as usize } else { 0 };
            let Some(made) = blocks.blocks.get(position) else { break };
            position += 1;
            samples.push(Sample {
                stack,
                size: site.size,
                interval,
                time_ns: made.at,
                thread: 1,
                block: Some(Block { released_ns: made.released, released_by: u32::from(made.released.is_some()) }),
                ..Sample::default()
            });
        }
    }
    let mut recording = builder.recording;
    recording.samples = samples;
    recording.about = About {
        duration_ns: END,
        counters: vec![Counter { classes, ..Counter::default() }],
        live: Some(Live::default()),
        ..About::default()
    };
    recording
}

/// What each stack has in use, without all the rest.
fn in_use(recording: &Recording) -> (Calibration, Vec<Measure>) {
    let recording = &*followed(recording);
    let calibration = &Calibration::new(recording);
    let source = Source { recording, calibration, not_followed: Exact::default(), sites: &[], names: 0 };
    let weights = source.select(|sample| in_use_at(sample, u64::MAX));
    let measures = weights.sum(SITES.len(), |stack, groups| groups.add(stack));
    (weights, measures)
}

fn with_view(recording: &Recording, view: View) -> Profile {
    Profile::with_options(recording, &Options { view: Some(view), ..Options::default() })
}

fn row<'a>(profile: &'a Profile, rows: &'a [Row], name: &str) -> Measure {
    let row = rows.iter().find(|row| profile.names.text(row.name) == name);
    row.map(|row| row.total).unwrap_or_default()
}

#[derive(Default)]
struct Tally {
    truth: f64,
    covered: u32,
    error: f64,
    squares: f64,
    claimed: f64,
}

impl Tally {
    fn add(&mut self, truth: f64, estimate: crate::estimate::Estimate, interval: Interval) {
        self.truth = truth;
        // At its ends an exact value may be rounded.
        self.covered += u32::from(interval.low <= truth * (1.0 + 1e-12) && truth * (1.0 - 1e-12) <= interval.high);
        self.error += estimate.value - truth;
        self.squares += (estimate.value - truth).powi(2);
        self.claimed += estimate.variance;
    }

    fn check(&self, what: &str) {
        let runs = f64::from(RUNS);
        let coverage = f64::from(self.covered) / runs;
        // What is certain has no error but that of rounding.
        let rounding = 1e-9 * self.truth * runs;
        let bias = self.error / self.squares.sqrt().max(rounding);
        let claimed = self.claimed / self.squares.max(rounding * rounding);
        println!("{what}: coverage {coverage:.3}, bias {bias:.2} s.e., claimed/true variance {claimed:.2}");
        assert!(coverage >= 0.91, "{what}: coverage {coverage}");
        assert!(bias.abs() < 3.5, "{what}: bias of {bias} standard errors");
    }
}

#[test]
fn in_use_by_site_and_in_total_lies_in_its_intervals() {
    for (not_followed, counted) in [(0.0, true), (0.2, true), (0.0, false)] {
        let mut random = Random::new(5);
        let population = population(SITES, &mut random);
        let truth: Vec<f64> = population.iter().map(|blocks| blocks.at(END)).collect();
        let total = bytes_at(SITES, &population, END);
        let mut of_site: Vec<[Tally; 2]> = SITES.iter().map(|_| Default::default()).collect();
        let mut of_all = Tally::default();
        for _ in 0..RUNS {
            let mut recording = draw(SITES, &population, R, &mut random);
            let mut missed = 0;
            for sample in &mut recording.samples {
                if random.unit() < not_followed {
                    (sample.block, missed) = (None, missed + 1);
                }
            }
            recording.about.live.as_mut().unwrap().not_followed = missed;
            if !counted {
                recording.about.counters.clear();
            }
            let (weights, measures) = in_use(&recording);
            for (((site, truth), measure), [bytes, objects]) in
                SITES.iter().zip(&truth).zip(&measures).zip(&mut of_site)
            {
                bytes.add(truth * site.size as f64, measure.bytes, weights.bytes_interval(measure));
                objects.add(*truth, measure.objects, weights.objects_interval(measure));
            }
            let all = Amount::new(&weights, weights.attributed());
            of_all.add(total, all.measure.bytes, all.bytes);
        }
        for (site, [bytes, objects]) in SITES.iter().zip(&of_site) {
            let what = format!("{}, counted {counted}, not followed {not_followed}", site.name);
            bytes.check(&format!("{what}, bytes"));
            objects.check(&format!("{what}, objects"));
        }
        of_all.check(&format!("total, counted {counted}, not followed {not_followed}"));
    }
}

/// What the exact counters are good for: a large share of a stratum is known better by its ratio than by itself.
#[test]
fn the_ratio_has_the_lower_variance() {
    let mut random = Random::new(6);
    let population = population(SITES, &mut random);
    let counted = draw(SITES, &population, R, &mut random);
    let mut plain = counted.clone();
    plain.about.counters.clear();
    let ((of_counted, counted), (of_plain, plain)) = (in_use(&counted), in_use(&plain));
    for ((site, counted), plain) in SITES.iter().zip(counted).zip(plain) {
        let ratio = counted.bytes.variance / plain.bytes.variance.max(1e-9);
        println!("{}: {ratio:.2} of the variance", site.name);
        // It is never higher but by chance.
        assert!(ratio < 1.15, "{}: {ratio}", site.name);
    }
    let [counted, plain] = [of_counted, of_plain].map(|weights| weights.attributed().bytes.variance);
    assert!(counted < 0.8 * plain, "{counted} {plain}");
}

#[test]
fn with_every_call_sampled_everything_is_exact() {
    let sites: Vec<Site> = SITES.iter().map(|site| Site { count: site.count / 20, ..*site }).collect();
    let mut random = Random::new(7);
    let population = population(&sites, &mut random);
    let recording = draw(&sites, &population, 0, &mut random);
    let bytes_at = |time: u64| bytes_at(&sites, &population, time);
    let exactly = |amount: &Amount, truth: f64| {
        let Interval { low, high } = amount.bytes;
        assert!(high - low < 1e-6 && (amount.measure.bytes.value - truth).abs() < 1e-6, "{amount:?} {truth}");
    };
    let profile = with_view(&recording, View::InUse);
    for (site, blocks) in sites.iter().zip(&population) {
        let measure = row(&profile, &profile.sites, site.name);
        exactly(&Amount::new(&profile.calibration, measure), blocks.at(END) * site.size as f64);
    }
    assert_eq!(profile.live.as_ref().unwrap().in_use.measure, profile.total());
    let heap = profile.live.unwrap();
    exactly(&heap.in_use, bytes_at(END));
    for (&time, amount) in heap.snapshots.times_ns.iter().zip(&heap.snapshots.total) {
        exactly(amount, bytes_at(time));
    }
    exactly(&heap.peak.amount, bytes_at(heap.peak.time_ns));
    // In use is highest when a block was made.
    let made = population.iter().flat_map(|blocks| &blocks.made);
    let highest = made.map(|&at| bytes_at(at)).fold(0.0, f64::max);
    exactly(&heap.peak.amount, highest);
}

/// Blocks that are replaced all the time, so that as much is in use at any moment.
const CHURN: &[Site] = &[Site { name: "churn", size: 64, count: 200_000, lifetime: |u| -u.ln() * 0.02 }];

#[test]
fn what_was_in_use_at_the_peak_lies_in_its_interval() {
    let mut random = Random::new(8);
    for (name, sites, interval) in [("all sites", SITES, R), ("churn", CHURN, R / 8)] {
        let population = population(sites, &mut random);
        let (mut covered, mut covered_by_choice, runs) = (0, 0, 100);
        for _ in 0..runs {
            let recording = draw(sites, &population, interval, &mut random);
            let calibration = Calibration::new(&recording);
            let source = Source {
                recording: &recording,
                calibration: &calibration,
                not_followed: Exact::default(),
                sites: &[],
                names: 0,
            };
            let holds = |weights: &Calibration, time: u64| {
                let Interval { low, high } = weights.bytes_interval(&weights.attributed());
                let truth = bytes_at(sites, &population, time);
                u32::from(low <= truth && truth <= high)
            };
            let at_end = source.select(|sample| in_use_at(sample, u64::MAX));
            let (time, weights) = peak::find(&source, &at_end);
            assert!(weights.attributed().bytes.value >= at_end.attributed().bytes.value);
            covered += holds(&weights, time);
            let time = peak::highest(&recording).unwrap();
            covered_by_choice += holds(&source.select(|sample| in_use_at(sample, time)), time);
        }
        let [covered, by_choice] = [covered, covered_by_choice].map(|n| f64::from(n) / f64::from(runs));
        println!("{name}: coverage {covered:.3}; if the same samples chose the moment, {by_choice:.3}");
        assert!(covered >= 0.89, "{name}: {covered}");
        // Why the moment is chosen by other samples.
        assert!(name != "churn" || by_choice < 0.6, "{by_choice}");
    }
}

#[test]
fn medians_lie_in_their_intervals() {
    let mut random = Random::new(9);
    let (mut exponential, mut constant, runs) = (0, 0, 100);
    for _ in 0..runs {
        let population = population(&SITES[3..5], &mut random);
        let recording = draw(&SITES[3..5], &population, R, &mut random);
        let profile = with_view(&recording, View::InUse);
        let heap = profile.live.as_ref().unwrap();
        let median = |name| heap.sites.iter().find(|site| profile.names.text(site.name) == name).unwrap().median;
        let holds = |name, truth: f64| {
            let median = median(name);
            u32::from(median.low as f64 <= truth && median.high.is_none_or(|high| truth <= high as f64))
        };
        exponential += holds("long", 8e9 * 2f64.ln());
        constant += holds("same", 3e9);
        // Longer than three seconds live as many as the recording is too short for.
        assert!((2_999_999_999..=3_000_000_001).contains(&median("same").value.unwrap()));
    }
    println!("exponential: {exponential} of {runs}, constant: {constant}");
    assert!(exponential >= 91 && constant == runs);
}

#[test]
fn a_view_needs_releases() {
    let recording = program::recording();
    assert!(Profile::new(&recording).live.is_none());
    for view in [View::InUse, View::Peak, View::Temporary] {
        let options = Options { view: Some(view), ..Options::default() };
        assert_eq!(options.view_of(&recording), Err(NotFollowed(view)));
        assert_eq!(Profile::with_options(&recording, &options).view, View::Allocated);
    }
    assert_eq!(with_view(&recording, View::Allocated).view, View::Allocated);
    assert_eq!(Profile::new(&program::live()).view, View::InUse);
}

/// Allocated bytes are the same whether releases are followed or not, and no view has more.
#[test]
fn views_are_parts_of_what_was_allocated() {
    let recording = program::live();
    let mut not_live = recording.clone();
    not_live.about.live = None;
    let allocated = with_view(&recording, View::Allocated);
    assert_eq!(allocated.tree.nodes, Profile::new(&not_live).tree.nodes);
    for view in [View::InUse, View::Peak, View::Temporary] {
        let profile = with_view(&recording, view);
        assert_eq!(profile.exact(), None);
        assert_eq!(profile.allocated.exact(), allocated.exact());
        let total = profile.total().bytes.value;
        assert!(total > 0.0 && total < allocated.total().bytes.value, "{view}: {total}");
        let sites: f64 = profile.sites.iter().map(|row| row.total.bytes.value).sum();
        assert!((sites / total - 1.0).abs() < 1e-9, "{view}");
    }
}

#[test]
fn temporary_blocks_are_those_that_their_thread_released() {
    let profile = |temporary_ns| {
        let temporary_ns = Some(temporary_ns);
        let options = Options { view: Some(View::Temporary), temporary_ns, ..Options::default() };
        Profile::with_options(&program::live(), &options)
    };
    let names = |profile: &Profile| -> Vec<String> {
        profile.sites.iter().map(|row| profile.names.text(row.name).to_owned()).collect()
    };
    // What is read by one thread and released by another is not, however short it lives.
    assert_eq!(names(&profile(200_000))[0], "game::ai::push");
    assert!(!names(&profile(u64::MAX)).contains(&"game::net::read_frame".to_owned()));
    let temporary = profile(u64::MAX).live.unwrap().temporary;
    assert!(temporary.undecided.measure.samples > 0);
}

/// Times that contradict each other come from files that are damaged.
#[test]
fn any_times_will_do() {
    let mut recording = program::live();
    let mut random = Random::new(10);
    for sample in &mut recording.samples {
        sample.time_ns = random.bits() >> random.below(64);
        let released_ns = (random.below(3) > 0).then(|| random.bits() >> random.below(64));
        sample.block = Some(Block { released_ns, released_by: 1 });
    }
    for duration in [0, 1, SECOND, u64::MAX] {
        recording.about.duration_ns = duration;
        for every in [None, Some(1), Some(u64::MAX)] {
            let options = Options { temporary_ns: Some(u64::MAX), snapshot_every_ns: every, ..Options::default() };
            let heap = Profile::with_options(&recording, &options).live.unwrap();
            assert!(heap.snapshots.times_ns.len() <= 1000);
        }
    }
    recording.samples.clear();
    assert_eq!(Profile::new(&recording).live.unwrap().in_use.measure.samples, 0);
}
