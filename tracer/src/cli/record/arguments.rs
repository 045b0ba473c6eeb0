//! What `tracer record` can be asked, and what it means.

use std::{ffi::OsString, time::Duration};

use clap::ArgGroup;

use super::Settings;
use crate::{
    cli::{
        functions::Functions,
        limits::Limits,
        number,
        overhead::{self, MaxOverhead},
        scope::Scope,
        show,
        writing::{Writing, destinations},
        wrong_usage,
    },
    output::Destination,
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
    #[arg(short, long, value_name = "PID", value_parser = number::process_id)]
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
    /// Sampled blocks in use that are followed at once, at most; when there are more, they are thinned out and the interval is
    /// raised. Released ones do not count: --max-samples bounds them
    #[arg(long, value_name = "BLOCKS", default_value_t = 1 << 18, requires = "live", value_parser = number::within(1024..=1 << 22))]
    live_blocks: u32,
    #[command(flatten)]
    show: show::Args,
    #[command(flatten)]
    writing: Writing,
    #[command(flatten)]
    limits: Limits,
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
        let Self { pid, comm, command, children, functions, event, duration, interval, show, .. } = self;
        let Self {
            writing: Writing { output, force, quiet, verbose }, max_overhead, limits, live, live_blocks, ..
        } = self;
        let scope = match comm {
            Some(name) => Scope::Named(name),
            None if pid.is_empty() => Scope::Program(command),
            None => Scope::Processes(pid),
        };
        if matches!(scope, Scope::Program(_)) && output.contains(&Destination::Stdout) {
            return Err(wrong_usage("`-o -` would mix with what the program writes to stdout; name a file"));
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
            max_samples: limits.max_samples,
            max_frames: limits.max_depth,
            ring_bytes: limits.ring_buffer,
            table_bytes: limits.unwind_memory,
        };
        let functions = functions.wanted()?;
        let show = show.resolve()?;
        if let Some(view) = show.view.filter(|view| *view != View::Allocated && !live) {
            return Err(wrong_usage(format_args!(
                "the view {view} is of blocks whose release is followed: add --live, or leave --view out"
            )));
        }
        Ok(Settings { scope, functions, request, outputs, show, beside: None, force, quiet, verbose })
    }
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

/// Bytes, as people write them.
pub fn size(text: &str) -> Option<u64> {
    text.parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_and_times_say_what_would_be_right() {
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
    }
}
