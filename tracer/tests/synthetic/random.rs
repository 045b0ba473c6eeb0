//! Random numbers, and random recordings of any size.

use tracer::recording::about::{Counter, SizeClass};
use tracer::recording::{Function, Line, Location, Module, Recording, Sample, Stack, StackEnd};

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): small, and the same on every machine.
pub struct Random(u64);

impl Random {
    /// A generator with a fixed seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Uniform in (0, 1].
    pub fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Uniform below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }
}

/// A recording of `samples` samples on stacks of about `depth` frames. A walk through a random program: calls branch
/// little near the root and a lot at the leaves, as real ones do.
pub fn recording(random: &mut Random, samples: usize, depth: u64) -> Recording {
    let functions = (samples as u32 / 5).clamp(50, 20_000);
    let mut recording = Recording {
        modules: vec![Module {
            path: "/usr/bin/large".into(),
            build_id: "00ff".into(),
            start: 0x5555_0000_0000,
            end: 0x5555_1000_0000,
            file_offset: 0x1000,
        }],
        functions: (0..functions)
            .map(|i| Function {
                name: format!("large::module_{}::Type{}<alloc::string::String>::method_{i}", i % 97, i % 1009),
                system_name: format!("_RNv{i}"),
                file: format!("src/module_{}.rs", i % 97),
            })
            .collect(),
        locations: (0..2 * functions)
            .map(|i| {
                let function = i % functions;
                let mut lines = vec![Line { function, line: i }];
                if i % 5 == 0 {
                    lines.push(Line { function: (function + 1) % functions, line: i });
                }
                Location { module: Some(0), address: 0x2000 + u64::from(i) * 16, lines }
            })
            .collect(),
        ..Recording::default()
    };
    let mut counter = Counter { function: "malloc".into(), module: "libc.so.6".into(), ..Counter::default() };
    for index in 0..samples {
        if index % 4 == 0 {
            let mut frames = Vec::new();
            let mut at = 1;
            for level in 0..random.below(depth) + depth / 2 + 1 {
                // A caller has 1 to 8 callees, the more the deeper.
                at = (at * 31 + random.below(1 + level * 8 / depth) * 7919) % u64::from(2 * functions);
                frames.push(at as u32);
            }
            frames.push(0);
            frames.reverse();
            let end = match random.below(50) {
                0 => StackEnd::Truncated("no unwind information in libvendor.so".into()),
                _ => StackEnd::Complete,
            };
            recording.stacks.push(Stack { frames, end, frame_pointer_frames: 0 });
        }
        let newest = recording.stacks.len() as u64 - 1;
        let stack = if index % 4 == 0 { newest } else { random.below(newest + 1) };
        recording.samples.push(Sample {
            stack: stack as u32,
            process: 4242,
            thread: 4242 + (index % 8) as u32,
            thread_name: format!("worker-{}", index % 8),
            time_ns: index as u64 * 300_000,
            size: 8 << random.below(16),
            interval: 64 << 10,
            counter: 0,
            ..Default::default()
        });
    }
    for class in 4..20 {
        let of_class = recording.samples.iter().filter(|s| s.size == 1 << (class - 1)).count() as u64;
        let bytes = of_class * (64 << 10);
        counter.classes.push(SizeClass {
            class,
            calls: (bytes >> (class - 1)).max(of_class),
            bytes: bytes.max(of_class << (class - 1)),
        });
    }
    recording.about.counters.push(counter);
    recording.about.duration_ns = samples as u64 * 300_000;
    recording.about.process.name = "large".into();
    recording
}
