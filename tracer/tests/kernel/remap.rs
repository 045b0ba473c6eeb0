//! Code that a program maps by hand, without its loader: over other code, moved to its place, after it was unmapped, and made
//! executable afterwards. No complete stack has a frame of what was there before, and stacks become complete again.

use std::collections::BTreeMap;

use tracer_ebpf::abi::sample::{Frame, WalkStatus};

use crate::{
    programs::{Build, Compiler, Program},
    recording::{EVERY, alone, record, request},
};

const PROGRAM: Build = Build::new(Compiler::Gcc, "remap.c", &["-O2"]);
const LIBRARIES: [Build; 2] = [
    Build::new(Compiler::Gcc, "by_hand_mapped.c", &["-O2", "-fPIC", "-shared", "-DFRAME=200"]),
    Build::new(Compiler::Gcc, "by_hand_mapped.c", &["-O2", "-fPIC", "-shared", "-DFRAME=3000"]),
];
const WAYS: [&str; 4] = ["mapped over", "moved", "mapped after munmap", "made executable"];
const ROUNDS: &str = "60";
const MILLISECONDS: &str = "15";

/// Where a sample was taken, by its size.
#[derive(Clone, Copy)]
struct Site {
    way: usize,
    library: usize,
    levels: usize,
}

impl Site {
    fn of(size: u64) -> Option<Self> {
        let size = usize::try_from(size).ok()?.checked_sub(10_000)?;
        let site = Self { way: size / 1000, library: size / 100 % 10, levels: size % 100 };
        (site.way < WAYS.len() && site.library < 2 && site.levels < 8).then_some(site)
    }
}

#[test]
fn no_stack_is_wrong_when_code_is_mapped_by_hand() {
    let Some(_guard) = alone() else { return };
    let (program_path, paths) = (PROGRAM.compile(), LIBRARIES.map(|library| library.compile()));
    let paths = paths.map(|path| path.to_string_lossy().into_owned());
    let mut program = Program::start(&program_path, &[&paths[0], &paths[1], ROUNDS, MILLISECONDS], None);
    let (recording, ()) = record(program.pid(), request(EVERY), || {
        program.go();
        assert_eq!(program.line(), "done");
    });
    program.finish();
    let path_of = |frame: &Frame| recording.modules.get(frame.module()).map_or("", |module| module.path.as_str());
    let program_path = program_path.to_string_lossy();
    let mut complete: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    let mut ends: BTreeMap<WalkStatus, u64> = BTreeMap::new();
    // Addresses: of each library by depth, and of what called it by way. They are the same whenever it is called.
    let mut inside: BTreeMap<(usize, usize), Vec<u64>> = BTreeMap::new();
    let mut tails: BTreeMap<usize, Vec<Vec<Frame>>> = BTreeMap::new();
    for sample in &recording.parts.samples {
        let Some(site) = Site::of(sample.size) else { continue };
        let stack = &recording.parts.stacks[sample.stack as usize];
        *ends.entry(stack.status).or_default() += 1;
        // malloc, allocate_here, descend for each level and once more, mapped_run, then the program.
        let last = 2 + site.levels + 1;
        for (index, frame) in stack.frames.iter().enumerate() {
            let expected = match index {
                0 => continue,
                1 => &*program_path,
                _ if index <= last => &paths[site.library],
                _ if index == last + 1 => &*program_path,
                _ => break,
            };
            let path = path_of(frame);
            assert_eq!(path, expected, "{}: frame {index} of {:?}", WAYS[site.way], stack.frames);
        }
        if stack.status == WalkStatus::Complete {
            *complete.entry((site.way, site.library)).or_default() += 1;
            assert!(stack.frames.len() > last + 3, "{}: {:?}", WAYS[site.way], stack.frames);
            assert_eq!(stack.frame_pointer_frames, 0);
            let addresses: Vec<u64> = stack.frames[2..=last].iter().map(|frame| frame.address()).collect();
            let known = inside.entry((site.library, site.levels)).or_insert_with(|| addresses.clone());
            assert_eq!(*known, addresses, "{}", WAYS[site.way]);
            let (tails, tail) = (tails.entry(site.way).or_default(), stack.frames[last + 1..].to_vec());
            if !tails.contains(&tail) {
                tails.push(tail);
            }
        }
    }
    println!("ends {ends:?}, complete by way and library {complete:?}");
    for (way, name) in WAYS.iter().enumerate() {
        for library in 0..2 {
            let complete = complete.get(&(way, library)).copied().unwrap_or_default();
            assert!(complete > 100, "{name}: {complete} complete stacks of library {library}: {ends:?}");
        }
        // One of each call of `visit`: at most two in the text for a way, each with its own way to the start of the program.
        let of_way = tails.get(&way).map_or(0, Vec::len);
        assert!((1..=2).contains(&of_way), "{name}: {:?}", tails.get(&way));
    }
    assert!(ends.keys().any(|status| *status != WalkStatus::Complete), "no walk met a change: this proves nothing");
}
