//! Rust's ways of making a stack: closures, generics, trait objects, iterators, growing collections, panics.
//!
//! `torture SEED THREADS ALLOCATIONS LEVELS`: each thread walks random call trees until it has allocated that often. Some begin
//! below a recursion of LEVELS to LEVELS + 149 levels.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt::Write as _,
    hint::black_box,
    io::{self, BufRead as _},
    rc::Rc,
    sync::Arc,
    thread,
};

struct Walk {
    random: u64,
    allocations: u64,
    wanted: u64,
}

impl Walk {
    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}

// --- The bottom. ---

#[inline(never)]
fn bottom(walk: &mut Walk) -> u64 {
    walk.allocations += 1;
    let n = walk.draw();
    match n % 9 {
        0 => {
            let mut numbers = Vec::new();
            for i in 0..n % 50 {
                numbers.push(black_box(i));
            }
            black_box(&numbers);
            numbers.len() as u64
        }
        1 => {
            let mut text = String::new();
            for i in 0..n % 9 {
                let _ = write!(text, "{i} and {:?}", Some(i));
            }
            black_box(text).len() as u64
        }
        2 => (0..n % 30).map(|i| (i, i.to_string())).collect::<BTreeMap<_, _>>().len() as u64,
        3 => (0..n % 30).map(|i| (i.to_string(), i)).collect::<HashMap<_, _>>().len() as u64,
        4 => black_box(Rc::new([n; 20]))[3],
        5 => black_box(Arc::<str>::from("shared text")).len() as u64,
        6 => {
            let mut queue: VecDeque<_> = (0..n % 20).collect();
            queue.extend(0..10);
            black_box(&queue);
            queue.iter().sum()
        }
        7 => black_box(vec![0u8; 1 + (n % 4000) as usize]).len() as u64,
        _ => *black_box(Box::new(n)),
    }
}

// --- Frames. ---

type Frame = fn(&mut Walk, u32) -> u64;

const FRAMES: &[Frame] = &[
    plain, closure, boxed_closure, dynamic, generic, large, recursive, iterator, sorting, growing, result, matching,
    dropping, catching,
];

#[inline(never)]
fn step(walk: &mut Walk, depth: u32) -> u64 {
    if walk.allocations >= walk.wanted {
        return 0;
    }
    if depth == 0 {
        return bottom(walk);
    }
    let frame = walk.draw() as usize % FRAMES.len();
    FRAMES[frame](walk, depth - 1)
}

fn plain(walk: &mut Walk, depth: u32) -> u64 {
    step(walk, depth) ^ step(walk, depth / 2)
}

#[inline(never)]
fn call(f: impl FnOnce(u64) -> u64) -> u64 {
    f(3) + 1
}

fn closure(walk: &mut Walk, depth: u32) -> u64 {
    let text = [depth; 12];
    call(|n| step(walk, depth) + n + u64::from(black_box(&text)[2]))
}

fn boxed_closure(walk: &mut Walk, depth: u32) -> u64 {
    let kept = [u64::from(depth); 9];
    let f: Box<dyn FnOnce(&mut Walk) -> u64> = Box::new(move |walk| step(walk, depth) + kept[3]);
    black_box(f)(walk)
}

trait Visit {
    fn visit(&self, walk: &mut Walk, depth: u32) -> u64;
}
struct Small;
struct Wrapped<T>(T, [u64; 30]);
impl Visit for Small {
    fn visit(&self, walk: &mut Walk, depth: u32) -> u64 {
        step(walk, depth) + 1
    }
}
impl<T: Visit> Visit for Wrapped<T> {
    fn visit(&self, walk: &mut Walk, depth: u32) -> u64 {
        let copy = black_box(self.1);
        self.0.visit(walk, depth) + copy[5]
    }
}

fn dynamic(walk: &mut Walk, depth: u32) -> u64 {
    let shapes: [&dyn Visit; 3] = [&Small, &Wrapped(Small, [1; 30]), &Wrapped(Wrapped(Small, [2; 30]), [3; 30])];
    let shape = shapes[walk.draw() as usize % 3];
    black_box(shape).visit(walk, depth)
}

#[inline(never)]
fn generic_over<const N: usize, T: Into<u64> + Copy>(walk: &mut Walk, depth: u32, values: [T; N]) -> u64 {
    let values = black_box(values);
    step(walk, depth) + values.iter().map(|&v| v.into()).sum::<u64>()
}

fn generic(walk: &mut Walk, depth: u32) -> u64 {
    match walk.draw() % 3 {
        0 => generic_over(walk, depth, [1u8; 3]),
        1 => generic_over(walk, depth, [1u32; 70]),
        _ => generic_over(walk, depth, [depth; 17]),
    }
}

fn large(walk: &mut Walk, depth: u32) -> u64 {
    // Beyond a page: the prologue probes the stack.
    let room = black_box([depth as u8; 20_000]);
    step(walk, depth) + u64::from(room[depth as usize])
}

