//! The kernel gives the memory of a replaced map entry to the next one, while walks may still read it: no stack mixes the mappings
//! of two copies, and a copy that the kernel distrusts is read again.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use aya::maps::{HashMap, Map, MapData, MapInfo};
use tracer::{probe::value::Value, record::interval::IntervalSetting};
use tracer_ebpf::abi::{
    process::{Process, version},
    sample::WalkStatus,
};

use crate::{
    comparison::Report,
    programs::{Build, Compiler, Program, Shim},
    recording::{ONLY_KEYED, alone, record, request},
    storm::{Rhythm, Storm},
    truth::TruthFile,
};

const PROGRAM: Build = Build::new(Compiler::Gcc, "torture.c", &["-O2"]);
const SEED: &str = "1";
const THREADS: &str = "2";
const ALLOCATIONS: &str = "20000";
/// Of a recursion.
const LEVELS: &str = "20";
/// No process has this number: PID_MAX_LIMIT in include/linux/threads.h.
const NOBODY: u32 = 1 << 22;
/// How far off an address is found with the mappings of the other copy.
const OFF: u64 = 16;

/// The kernel's copies of mappings, as the recording of this process has them.
struct Copies(HashMap<MapData, u32, Value<Process>>);

impl Copies {
    fn open() -> Self {
        let infos = fs::read_dir("/proc/self/fdinfo").expect("it is there").flatten();
        let id = |text: String| text.lines().find_map(|line| line.strip_prefix("map_id:"))?.trim().parse().ok();
        let mut ids = infos.filter_map(|entry| id(fs::read_to_string(entry.path()).ok()?));
        let is_it = |id: &u32| MapInfo::from_id(*id).is_ok_and(|info| info.name_as_str() == Some("PROCESSES"));
        let id = ids.find(is_it).expect("a recording has this map");
        let map = Map::HashMap(MapData::from_id(id).expect("the map is there"));
        Self(map.try_into().expect("it has these keys and values"))
    }

    fn get(&self, process: u32) -> Process {
        self.0.get(&process, 0).expect("it is followed").0
    }

    /// With the n-th copy, far from the numbers of the recording's own.
    fn replace(&mut self, n: u32, process: u32, copy: Process) {
        let version = version(u32::MAX / 2 + n, process);
        let copy = Process { version, version_again: version, ..copy };
        self.0.insert(process, Value(copy), 0).expect("there is room");
    }
}

#[test]
fn no_stack_mixes_two_copies() {
    let Some(_guard) = alone() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = TruthFile::create(directory.path(), 256 << 20);
    let arguments = [SEED, THREADS, ALLOCATIONS, LEVELS];
    let mut program = Program::start(&PROGRAM.compile(), &arguments, Some((file.path(), Shim::Separate)));
    let (pid, over) = (program.pid(), AtomicBool::new(false));
    let (recording, replaced) = record(pid, request(ONLY_KEYED), || {
        let mut copies = Copies::open();
        let right = copies.get(pid);
        let mut wrong = right;
        wrong.mappings.iter_mut().for_each(|mapping| mapping.bias = mapping.bias.wrapping_add(OFF));
        let replaced = thread::scope(|scope| {
            let replacing = scope.spawn(|| {
                let mut replaced = 0;
                while !over.load(Ordering::Relaxed) {
                    for (process, copy) in [(pid, right), (NOBODY, wrong)] {
                        replaced += 1;
                        copies.replace(replaced, process, copy);
                    }
                }
                replaced
            });
            file.enable(true);
            program.go();
            program.line();
            file.enable(false);
            over.store(true, Ordering::Relaxed);
            replacing.join()
        });
        replaced.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    program.finish();
    let report = Report::new(&recording, &file.read());
    println!("{replaced} times replaced: {report}");
    assert!(report.is_sound(), "{report}");
    assert!(report.ends.contains_key(&WalkStatus::Stale), "no walk met a replacement: this proves nothing");
}

#[test]
fn a_distrusted_copy_is_read_again() {
    let Some(_guard) = alone() else { return };
    let mut storm = Storm::endless(1, Rhythm::STEADY);
    let pid = storm.pid();
    storm.go();
    let interval = IntervalSetting::Fixed(1 << 20);
    let (recording, ()) = record(pid, request(interval), || {
        let mut copies = Copies::open();
        let copy = copies.get(pid);
        copies.replace(1, pid, Process { removals: copy.removals + 1, ..copy });
        thread::sleep(Duration::from_millis(500));
    });
    storm.stop();
    storm.finish();
    let mut samples = recording.parts.samples;
    samples.sort_by_key(|sample| sample.time_ns);
    let ends: Vec<_> = samples.iter().map(|sample| recording.parts.stacks[sample.stack as usize].status).collect();
    assert!(ends.contains(&WalkStatus::Stale), "no walk distrusted the copy: this proves nothing");
    assert_eq!(ends.last(), Some(&WalkStatus::Complete));
}
