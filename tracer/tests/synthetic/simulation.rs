//! Recordings of programs that allocate at random, and whose truth is known.

use tracer::recording::about::{About, Counter, Process, SizeClass};
use tracer::recording::{Module, Recording, Sample};

use super::{Builder, Random};

/// A place that allocates.
#[derive(Clone, Copy)]
pub struct Site {
    /// The stack, see [`Builder::stack`].
    pub stack: &'static str,
    /// Bytes of each block.
    pub size: u64,
    /// Blocks a second on average.
    pub rate: f64,
}

/// A recorded run and what each site allocated in it, in bytes.
pub struct Run {
    pub recording: Recording,
    pub truth: Vec<u64>,
}

/// Steps of a second.
const STEPS: u32 = 50;

/// Records `seconds` of a program, a sample each `interval` bytes. `activity` is asked once each fiftieth of a second
/// how busy the program is; 1 means as the rates say. Blocks come as a Poisson process, so that sampled and unsampled
/// ones do too.
pub fn record(
    sites: &[Site],
    seconds: u32,
    interval: u64,
    random: &mut Random,
    mut activity: impl FnMut(&mut Random) -> f64,
) -> Run {
    let mut builder = Builder::default();
    let stacks: Vec<u32> = sites.iter().map(|site| builder.stack(site.stack)).collect();
    let mut recording = builder.recording;
    let paths = ["/usr/bin/simulated", "/usr/lib/libc.so.6"].into_iter().zip(1..);
    recording.modules = paths.map(|(path, at)| module(path, at << 32)).collect();
    let mut classes = vec![SizeClass::default(); 65];
    let mut truth = vec![0; sites.len()];
    for step in 0..seconds * STEPS {
        let busy = activity(random) / f64::from(STEPS);
        for ((site, &stack), truth) in sites.iter().zip(&stacks).zip(&mut truth) {
            let p = -(-(site.size as f64) / interval as f64).exp_m1();
            let sampled = poisson(random, site.rate * busy * p);
            let all = sampled + poisson(random, site.rate * busy * (1.0 - p));
            *truth += all * site.size;
            let class = (u64::BITS - site.size.leading_zeros()) as usize;
            classes[class].class = class as u8;
            classes[class].calls += all;
            classes[class].bytes += all * site.size;
            for _ in 0..sampled {
                let time_ns = u64::from(step) * 1_000_000_000 / u64::from(STEPS) + random.below(20_000_000);
                recording.samples.push(Sample { stack, time_ns, size: site.size, interval, ..Sample::default() });
            }
        }
    }
    recording.samples.sort_by_key(|sample| sample.time_ns);
    classes.retain(|class| class.calls > 0);
    recording.about = About {
        process: Process { pid: 7, name: "simulated".into(), executable: "/usr/bin/simulated".into() },
        duration_ns: u64::from(seconds) * 1_000_000_000,
        counters: vec![Counter { function: "malloc".into(), classes, ..Counter::default() }],
        ..About::default()
    };
    Run { recording, truth }
}

fn module(path: &str, start: u64) -> Module {
    Module { path: path.into(), build_id: "c0ffee".into(), start, end: start + (1 << 20), file_offset: 0x1000 }
}

/// A number of events of which `mean` are expected: Knuth's method below 30, the normal distribution above.
pub fn poisson(random: &mut Random, mean: f64) -> u64 {
    if mean > 30.0 {
        return (mean + mean.sqrt() * normal(random)).round().max(0.0) as u64;
    }
    let (limit, mut product, mut count) = ((-mean).exp(), random.unit(), 0);
    while product > limit {
        product *= random.unit();
        count += 1;
    }
    count
}

/// Standard normal, by Box and Muller.
pub fn normal(random: &mut Random) -> f64 {
    (-2.0 * random.unit().ln()).sqrt() * (2.0 * std::f64::consts::PI * random.unit()).cos()
}
