//! The target controls the files that tracer reads as root. Whatever they hold: no panic, and memory and time within bounds.
//!
//! `TRACER_FUZZ_ITERATIONS` sets how many mutated files are built (default 4,000).
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]

mod table_invariants;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use object::read::{ReadCache, ReadRef};
use object::{Object, ObjectSection};
use rustix::time::{ClockId, clock_gettime};
use tracer::target::{MappingKind, Modules};
use tracer::unwind::{BuildError, ModuleTable};

use self::table_invariants::check;

/// Counts the memory in use, and the most that ever was.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Tests run one at a time, as [`PEAK`] counts for all threads.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let in_use = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(in_use, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// CPU time that building one table may take, also in a build for debugging. It says nothing about how fast tables are built: all files
/// here are small, and work that grows faster than the file would take minutes.
const MOST_CPU_TIME: Duration = Duration::from_secs(2);

/// CPU time of this process: builds use all threads of a pool, and tests run one at a time.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Builds a table and returns, with it, the memory it took at its highest point. Not in unbounded time.
fn build<'a>(file: impl ReadRef<'a>) -> (Result<ModuleTable, BuildError>, usize) {
    let before = IN_USE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let begun = cpu_time();
    let result = ModuleTable::build(file);
    let (memory, time) = (PEAK.load(Ordering::Relaxed).saturating_sub(before), cpu_time() - begun);
    assert!(time < MOST_CPU_TIME, "{time:?}");
    (result, memory)
}

const MIB: usize = 1 << 20;

fn library(assembly: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("library");
    let mut gcc = Command::new("gcc")
        .args(["-shared", "-nostdlib", "-x", "assembler", "-", "-o"])
        .arg(&output)
        .stdin(Stdio::piped())
        .spawn()
        .expect("this test needs gcc");
    gcc.stdin.take().unwrap().write_all(assembly.as_bytes()).unwrap();
    assert!(gcc.wait().unwrap().success());
    std::fs::read(output).unwrap()
}

/// Many small functions with all kinds of frames, in `.eh_frame` and `.debug_frame`.
fn varied() -> Vec<u8> {
    let frames = [
        "",
        ".cfi_def_cfa_offset 64\n.cfi_offset rbp, -16",
        ".cfi_def_cfa rbp, 16\n.cfi_offset rbp, -16\n.skip 3, 0x90\n.cfi_remember_state\n.cfi_def_cfa rsp, 8\n.skip 3, 0x90\n.cfi_restore_state",
        ".cfi_escape 0x10, 6, 2, 0x76, 0x00\n.cfi_escape 0x0f, 3, 0x76, 0x78, 0x06",
        ".cfi_signal_frame\n.cfi_escape 0x0f, 4, 0x77, 0xa0, 0x01, 0x06\n.cfi_escape 0x10, 16, 3, 0x77, 0xa8, 0x01\n.cfi_escape 0x10, 6, 3, 0x77, 0xf8, 0x00",
        ".cfi_undefined rip",
        ".cfi_def_cfa rbx, 16",
    ];
    let function = |n: usize| {
        let frame = frames[n % frames.len()];
        let (size, gap) = (1 + n * 7 % 300, 1 + n * 5 % 40);
        format!(
            ".globl f{n}\n.type f{n}, @function\nf{n}:\n.cfi_startproc\n{frame}\n.skip {size}, 0x90\n.cfi_endproc\n\
             .size f{n}, {size}\n.skip {gap}, 0x90\n"
        )
    };
    let functions: String = (0..96).map(function).collect();
    library(&format!(".cfi_sections .eh_frame, .debug_frame\n.text\n{functions}call elsewhere@PLT\n"))
}

struct Random(u64);

