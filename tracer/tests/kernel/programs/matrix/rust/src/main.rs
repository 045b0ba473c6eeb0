//! Allocates in named functions and counts every call of the global allocator; see `matrix.h` for the dialogue.

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::{Cell, RefCell},
    fs::File,
    hint::black_box,
    io::{Read as _, Write as _},
    mem::ManuallyDrop,
    os::fd::FromRawFd as _,
    sync::{
        Barrier, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

#[cfg(feature = "jemalloc")]
static INNER: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
#[cfg(feature = "mimalloc")]
static INNER: mimalloc::MiMalloc = mimalloc::MiMalloc;
#[cfg(not(any(feature = "jemalloc", feature = "mimalloc")))]
static INNER: std::alloc::System = std::alloc::System;

#[global_allocator]
static COUNTING: Counting = Counting;

/// Counts what it hands on.
struct Counting;

#[derive(Clone, Copy)]
struct Count {
    kind: &'static str,
    size: usize,
    calls: u64,
}

thread_local! {
    static KIND: Cell<&'static str> = const { Cell::new("other") };
    static COUNTS: RefCell<[Count; 256]> = const { RefCell::new([Count { kind: "", size: 0, calls: 0 }; 256]) };
}

fn count(size: usize) {
    let kind = KIND.get();
    COUNTS.with_borrow_mut(|counts| {
        let entry = counts.iter_mut().find(|count| count.calls == 0 || (count.kind, count.size) == (kind, size));
        // No panic in an allocator.
        let Some(entry) = entry else { std::process::abort() };
        *entry = Count { kind, size, calls: entry.calls + 1 };
    });
}

/// Bytes and blocks in use.
static IN_USE: [AtomicI64; 2] = [const { AtomicI64::new(0) }; 2];

/// Takes note of a block that came (1) or went (-1), unless it failed to come.
fn note(block: *mut u8, size: usize, sign: i64) -> *mut u8 {
    if !block.is_null() {
        IN_USE[0].fetch_add(sign * size as i64, Ordering::Relaxed);
        IN_USE[1].fetch_add(sign, Ordering::Relaxed);
    }
    block
}

/// Blocks that are in use for a while, and are then released by whichever thread comes by.
static HELD: [Mutex<Option<Held>>; 61] = [const { Mutex::new(None) }; 61];

#[expect(dead_code, reason = "held, not used")]
enum Held {
    Bytes(Vec<u8>),
    Lines(Vec<Line>),
    Pairs(Box<[Pair]>),
}

fn hold(held: Option<Held>) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let mut place = match HELD[NEXT.fetch_add(1, Ordering::Relaxed) % HELD.len()].lock() {
        Ok(place) => place,
        Err(_) => std::process::abort(),
    };
    *place = held;
}

// SAFETY: all is left to `INNER`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promised.
        note(unsafe { INNER.alloc(layout) }, layout.size(), 1)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { INNER.dealloc(note(block, layout.size(), -1), layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promised.
        note(unsafe { INNER.alloc_zeroed(layout) }, layout.size(), 1)
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        // SAFETY: as the caller promised.
        let moved = unsafe { INNER.realloc(block, layout, new_size) };
        if !moved.is_null() {
            note(moved, layout.size(), -1);
        }
        note(moved, new_size, 1)
    }
}

/// A named function that says so to the counting.
macro_rules! kinds {
    ($(fn $name:ident($size:ident) $body:block)*) => {
        $(#[inline(never)]
        fn $name($size: usize) {
            KIND.set(stringify!($name));
            $body;
            KIND.set("other");
        })*
        fn all_kinds() {
            for size in [1, 24, 100, 1000, 5000, 70_000, 300_000] {
                $($name(size);)*
            }
        }
    };
}

