//! What `tracer record` can be asked, and what it means.

use std::{ffi::OsString, path::Path, time::Duration};

use anyhow::bail;
use clap::ArgGroup;

use super::Settings;
use crate::{
    cli::{
        functions::Functions,
        overhead::{self, MaxOverhead},
        scope::Scope,
        show,
    },
    output::{self, Destination, Format},
    probe::{kernel_event::KernelEvent, live::LiveOptions},
    profile::View,
    record::{interval::IntervalSetting, request::Request},
};

/// Arguments of `tracer record`.
#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("target").args(["pid", "comm", "command"]).required(true),
    override_usage = "tracer [OPTIONS] --pid <PID>\n       tracer [OPTIONS] --comm <NAME>\n       tracer [OPTIONS] -- <COMMAND>..."
)]
pub struct Args {
    /// The process to trace, such as $(pidof server). May be given more than once
    #[arg(short, long, value_name = "PID")]
    pid: Vec<u32>,
    /// Trace all processes that have this name now
    #[arg(short, long, value_name = "NAME")]
    comm: Option<String>,
    /// A program to start and to trace from its first allocation; with sudo it runs as you. Everything behind `--` is its own
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// Trace the processes that it makes from now on too. Every process that maps the same allocator is slowed down a little
    #[arg(long)]
    children: bool,
    #[command(flatten)]
    functions: Functions,
    /// What to sample: allocations, or what makes the process grow: pages it touches first, anonymous memory that is mapped, or
    /// growth of the program break
    #[arg(short, long, value_name = "EVENT", default_value = "alloc", conflicts_with_all = ["layer", "symbol", "offset", "live", "max_overhead"])]
    event: Event,
    /// For how long, such as 500ms, 30s or 2m; without it until Ctrl-C or the end of the process
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Mean bytes between samples, such as 512KiB: smaller is more detail and more cost. 1 samples every allocation; auto
    /// chooses by the rate of allocation, and follows it
    #[arg(short, long, value_name = "SIZE", default_value = "auto", value_parser = interval)]
    interval: IntervalSetting,
    /// Part of the process's CPU time that tracing may take: it is traced in short random windows where all the time would
    /// cost more, or no longer with --live. none traces all the time, whatever that costs [default: 2%; none for a program
    /// that tracer starts, with --interval 1 and with --live]
    #[arg(long, value_name = "SHARE", value_parser = overhead::parse)]
    max_overhead: Option<MaxOverhead>,
    /// Follow sampled blocks to their release too, to tell what is in use from what was only passed through. Needs a probe in
    /// every release, for as long as the recording takes
    #[arg(long)]
    live: bool,
    /// Sampled blocks that are followed at once, at most; when there are more, samples are thinned and get rarer
    #[arg(long, value_name = "BLOCKS", default_value_t = 1 << 18, requires = "live", value_parser = clap::value_parser!(u32).range(1024..=1 << 22))]
    live_blocks: u32,
    /// A file to write; its ending names the format: .svg (flame graph), .pb.gz (the recording, for `tracer render` and
    /// pprof), .folded or .json. `-` writes folded stacks to stdout. May be given more than once. Default: tracer-PID.svg,
    /// and the recording beside it
    #[arg(short, long, value_name = "FILE", value_parser = crate::cli::destination())]
    output: Vec<Destination>,
    #[command(flatten)]
    show: show::Args,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
    /// Show neither progress nor summary
    #[arg(short, long)]
    quiet: bool,
    /// Say what each stage cost: time and memory
    #[arg(short, long)]
    verbose: bool,
    /// Frames of a stack at most; the summary says when stacks were deeper
    #[arg(long, value_name = "FRAMES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1024))]
    max_depth: u32,
    /// Kernel memory for unwind tables at most; the summary says when it was too little
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = table_bytes)]
    unwind_memory: u64,
    /// Size of the buffer between kernel and tracer, a power of two; a larger one helps when samples are lost
    #[arg(long, value_name = "SIZE", default_value = "4MiB", value_parser = ring_bytes)]
    ring_buffer: u32,
}

/// What `tracer record` samples.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Event {
    /// Allocations
    Alloc,
    /// Page faults, a page each
    PageFaults,
    /// Anonymous memory that mmap maps and mremap adds, without address space that nothing can access
    Mmap,
    /// Growth of the program break
    Brk,
}

impl Event {
    /// The event of the kernel, and its name for files.
    fn of_kernel(self) -> Option<(KernelEvent, &'static str)> {
        match self {
            Self::Alloc => None,
            Self::PageFaults => Some((KernelEvent::PageFaults, "page-faults-")),
            Self::Mmap => Some((KernelEvent::Mmap, "mmap-")),
            Self::Brk => Some((KernelEvent::Brk, "brk-")),
        }
    }
}