impl Random {
    /// SplitMix64 (Steele, Lea and Flood, 2014).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// Overwrites up to 8 places in `range` with random or awkward values, rarely copies a stretch or cuts the file.
fn mutate(bytes: &mut Vec<u8>, range: std::ops::Range<usize>, random: &mut Random) {
    for _ in 0..=random.below(8) {
        let at = range.start + random.below(range.len());
        let value = match random.below(4) {
            0 => random.next(),
            1 => [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0xffff_ffff, 1 << 63, u64::MAX - 1, u64::MAX][random.below(10)],
            2 => 1 << random.below(64),
            _ => u64::from(bytes[at]) ^ 1 << random.below(8),
        };
        let width = [1, 1, 1, 2, 4, 8][random.below(6)].min(bytes.len() - at);
        bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        match random.below(64) {
            0 => bytes.truncate(at.max(range.end)),
            1 => {
                let from = range.start + random.below(range.len());
                let length = random.below(64).min(range.end - from).min(range.end - at);
                bytes.copy_within(from..from + length, at);
            }
            _ => {}
        }
    }
}

/// The vdso that tracer reads of a process.
fn vdso() -> Option<Vec<u8>> {
    let mut modules = Modules::new();
    modules.scan(std::process::id()).unwrap();
    let file = modules.iter().find(|module| module.kind == MappingKind::Vdso)?.file()?;
    let mut image = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut image, 0).unwrap();
    Some(image)
}

#[test]
fn mutated_files() {
    let _alone = alone();
    let iterations = std::env::var("TRACER_FUZZ_ITERATIONS").map_or(4000, |text| text.parse().expect("a number"));
    let mut files = vec![varied()];
    files.extend(vdso());
    let mut seeds = Vec::new();
    for file in files {
        check(&build(file.as_slice()).0.unwrap(), file.len() as u64);
        let parsed = object::File::parse(file.as_slice()).unwrap();
        let sections = [".eh_frame", ".debug_frame"].into_iter().filter_map(|name| parsed.section_by_name(name));
        let ranges = sections.filter_map(|section| section.file_range());
        let ranges: Vec<_> = ranges.map(|(start, size)| start as usize..(start + size) as usize).collect();
        let headers = [0..64 + 12 * 56, file.len() - 64 * parsed.sections().count()..file.len(), 0..file.len()];
        seeds.extend(ranges.into_iter().chain(headers).map(|range| (file.clone(), range)));
    }

    let (mut built, mut highest) = (0, 0);
    for iteration in 0..iterations {
        let (file, range) = &seeds[iteration % seeds.len()];
        let mut random = Random(iteration as u64);
        let mut bytes = file.clone();
        mutate(&mut bytes, range.clone(), &mut random);
        let (table, memory) = build(bytes.as_slice());
        highest = highest.max(memory);
        if let Ok(table) = table {
            check(&table, bytes.len() as u64);
            built += 1;
        }
    }
    println!("{built} of {iterations} mutated files gave tables; most memory {} KiB", highest / 1024);
    assert!(built > iterations / 4, "mutations that never get past the headers test little");
    // A page table for 4 GiB of text takes 8 MiB; nothing else from a small file takes so much.
    assert!(highest < 16 * MIB, "{highest}");
}

/// A CIE with `nops` padding instructions, then FDEs of (address, length, instructions).
fn call_frame_information(nops: usize, fdes: impl IntoIterator<Item = (u64, u64, Vec<u8>)>) -> Vec<u8> {
    let entry = |body: Vec<u8>| [(body.len() as u32).to_le_bytes().to_vec(), body].concat();
    // Id, version, augmentation, alignment factors 1 and -8, return address column, then CFA = rsp + 8, rip at CFA - 8.
    let cie = [&[0, 0, 0, 0, 1, 0, 1, 0x78, 16, 0x0c, 7, 8, 0x90, 1][..], &vec![0; nops]].concat();
    let mut bytes = entry(cie);
    for (start, length, instructions) in fdes {
        let cie = (bytes.len() as u32 + 4).to_le_bytes();
        bytes.extend(entry([&cie, &start.to_le_bytes()[..], &length.to_le_bytes(), &instructions].concat()));
    }
    bytes
}