#[repr(align(64))]
#[derive(Clone)]
struct Line(#[expect(dead_code, reason = "only its size and alignment matter")] [u8; 64]);

#[repr(align(16))]
#[derive(Clone)]
struct Pair(#[expect(dead_code, reason = "only its size and alignment matter")] [u8; 16]);

kinds! {
    fn kind_box(size) { black_box(Box::new([size; 20])) }
    fn kind_vec(size) { black_box(Vec::<u8>::with_capacity(size)) }
    fn kind_zeroed(size) { black_box(vec![0u8; size]) }
    fn kind_string(size) { black_box("x".repeat(size)) }
    fn kind_growth(size) {
        let mut vec = Vec::new();
        for i in 0..size as u64 {
            vec.push(black_box(i));
        }
        black_box(vec)
    }
    fn kind_shrink(size) {
        let mut vec = Vec::<u8>::with_capacity(2 * size);
        vec.resize(size, 1);
        vec.shrink_to_fit();
        black_box(vec)
    }
    fn kind_aligned(size) { black_box(Vec::<Line>::with_capacity(size / 64 + 1)) }
    fn kind_aligned_zeroed(size) {
        let Ok(layout) = Layout::from_size_align(size, 64) else { std::process::abort() };
        // SAFETY: the size is not 0, and the block goes back with the layout it came with.
        unsafe { std::alloc::dealloc(black_box(std::alloc::alloc_zeroed(layout)), layout) }
    }
    fn kind_growth_of_pairs(size) {
        let mut vec = Vec::new();
        vec.resize(size / 64 + 1, Pair([1; 16]));
        vec.reserve_exact(size / 16 + 1);
        black_box(vec)
    }
    fn kind_held_bytes(size) { hold(Some(Held::Bytes(Vec::with_capacity(size)))) }
    fn kind_held_growth(size) {
        let mut vec = Vec::with_capacity(size);
        vec.resize(size + 8, 1);
        hold(Some(Held::Bytes(vec)))
    }
    fn kind_held_lines(size) { hold(Some(Held::Lines(Vec::with_capacity(size / 64 + 1)))) }
    fn kind_held_pairs(size) { hold(Some(Held::Pairs(vec![Pair([0; 16]); size / 16 + 1].into()))) }
    fn kind_growth_of_lines(size) {
        let mut vec = Vec::new();
        vec.resize(size / 256 + 1, Line([1; 64]));
        vec.reserve_exact(size / 64 + 1);
        black_box(vec)
    }
}

/// Standard output and input, without buffers.
fn stream(descriptor: i32) -> ManuallyDrop<File> {
    // SAFETY: the descriptors 0 and 1 stay open.
    ManuallyDrop::new(unsafe { File::from_raw_fd(descriptor) })
}

fn say(line: std::fmt::Arguments<'_>) {
    let _ = stream(1).write_fmt(line);
}

fn await_line() {
    let mut byte = [0];
    while matches!(stream(0).read(&mut byte), Ok(1)) && byte != *b"\n" {}
}

unsafe extern "C" {
    safe fn gettid() -> i32;
}

static PRINTING: Mutex<()> = Mutex::new(());

#[inline(never)]
fn work(rounds: u64) {
    for _ in 0..rounds {
        all_kinds();
    }
    // The counting of this thread ends here; writing does not allocate.
    let counts = COUNTS.with_borrow(|counts| *counts);
    let _printing = PRINTING.lock();
    for Count { kind, size, calls } in counts.iter().filter(|count| count.calls > 0) {
        say(format_args!("count {} {kind} {size} {calls}\n", gettid()));
    }
}

fn forget_counts() {
    COUNTS.with_borrow_mut(|counts| counts.iter_mut().for_each(|count| count.calls = 0));
}

fn main() {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    let (begin, end) = (&Barrier::new(4), &Barrier::new(4));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(move || {
                all_kinds();
                forget_counts();
                begin.wait();
                begin.wait();
                work(rounds);
                end.wait();
                loop {
                    std::thread::park();
                }
            });
        }
        all_kinds();
        drop(PRINTING.lock());
        begin.wait();
        (0..HELD.len()).for_each(|_| hold(None));
        forget_counts();
        let before = [0, 1].map(|i| IN_USE[i].load(Ordering::Relaxed));
        say(format_args!("ready\n"));
        await_line();
        begin.wait();
        work(rounds);
        end.wait();
        let [bytes, blocks] = [0, 1].map(|i| IN_USE[i].load(Ordering::Relaxed) - before[i]);
        say(format_args!("held {bytes} {blocks}\n"));
        say(format_args!("done\n"));
        await_line();
        std::process::exit(0);
    });
}