impl Args {
    /// Gives the arguments their meaning.
    ///
    /// # Errors
    /// An output that cannot be, too many functions, or wrong rules of regions.
    pub fn resolve(self) -> anyhow::Result<Settings> {
        let Self {
            pid,
            comm,
            command,
            children,
            functions,
            event,
            duration,
            interval,
            output,
            show,
            force,
            quiet,
            verbose,
            ..
        } = self;
        let Self { max_overhead, max_depth, unwind_memory, ring_buffer, live, live_blocks, .. } = self;
        let scope = match comm {
            Some(name) => Scope::Named(name),
            None if pid.is_empty() => Scope::Program(command),
            None => Scope::Processes(pid),
        };
        if matches!(scope, Scope::Program(_)) && output.contains(&Destination::Stdout) {
            bail!("`-o -` would mix with what the program writes to stdout; name a file");
        }
        let event = event.of_kernel();
        let whole = matches!(scope, Scope::Program(_)) || interval == IntervalSetting::Fixed(0) || live;
        let max_overhead = overhead::resolve(max_overhead, whole);
        let outputs = destinations(&format!("{}{}", event.map_or("", |(_, name)| name), scope.label()), output)?;
        let request = Request {
            duration,
            event: event.map(|(event, _)| event),
            children,
            interval,
            max_overhead,
            live: live.then_some(LiveOptions { blocks: live_blocks, sessions: true }),
            max_frames: max_depth,
            ring_bytes: ring_buffer,
            table_bytes: unwind_memory,
        };
        let functions = functions.wanted()?;
        let show = show.resolve()?;
        if let Some(view) = show.view.filter(|view| *view != View::Allocated && !live) {
            bail!("the view {view} is of blocks whose release is followed: add --live, or leave --view out");
        }
        Ok(Settings { scope, functions, request, outputs, show, beside: None, force, quiet, verbose })
    }
}

/// What `-o` asks for. A picture alone is accompanied by the recording it was made from.
pub fn destinations(label: &str, given: Vec<Destination>) -> Result<Vec<Destination>, output::destination::Error> {
    let mut outputs = given;
    if outputs.is_empty() {
        outputs.push(Destination::parse(Path::new(&format!("tracer-{label}.svg")))?);
    }
    if let [Destination::File(path, Format::Svg)] = outputs.as_slice() {
        let beside = path.with_extension("pb.gz");
        outputs.push(Destination::parse(&beside)?);
    }
    Ok(outputs)
}

/// Understands a length of time.
pub fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("a time is a number and a unit, such as 500ms, 30s or 2m".to_owned()),
    }
}

fn interval(text: &str) -> Result<IntervalSetting, String> {
    const RIGHT: &str = "an interval is auto, or a size from 1 to 4GiB such as 64KiB or 512KiB";
    if text == "auto" {
        return Ok(IntervalSetting::Auto);
    }
    match size(text) {
        Some(1) => Ok(IntervalSetting::Fixed(0)),
        Some(bytes @ 2..=0xffff_ffff) => Ok(IntervalSetting::Fixed(bytes)),
        _ => Err(RIGHT.to_owned()),
    }
}

/// Understands the memory for unwind tables.
pub fn table_bytes(text: &str) -> Result<u64, String> {
    match size(text) {
        Some(bytes @ 0x10_0000..=0x1000_0000) => Ok(bytes),
        _ => Err("a size from 1MiB to 256MiB".to_owned()),
    }
}

/// Understands the size of the buffer.
pub fn ring_bytes(text: &str) -> Result<u32, String> {
    match size(text) {
        Some(bytes @ 4096..=0x4000_0000) if bytes.is_power_of_two() => Ok(bytes as u32),
        _ => Err("a power of two from 4KiB to 1GiB".to_owned()),
    }
}

fn size(text: &str) -> Option<u64> {
    text.parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_say_what_would_be_right() {
        assert_eq!(interval("auto"), Ok(IntervalSetting::Auto));
        assert_eq!(interval("512KiB"), Ok(IntervalSetting::Fixed(512 << 10)));
        assert_eq!(interval("1"), Ok(IntervalSetting::Fixed(0)));
        for wrong in ["0", "5GiB", "-1", "often", ""] {
            assert!(interval(wrong).unwrap_err().contains("512KiB"), "{wrong}");
        }
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["0s", "30", "soon"] {
            assert!(duration(wrong).unwrap_err().contains("30s"), "{wrong}");
        }
        assert_eq!(ring_bytes("64KiB"), Ok(65536));
        assert!(ring_bytes("65KiB").is_err());
        assert!(table_bytes("1KiB").is_err());
    }

    #[test]
    fn a_picture_alone_brings_its_recording() {
        let paths = |given: &[&str]| -> Vec<String> {
            let given = given.iter().map(|path| Destination::parse(Path::new(path)).unwrap()).collect();
            let destinations = destinations("7", given).unwrap();
            destinations.iter().filter_map(|d| Some(d.path()?.display().to_string())).collect()
        };
        assert_eq!(paths(&[]), ["tracer-7.svg", "tracer-7.pb.gz"]);
        assert_eq!(paths(&["a/x.svg"]), ["a/x.svg", "a/x.pb.gz"]);
        assert_eq!(paths(&["x.folded"]), ["x.folded"]);
        assert_eq!(paths(&["x.svg", "y.json"]), ["x.svg", "y.json"]);
        assert_eq!(paths(&["-"]), Vec::<String>::new());
    }
}
