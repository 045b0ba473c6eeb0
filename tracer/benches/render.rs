//! How long it takes from a recording of 100,000 samples to each output, and how much memory it needs.
//! `cargo bench -p tracer --bench render [-- SAMPLES DEPTH]`

#[expect(dead_code, reason = "only random recordings are needed here")]
#[path = "../tests/synthetic/mod.rs"]
mod synthetic;

use std::io::{self, Write};

use tracer::output::Format;
use tracer::profile::Profile;
use tracer::recording::pprof;

/// Counts what is written.
struct Count(u64);

impl Write for Count {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0 += data.len() as u64;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Memory of this process, now and at most, in MiB.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    };
    format!("{} MiB now, {} at most", field("VmRSS:") >> 10, field("VmHWM:") >> 10)
}

/// Time that this thread has run, in nanoseconds: unlike time on the wall, it does not depend on who else is running.
fn running() -> u64 {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    statistics.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0)
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = running();
    let result = work();
    eprintln!("{what:<12} {:>8.1} ms CPU   memory {}", (running() - start) as f64 / 1e6, memory());
    result
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let (samples, depth) = (numbers.next().unwrap_or(100_000), numbers.next().unwrap_or(30));
    let mut random = synthetic::Random::new(1);
    let recording = timed("made up", || synthetic::random::recording(&mut random, samples as usize, depth));
    let frames: usize = recording.stacks.iter().map(|stack| stack.frames.len()).sum();
    eprintln!("{samples} samples, {} stacks, {frames} frames", recording.stacks.len());
    let profile = timed("profile", || Profile::new(&recording));
    eprintln!("{} nodes", profile.tree.nodes.len());
    for format in Format::ALL {
        let mut count = Count(0);
        let result = timed(format.ending(), || format.write(&recording, &profile, &mut count));
        eprintln!("{:>12} {} bytes", if result.is_ok() { "" } else { "failed" }, count.0);
    }
    let mut file = Vec::new();
    if pprof::write(&recording, &profile.calibration, &mut file).is_ok() {
        let back = timed("read .pb.gz", || pprof::read(&file[..], &pprof::Limits::default()));
        eprintln!("{:>12}", if back.is_ok() { "" } else { "failed" });
    }
}
