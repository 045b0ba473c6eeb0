//! A debugger sees the same stack: an unwinder and a reader of unwind tables that share nothing with tracer's or libgcc's.

use std::{fs, process::Command};

use tracer_ebpf::abi::sample::WalkStatus;

use crate::{
    described::Described,
    names::Names,
    programs::{Build, Compiler, Program, source},
    recording::{EVERY, alone, record, request},
    truth::{Place, real_path},
};

/// Allocated by the program where it then blocks.
const SIZE: u64 = 4242;
/// What the functions' names hold that must be on the stack, innermost first; libc's sorting stands between `compare` and
/// `through_qsort`.
const C: &[&str] = &["innermost", "with_alloca", "compare", "through_qsort", "recursive", "main"];
/// libstdc++ stands between `Failure`, a destructor, and `catching`.
const CXX: &[&str] = &["innermost", "Failure", "catching", "visit", "recursive", "main"];
/// Such a program has its unwind information in `.debug_frame` alone.
const DEBUG_FRAME: &[&str] = &["-O2", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"];

#[test]
fn gdb_sees_the_same_stack() {
    let Some(_guard) = alone() else { return };
    compare(&Build::new(Compiler::Gcc, "blocked.c", &["-O2"]), C);
    compare(&Build::new(Compiler::Gcc, "blocked.c", &["-O0"]), C);
    compare(&Build::new(Compiler::Clang, "blocked.c", &["-O2"]), C);
    let debug_frame = Build::new(Compiler::Gcc, "blocked.c", DEBUG_FRAME);
    let own = compare(&debug_frame, C);
    let eh_frame = Described::read(&debug_frame.compile());
    let described: Vec<_> =
        own.iter().filter(|(place, _)| eh_frame.holds(place.address)).map(|(_, name)| name).collect();
    assert_eq!(described, ["_start"], "all but the start of every program is to be unwound by .debug_frame");
    for compiler in [Compiler::Gxx, Compiler::Clangxx] {
        compare(&Build::new(compiler, "blocked.cpp", &["-O2"]), CXX);
    }
}

/// Compares the stacks. `chain`: functions that must be on it. The frames of the program itself.
fn compare(build: &Build, chain: &[&str]) -> Vec<(Place, String)> {
    let mut program = Program::start(&build.compile(), &[], None);
    let pid = program.pid();
    let (recording, debugger) = record(pid, request(EVERY), || {
        program.go();
        assert_eq!(program.line(), "allocated");
        backtrace(pid)
    });
    program.finish();
    let sample = recording.parts.samples.iter().find(|sample| sample.size == SIZE).expect("the block was sampled");
    let stack = &recording.parts.stacks[sample.stack as usize];
    assert_eq!(stack.status, WalkStatus::Complete);
    let mut names = Names::default();
    let sampled: Vec<(Place, String)> = stack
        .frames
        .iter()
        .map(|frame| {
            let module = recording.modules.get(frame.module()).map(|module| real_path(module.path.as_ref()));
            let place = Place { module, address: frame.address() };
            let name = without_ending(names.function(&place).map_or("?", |(name, _)| name));
            (place, name)
        })
        .collect();
    // The innermost function has gone on since it allocated; from its caller on everything must be equal.
    let callers = |stack: &[(Place, String)]| {
        let found = stack.iter().position(|(_, name)| name.contains(chain[0]));
        let at = found.expect("the innermost function is on the stack");
        stack[at + 1..].to_vec()
    };
    let (sampled, seen) = (callers(&sampled), callers(&debugger));
    println!("{build}: {} frames above {}: {sampled:?}", sampled.len(), chain[0]);
    let places = |stack: &[(Place, String)]| stack.iter().map(|(place, _)| place.clone()).collect::<Vec<_>>();
    assert_eq!(places(&sampled), places(&seen), "{build}");
    // Libraries' own functions may have names that only gdb knows, from debug information.
    let own = |stack: Vec<(Place, String)>| -> Vec<(Place, String)> {
        let path = real_path(&build.compile());
        stack.into_iter().filter(|(place, _)| place.module.as_deref() == Some(&*path)).collect()
    };
    let sampled = own(sampled);
    assert_eq!(sampled, own(seen), "{build}");
    let mut names = sampled.iter().map(|(_, name)| name);
    assert!(chain[1..].iter().all(|wanted| names.any(|name| name.contains(wanted))), "{build}: {sampled:?}");
    sampled
}

/// A function's name without what compilers add for its clones, and of which gdb shows only a part.
fn without_ending(name: &str) -> String {
    name.split('.').next().unwrap_or_default().to_owned()
}

/// The stack of a process that gdb sees, leaf first, at the addresses to look up.
fn backtrace(pid: u32) -> Vec<(Place, String)> {
    let output = Command::new("gdb")
        .args([
            "-batch",
            "-nx",
            "-p",
            &pid.to_string(),
            "-ex",
            "set backtrace past-main on",
            "-ex",
            "set print demangle off",
            "-x",
            &source("backtrace.py"),
        ])
        .output()
        .unwrap_or_else(|error| panic!("cannot run gdb: {error}. Install it: apt-get install gdb"));
    let mappings = Mappings::read(pid);
    let text = String::from_utf8_lossy(&output.stdout);
    let frames: Vec<(Place, String)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("frame 0x")?.split_once(' '))
        .map(|(address, name)| {
            let address = u64::from_str_radix(address, 16).expect("gdb prints addresses in hexadecimal");
            // All but the innermost are return addresses.
            (mappings.place(address - 1), without_ending(name))
        })
        .collect();
    assert!(!frames.is_empty(), "gdb said: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    frames
}

/// Where files are mapped: start, end, file offset, path.
struct Mappings(Vec<(u64, u64, u64, String)>);

impl Mappings {
    fn read(pid: u32) -> Self {
        let text = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the program runs");
        let entry = |line: &str| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let number = |text: &str| u64::from_str_radix(text, 16).ok();
            let (start, end) = fields.first()?.split_once('-')?;
            Some((number(start)?, number(end)?, number(fields.get(2)?)?, (*fields.get(5)?).to_owned()))
        };
        Self(text.lines().filter_map(entry).collect())
    }

    /// Position-independent files have their first byte at ELF address 0.
    fn place(&self, address: u64) -> Place {
        let found = self.0.iter().find(|(start, end, ..)| (*start..*end).contains(&address));
        let bias = found.and_then(|(.., path)| self.0.iter().find(|m| m.2 == 0 && m.3 == *path)).map(|m| m.0);
        match (found, bias) {
            (Some((.., path)), Some(bias)) => Place { module: Some(real_path(path.as_ref())), address: address - bias },
            _ => Place { module: None, address },
        }
    }
}