/// A library with `text` bytes of text at the returned address whose `.eh_frame` is what `content` makes for that address.
fn with_eh_frame(text: usize, content: impl FnOnce(u64) -> Vec<u8>) -> (Vec<u8>, u64) {
    let mut bytes = library(&format!(".text\nf:\n.cfi_startproc\n.skip {text}, 0x90\n.cfi_endproc\n"));
    let (address, headers) = {
        let file = object::File::parse(bytes.as_slice()).unwrap();
        let index = file.section_by_name(".eh_frame").unwrap().index().0;
        let headers = u64::from_le_bytes(bytes[0x28..0x30].try_into().unwrap()) as usize;
        (file.section_by_name(".text").unwrap().address(), headers + 64 * index)
    };
    let content = content(address);
    let offset = bytes.len() as u64;
    bytes[headers + 0x18..headers + 0x20].copy_from_slice(&offset.to_le_bytes());
    bytes[headers + 0x20..headers + 0x28].copy_from_slice(&(content.len() as u64).to_le_bytes());
    bytes.extend(content);
    (bytes, address)
}

#[test]
fn rows_are_bounded_by_the_text() {
    let _alone = alone();
    // A new CFA at every byte, and on and on behind the function's end.
    let instructions = || (0..200_000_u32).flat_map(|n| [0x0e, 8 + 8 * (n % 8) as u8, 0x41]).collect::<Vec<u8>>();
    let (bytes, text) = with_eh_frame(10_000, |text| call_frame_information(0, [(text, 10_000, instructions())]));
    let (table, memory) = build(bytes.as_slice());
    let table = table.unwrap();
    assert_eq!(table.rows().len(), 10_000 + 1 - 1);
    assert_eq!(table.lookup(text + 7).unwrap().cfa_offset, 8 + 8 * 7);
    assert!(memory < MIB, "{memory}");
}

#[test]
fn overlapping_functions_count_once() {
    let _alone = alone();
    let instructions: Vec<u8> = (0..10).flat_map(|n| [0x0e, 16 + 8 * n, 0x41]).collect();
    let all =
        |text| (0..20_000).map(move |n| (text + n % 5000, [1 << 40, u64::MAX][n as usize % 2], instructions.clone()));
    let (bytes, text) = with_eh_frame(10_000, |text| call_frame_information(0, all(text)));
    let (table, memory) = build(bytes.as_slice());
    let table = table.unwrap();
    check(&table, bytes.len() as u64);
    assert_eq!(table.lookup(text).unwrap().cfa_offset, 16);
    assert_eq!(
        table.rows().len(),
        10 + 2,
        "the first covers all: its rows, and those that open its second and third page"
    );
    assert!(memory < 8 * MIB, "{memory}");
}

#[test]
fn entries_behind_a_terminator_and_of_the_wide_format_count() {
    let _alone = alone();
    let (bytes, text) = with_eh_frame(300, |text| {
        let mut bytes = call_frame_information(0, [(text, 100, vec![])]);
        bytes.extend([0; 4]);
        let fde = [&(text + 200).to_le_bytes()[..], &100_u64.to_le_bytes(), &[0x0e, 48]].concat();
        bytes.extend([&[0xff; 4][..], &(fde.len() as u64 + 4).to_le_bytes()].concat());
        bytes.extend((bytes.len() as u32).to_le_bytes());
        bytes.extend(fde);
        bytes
    });
    let table = build(bytes.as_slice()).0.unwrap();
    assert_eq!([0, 150, 299].map(|at| table.lookup(text + at).unwrap().cfa_offset), [8, 0, 48]);
    assert_eq!(table.coverage().no_info, 100);
}

#[test]
fn instructions_of_a_cie_do_not_multiply() {
    let _alone = alone();
    let functions = |text| (0..1000).map(move |n| (text + n, 1, vec![]));
    let (bytes, _) = with_eh_frame(1000, |text| call_frame_information(1 << 20, functions(text)));
    let table = build(bytes.as_slice()).0.unwrap();
    assert_eq!((table.coverage().unreadable_entries, table.coverage().with_rule), (1000, 0));
}

#[test]
fn remembered_states_take_no_memory() {
    let _alone = alone();
    let (bytes, text) = with_eh_frame(64, |text| call_frame_information(0, [(text, 64, vec![0x0a; 4 * MIB])]));
    let (table, memory) = build(bytes.as_slice());
    let table = table.unwrap();
    assert_eq!(table.lookup(text).unwrap().cfa_offset, 0, "unsupported");
    assert!(memory < MIB, "{memory}");
}

