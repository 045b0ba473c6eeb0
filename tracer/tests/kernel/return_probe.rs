//! Another tool's return probe replaces return addresses on the target's stack by the kernel's trampoline. The stack is still
//! right: the kernel knows what stood there.

use std::{fs, io::Write as _, path::Path};

use object::{Object as _, ObjectSegment as _, ObjectSymbol as _};
use tracer_ebpf::abi::sample::WalkStatus;

use crate::{
    names::ProgramNames,
    programs::{Build, Compiler, Program},
    recording::{EVERY, alone, record, request},
};

/// Allocated by the program where it then blocks.
const SIZE: u64 = 4242;
/// Functions with a return probe, callee and caller.
const PROBED: [&str; 2] = ["with_alloca", "through_qsort"];
const CHAIN: [&str; 6] = ["innermost", "with_alloca", "compare", "through_qsort", "recursive", "main"];

#[test]
fn stacks_lead_through_return_probes() {
    let Some(_guard) = alone() else { return };
    let path = Build::new(Compiler::Gcc, "blocked.c", &["-O2"]).compile();
    let probes = PROBED.map(|function| ReturnProbe::set(&path, function));
    let mut program = Program::start(&path, &[], None);
    let (recording, ()) = record(program.pid(), request(EVERY), || {
        program.go();
        assert_eq!(program.line(), "allocated");
    });
    let maps = fs::read_to_string(format!("/proc/{}/maps", program.pid())).expect("its mappings");
    program.finish();
    drop(probes);
    assert!(maps.contains("[uprobes]"), "the return probes were not hit: nothing was tested");

    let sample = recording.parts.samples.iter().find(|sample| sample.size == SIZE).expect("the block was sampled");
    let stack = &recording.parts.stacks[sample.stack as usize];
    assert_eq!(stack.status, WalkStatus::Complete);
    let names: Vec<String> = ProgramNames::new(&recording, &path).of_stack(stack).collect();
    let mut rest = names.iter();
    for function in CHAIN {
        assert!(rest.any(|name| name.starts_with(function)), "{function} is missing from {names:?}");
    }
}

/// A return probe of ftrace (Documentation/trace/uprobetracer.rst), in an instance that is removed with it.
struct ReturnProbe {
    event: String,
}

const EVENTS: &str = "/sys/kernel/tracing/uprobe_events";

impl ReturnProbe {
    fn set(path: &Path, function: &str) -> Self {
        mount_tracefs();
        let event = format!("tracer_test/{function}");
        let offset = file_offset(path, function);
        append(EVENTS, &format!("r:{event} {}:{offset:#x}", path.display()));
        fs::write(format!("/sys/kernel/tracing/events/{event}/enable"), "1").expect("the probe is enabled");
        Self { event }
    }
}

impl Drop for ReturnProbe {
    fn drop(&mut self) {
        let _ = fs::write(format!("/sys/kernel/tracing/events/{}/enable", self.event), "0");
        append(EVENTS, &format!("-:{}", self.event));
    }
}

fn append(path: &str, line: &str) {
    let mut file = fs::OpenOptions::new().append(true).open(path).expect("tracefs");
    writeln!(file, "{line}").expect("the kernel takes the probe");
}

fn mount_tracefs() {
    if !Path::new(EVENTS).exists() {
        let status =
            std::process::Command::new("mount").args(["-t", "tracefs", "tracefs", "/sys/kernel/tracing"]).status();
        assert!(status.expect("mount runs").success(), "tracefs can be mounted");
    }
}

/// The offset in its file at which a function begins.
pub fn file_offset(path: &Path, function: &str) -> u64 {
    let bytes = fs::read(path).expect("the program");
    let file = object::File::parse(&*bytes).expect("an ELF file");
    let address = file
        .symbols()
        .find(|symbol| symbol.name().is_ok_and(|name| name == function || name.starts_with(&format!("{function}."))))
        .expect("the function")
        .address();
    let segment = file
        .segments()
        .find(|segment| (segment.address()..segment.address() + segment.size()).contains(&address))
        .expect("its segment");
    address - segment.address() + segment.file_range().0
}
