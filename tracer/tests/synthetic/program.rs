//! A small program: a game server with everything that a recording can hold.

use tracer::recording::about::{
    About, Cost, Counter, Epoch, Live, Losses, Process, SizeClass, Truncation, Unwinding, Window,
};
use tracer::recording::{Block, Module, Recording, Sample};

use super::{Builder, Random};

/// Mean bytes between samples.
pub const INTERVAL: u64 = 64 << 10;

const MAIN: &str = "_start > __libc_start_main > main > game::main > ";
const POOL: &str = "clone3 > start_thread > game::net::worker + core::ops::function::FnOnce::call_once > ";

/// What the program allocates: stack, index of the counter, and sizes with their counts.
type Calls = (&'static str, &'static str, u32, &'static [(u64, u64)]);

const PROGRAM: &[Calls] = &[
    (
        MAIN,
        "game::World::tick > game::World::spawn > alloc::raw_vec::RawVec<T,A>::grow_one > malloc",
        0,
        &[(96, 60_000)],
    ),
    (
        MAIN,
        "game::World::tick > game::ai::plan > game::ai::plan > game::ai::plan + game::ai::push > malloc",
        0,
        &[(48, 90_000), (640, 4000)],
    ),
    (MAIN, "game::World::tick > game::ai::plan > game::ai::plan > malloc", 0, &[(48, 30_000)]),
    (
        MAIN,
        "game::World::save > <alloc::vec::Vec<u8> as std::io::Write>::write_all > realloc",
        2,
        &[(262_144, 20), (1_048_576, 6)],
    ),
    (MAIN, "game::World::load::<[game::Tile; 64]> > calloc", 1, &[(4096, 1500)]),
    (POOL, "game::net::read_frame > malloc", 0, &[(1500, 3000), (16_384, 40)]),
    (POOL, "game::net::decode<serde_json::de::StrRead> > game::chat::Message::parse > malloc", 0, &[(24, 120_000)]),
    (POOL, "game::log::write > vendor_format > malloc", 0, &[(512, 2500)]),
    ("", "? no unwind information in libvendor.so > vendor_callback > vendor_alloc > malloc", 0, &[(2048, 900)]),
    (
        "",
        "clone3 > start_thread > node::Start > LazyCompile:~onMessage /srv/app.js:10:7! > Builtins_Call! > malloc",
        0,
        &[(72, 20_000)],
    ),
    (MAIN, "evil<&\"';\u{1b}[31m\u{202e}> name (1 bytes, 2%) 7 > malloc", 0, &[(128, 8000)]),
    (MAIN, "game::Arena::new > malloc", 0, &[(50_000_000, 1)]),
];

/// How long it is recorded.
const SECONDS: f64 = 10.0;

/// The recording of ten seconds of it.
pub fn recording() -> Recording {
    with_interval(INTERVAL)
}

/// The same, with the releases of blocks, and more samples.
pub fn live() -> Recording {
    let mut recording = with_interval(INTERVAL / 4);
    let mut random = Random::new(2);
    let sites: Vec<&'static str> = recording.stacks.iter().map(|stack| site(&recording, stack)).collect();
    for sample in &mut recording.samples {
        let (made, lifetime) = life(sites[sample.stack as usize], sample.time_ns as f64 / 1e9, &mut random);
        sample.time_ns = (made * 1e9) as u64;
        let other_thread = sites[sample.stack as usize] == "game::net::read_frame";
        let released = made + lifetime;
        sample.block = Some(Block {
            released_ns: (released < SECONDS).then_some((released * 1e9) as u64),
            released_by: if released >= SECONDS {
                0
            } else if other_thread {
                4242
            } else {
                sample.thread
            },
        });
    }
    recording.samples.sort_by_key(|sample| sample.time_ns);
    for index in [100, 200, 300] {
        recording.samples[index].block = None;
    }
    recording.about.live = Some(Live {
        resident_bytes: [31 << 20, 97 << 20],
        peak_blocks: 900,
        unreturned: 2,
        not_followed: 1,
        ..Live::default()
    });
    recording
}

/// The function that a stack's blocks live as long as.
fn site(recording: &Recording, stack: &tracer::recording::Stack) -> &'static str {
    let lines = stack.frames.iter().flat_map(|&frame| &recording.locations[frame as usize].lines);
    let names: Vec<&str> = lines.map(|line| &recording.functions[line.function as usize].name[..]).collect();
    let known = [
        "game::World::spawn",
        "game::ai::push",
        "game::World::save",
        "game::World::load::<[game::Tile; 64]>",
        "game::net::read_frame",
        "game::chat::Message::parse",
        "vendor_alloc",
        "game::Arena::new",
    ];
    known.into_iter().find(|known| names.contains(known)).unwrap_or("")
}