fn recursive(walk: &mut Walk, depth: u32) -> u64 {
    #[inline(never)]
    fn down(walk: &mut Walk, depth: u32, levels: u64) -> u64 {
        if levels == 0 { step(walk, depth) } else { down(walk, depth, levels - 1) * 3 + levels }
    }
    let levels = walk.draw() % 40;
    down(walk, depth, levels)
}

fn iterator(walk: &mut Walk, depth: u32) -> u64 {
    (0..3u64).flat_map(|i| (0..i).map(move |j| i * j)).filter(|n| n % 2 == 0).map(|n| n + step(walk, depth / 2)).sum()
}

fn sorting(walk: &mut Walk, depth: u32) -> u64 {
    let mut numbers: Vec<u64> = (0..3 + walk.draw() % 90).map(|i| i * 7919 % 97).collect();
    let mut calls = walk.draw() % numbers.len() as u64;
    numbers.sort_by(|a, b| {
        calls = calls.wrapping_sub(1);
        if calls == 0 {
            step(walk, depth);
        }
        a.cmp(b)
    });
    numbers[0]
}

fn growing(walk: &mut Walk, depth: u32) -> u64 {
    let mut rows = Vec::new();
    for i in 0..4 {
        rows.push(vec![step(walk, depth / 2); 3 + i]);
    }
    rows.iter().flatten().sum()
}

fn result(walk: &mut Walk, depth: u32) -> u64 {
    #[inline(never)]
    fn parse(walk: &mut Walk, depth: u32, text: &str) -> Result<u64, Box<dyn std::error::Error>> {
        let number: u64 = text.parse()?;
        Ok(number + step(walk, depth))
    }
    let text = if walk.draw() % 2 == 0 { "12" } else { "twelve" };
    parse(walk, depth, text).unwrap_or_else(|error| error.to_string().len() as u64 + step(walk, depth / 2))
}

fn matching(walk: &mut Walk, depth: u32) -> u64 {
    match walk.draw() % 7 {
        0 => step(walk, depth),
        1 => step(walk, depth) * 3,
        2 => black_box([depth; 100]).len() as u64 + step(walk, depth),
        3 => u64::from(step(walk, depth) as f64 > 3.5),
        _ => step(walk, depth / 2) + step(walk, depth / 2),
    }
}

struct OnTheWayOut<'a>(&'a mut Walk, u32);
impl Drop for OnTheWayOut<'_> {
    fn drop(&mut self) {
        step(self.0, self.1);
    }
}

fn dropping(walk: &mut Walk, depth: u32) -> u64 {
    let guard = OnTheWayOut(walk, depth / 3);
    step(guard.0, depth)
}

#[cfg(panic = "unwind")]
fn catching(walk: &mut Walk, depth: u32) -> u64 {
    #[inline(never)]
    fn fail(walk: &mut Walk, depth: u32) -> u64 {
        let guard = OnTheWayOut(walk, depth / 3);
        if step(guard.0, depth) != u64::MAX {
            // Not `panic!`: the message would go to stderr.
            std::panic::resume_unwind(Box::new(depth));
        }
        1
    }
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fail(walk, depth / 2)));
    caught.unwrap_or_else(|_| step(walk, depth / 2))
}

#[cfg(panic = "abort")]
fn catching(walk: &mut Walk, depth: u32) -> u64 {
    plain(walk, depth)
}

/// Two levels below it at most, so that it decides how long the stack is.
#[inline(never)]
fn deep(walk: &mut Walk, levels: u64) -> u64 {
    let result = if levels == 0 { step(walk, 2) } else { deep(walk, levels - 1) };
    // Something to do after the call: the recursion must not become a loop.
    black_box(result) ^ 1
}

fn run(mut walk: Walk, least_levels: u64) -> u64 {
    while walk.allocations < walk.wanted {
        if walk.draw() % 4 == 0 {
            let levels = least_levels + walk.draw() % 150;
            deep(&mut walk, levels);
        }
        let depth = 1 + walk.draw() % 12;
        step(&mut walk, depth as u32);
    }
    walk.allocations
}

fn await_line() {
    let _ = io::stdin().lock().read_line(&mut String::new());
}

fn main() {
    let arguments: Vec<u64> = std::env::args().skip(1).map(|argument| argument.parse().expect("a number")).collect();
    let &[seed, threads, wanted, levels] = arguments.as_slice() else {
        panic!("torture SEED THREADS ALLOCATIONS LEVELS")
    };
    println!("ready");
    await_line();
    let walk = move |n| Walk { random: (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) + n, allocations: 0, wanted };
    let others: Vec<_> = (1..threads).map(|n| thread::spawn(move || run(walk(n), levels))).collect();
    let mut allocations = run(walk(0), levels);
    for other in others {
        allocations += other.join().expect("the thread runs to its end");
    }
    println!("{allocations}");
    await_line();
}