#[test]
fn states_remembered_and_restored_take_little_time() {
    let _alone = alone();
    // Each copies all rules.
    let instructions: Vec<u8> = [0x0a, 0x0b].repeat(MIB / 2);
    let (bytes, text) = with_eh_frame(64, |text| call_frame_information(0, [(text, 64, instructions)]));
    let (table, memory) = build(bytes.as_slice());
    assert_eq!(table.unwrap().lookup(text).unwrap().cfa_offset, 8);
    assert!(memory < MIB, "{memory}");
}

#[test]
fn one_module_cannot_fill_the_dictionary() {
    let _alone = alone();
    let function = |text, n: u64| {
        let offset = [0x80 | (n & 0x7f) as u8, 0x80 | (n >> 7 & 0x7f) as u8, (n >> 14) as u8];
        (text + n, 1, [&[0x0e][..], &offset].concat())
    };
    let different = |text| (0..20_000).map(move |n| function(text, n));
    let (bytes, _) = with_eh_frame(20_000, |text| call_frame_information(0, different(text)));
    let table = build(bytes.as_slice()).0.unwrap();
    assert_eq!(table.rules().len(), 8192);
    assert_eq!(table.coverage().rows_without_rule, 20_000 - (8192 - 3));
    assert_eq!(table.coverage().unsupported, 20_000 - (8192 - 3));
}

/// A file that claims a part of many gigabytes, and has them, as holes.
fn sparse(bytes: &[u8], patches: &[(usize, &[u8])]) -> File {
    let mut bytes = bytes.to_vec();
    for (at, patch) in patches {
        bytes[*at..at + patch.len()].copy_from_slice(patch);
    }
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    file.set_len(1 << 40).unwrap();
    file
}

#[test]
fn claims_of_size_take_no_memory() {
    let _alone = alone();
    let bytes = varied();
    let file = object::File::parse(bytes.as_slice()).unwrap();
    let headers = u64::from_le_bytes(bytes[0x28..0x30].try_into().unwrap()) as usize;
    let header_of = |name: &str| headers + 64 * file.section_by_name(name).unwrap().index().0;
    let huge = (1_u64 << 36).to_le_bytes();
    let patched = |patches: &[(usize, &[u8])]| {
        let file = sparse(&bytes, patches);
        let (table, memory) = build(&ReadCache::new(&file));
        assert!(memory < 2 * MIB, "{patches:x?}: {memory}");
        table
    };
    let sound = patched(&[]).unwrap();

    assert!(matches!(
        patched(&[(header_of(".eh_frame") + 0x20, &huge)]),
        Err(BuildError::Section { name: ".eh_frame", .. })
    ));
    assert!(matches!(
        patched(&[(header_of(".debug_frame") + 0x20, &huge)]),
        Err(BuildError::Section { name: ".debug_frame", .. })
    ));
    assert!(patched(&[(header_of(".symtab") + 0x20, &huge)]).is_ok());
    assert!(patched(&[(header_of(".shstrtab") + 0x20, &huge)]).is_ok());
    // e_shnum = 0: the number is in the first section header.
    assert!(patched(&[(0x3c, &[0, 0]), (headers + 0x20, &0x4000_0000_u64.to_le_bytes())]).is_ok());
    // e_phnum = 0xffff: likewise.
    let many = patched(&[(0x38, &[0xff, 0xff]), (headers + 0x2c, &0x4000_0000_u32.to_le_bytes())]);
    assert!(matches!(many, Err(BuildError::Headers)));

    // The executable segment covers 16 GiB, then 2 GiB.
    let text = (0..12).map(|n| 0x40 + 56 * n).find(|&at| bytes[at..at + 8] == [1, 0, 0, 0, 5, 0, 0, 0]).unwrap();
    assert!(matches!(patched(&[(text + 0x20, &(1_u64 << 34).to_le_bytes())]), Err(BuildError::TextSpan(_))));
    let file = sparse(&bytes, &[(text + 0x20, &(1_u64 << 31).to_le_bytes())]);
    let (table, memory) = build(&ReadCache::new(&file));
    let table = table.unwrap();
    assert_eq!((table.pages().len(), table.rows().len()), (1 << 19, sound.rows().len()));
    assert!(memory < 16 * MIB, "{memory}");
}