/// When a block is made, if its sample was drawn at `at`, and how many seconds it lives.
fn life(site: &str, at: f64, random: &mut Random) -> (f64, f64) {
    let forgotten = random.below(4) == 0;
    let mut exponential = |mean: f64| -random.unit().ln() * mean;
    match site {
        "game::World::spawn" => (at, exponential(0.5)),
        "game::ai::push" => (at, exponential(20e-6)),
        "game::World::save" => (at, 0.3),
        // A map and an arena, made at the begin and kept.
        "game::World::load::<[game::Tile; 64]>" => (at / 10.0, f64::INFINITY),
        "game::Arena::new" => (at / 100.0, f64::INFINITY),
        "game::net::read_frame" => (at, exponential(1e-3)),
        // One in four is forgotten.
        "game::chat::Message::parse" if forgotten => (at, f64::INFINITY),
        "vendor_alloc" => (at, f64::INFINITY),
        _ => (at, exponential(10e-3)),
    }
}

fn with_interval(interval: u64) -> Recording {
    let mut builder = Builder::default();
    let mut random = Random::new(1);
    let mut counters: Vec<Counter> = ["malloc", "calloc", "realloc"].map(counter).into();
    let mut samples = Vec::new();
    for &(base, stack, counter, calls) in PROGRAM {
        let text = format!("{base}{stack}");
        for &(size, count) in calls {
            count_exactly(&mut counters[counter as usize], size, count);
            let p = -(-(size as f64) / interval as f64).exp_m1();
            let mut position = 0.0;
            loop {
                position += (random.unit().ln() / (-p).ln_1p()).floor();
                if position >= count as f64 {
                    break;
                }
                position += 1.0;
                let thread = 4242 + u32::from(base == POOL) * (1 + random.below(2) as u32);
                samples.push((
                    text.clone(),
                    Sample {
                        stack: 0,
                        process: 4242,
                        thread,
                        thread_name: if base == POOL { format!("net-{}", thread - 4243) } else { "game-server".into() },
                        time_ns: random.below((SECONDS * 1e9) as u64),
                        size,
                        interval,
                        counter,
                        ..Default::default()
                    },
                ));
            }
        }
    }
    // Calls that no sample speaks for.
    count_exactly(&mut counters[1], 0, 17);
    samples.sort_by_key(|(_, sample)| sample.time_ns);

    let mut stacks = std::collections::HashMap::new();
    for (text, mut sample) in samples {
        sample.stack = *stacks.entry(text.clone()).or_insert_with(|| builder.stack(&text));
        builder.recording.samples.push(sample);
    }
    let mut recording = builder.recording;
    let truncated =
        recording.samples.iter().filter(|s| stack_of(&recording, s).end != tracer::recording::StackEnd::Complete);
    let truncated = truncated.count() as u64;
    let assisted = recording.samples.iter().filter(|s| stack_of(&recording, s).frame_pointer_frames > 0).count() as u64;
    recording.about = About {
        tracer: "0.1.0".into(),
        process: Process { pid: 4242, name: "game-server".into(), executable: "/usr/bin/game-server".into() },
        started_unix_ns: 1_700_000_000_000_000_000,
        duration_ns: (SECONDS * 1e9) as u64,
        counters,
        losses: Losses { ring_full: 3, events: 1, ..Losses::default() },
        unwinding: Unwinding {
            complete: recording.samples.len() as u64 - truncated - assisted,
            assisted,
            truncated: vec![Truncation {
                reason: "no unwind information".into(),
                module: "/opt/vendor/libvendor.so".into(),
                samples: truncated,
                hint: "rebuild the module with -fasynchronous-unwind-tables".into(),
            }],
        },
        ..About::default()
    };
    recording.modules = vec![
        Module {
            path: "/usr/bin/game-server".into(),
            build_id: "c0ffee".into(),
            start: 0x5581_0000_1000,
            end: 0x5581_0010_0000,
            file_offset: 0x1000,
        },
        Module {
            path: "/usr/lib/x86_64-linux-gnu/libc.so.6".into(),
            build_id: String::new(),
            start: 0x7f00_0002_8000,
            end: 0x7f00_001b_d000,
            file_offset: 0x28000,
        },
    ];
    recording
}

fn stack_of<'a>(recording: &'a Recording, sample: &Sample) -> &'a tracer::recording::Stack {
    &recording.stacks[sample.stack as usize]
}

fn counter(function: &str) -> Counter {
    Counter {
        function: function.into(),
        module: "/usr/lib/x86_64-linux-gnu/libc.so.6".into(),
        family: "glibc".into(),
        classes: Vec::new(),
    }
}

fn count_exactly(counter: &mut Counter, size: u64, calls: u64) {
    let class = (u64::BITS - size.leading_zeros()) as u8;
    let place = counter.classes.partition_point(|c| c.class < class);
    if counter.classes.get(place).is_none_or(|c| c.class != class) {
        counter.classes.insert(place, SizeClass { class, calls: 0, bytes: 0 });
    }
    counter.classes[place].calls += calls;
    counter.classes[place].bytes += size * calls;
}

/// The same program, recorded in windows of 100 ms in each second, with hits of 600 ns. It has one CPU to itself.
pub fn in_windows(hits_per_call: u64) -> Recording {
    const SECOND: u64 = 1_000_000_000;
    let mut recording = recording();
    for sample in &mut recording.samples {
        sample.epoch = (sample.time_ns / SECOND) as u32;
        sample.time_ns = u64::from(sample.epoch) * SECOND + 450_000_000 + sample.time_ns % SECOND / 10;
    }
    // Bytes fell into windows as the samples did; calls, as they are many, evenly.
    let mut seen = [0.0; 10];
    for sample in &recording.samples {
        let p = -(-(sample.size as f64) / INTERVAL as f64).exp_m1();
        seen[sample.epoch as usize] += sample.size as f64 / p;
    }
    let all: f64 = seen.iter().sum();
    let about = &mut recording.about;
    let classes = || about.counters.iter().flat_map(|counter| &counter.classes);
    let (mut calls, mut bytes) = (classes().map(|c| c.calls).sum::<u64>(), classes().map(|c| c.bytes).sum::<u64>());
    let exact = bytes as f64;
    for k in 0..10 {
        let of_calls = if k == 9 { calls } else { calls * (95 + k * 7 % 11) / (100 * (10 - k)) };
        let of_bytes = if k == 9 { bytes } else { (seen[k as usize] / all * exact) as u64 };
        (calls, bytes) = (calls - of_calls, bytes - of_bytes);
        let window = Window {
            start_ns: k * SECOND + 450_000_000,
            length_ns: SECOND / 10,
            planned_ns: SECOND / 10,
            cpu_ns: SECOND / 10,
            hits: of_calls * hits_per_call,
            calls: of_calls,
            bytes: of_bytes,
            capped: k == 4,
        };
        let epoch =
            Epoch { start_ns: k * SECOND, length_ns: SECOND, probability: 0.1, cpu_ns: SECOND, ..Epoch::default() };
        about.epochs.push(Epoch { hits: window.hits, window, ..epoch });
    }
    let hits: u64 = about.epochs.iter().map(|epoch| epoch.window.hits).sum();
    about.cost = Some(Cost {
        budget: Some(0.02),
        hits,
        hit_ns: 600.0,
        hit_ns_low: 450.0,
        hit_ns_high: 800.0,
        target_cpu_ns: 10 * SECOND,
        spent_ns: hits * 600,
        spent_ns_high: hits * 800,
        probed_share: 0.1,
        slowdown_in_windows: 1.0 / (1.0 - hits as f64 * 600e-9),
        bound: 0.12,
        tracer_cpu_ns: SECOND / 10,
        tracer_peak_bytes: 48 << 20,
    });
    recording
}
