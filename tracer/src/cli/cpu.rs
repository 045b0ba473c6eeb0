//! `tracer cpu`: record where processes spend CPU time. Recording and writing are those of `tracer record`.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use anyhow::bail;
use clap::ArgGroup;

use super::{
    limits::Limits,
    number,
    record::{Settings, duration},
    recorded,
    scope::Scope,
    show,
    writing::{Writing, destinations},
};
use crate::{
    probe::kernel_event::KernelEvent,
    record::{discover::Wanted, interval::IntervalSetting, request::Request},
};

/// Ticks a second. The kernel's clock events come no closer than 10,000 ns (`perf_swevent_start_hrtimer`, kernel/events/core.c);
/// at a hundred times the default the ticks themselves would be in the picture.
const FREQUENCIES: RangeInclusive<u32> = 1..=10_000;

/// Arguments of `tracer cpu`.
#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("target").args(["pid", "comm"]).required(true),
    override_usage = "tracer cpu [OPTIONS] --pid <PID>\n       tracer cpu [OPTIONS] --comm <NAME>"
)]
pub struct Args {
    /// The process to sample, such as $(pidof server). May be given more than once
    #[arg(short, long, value_name = "PID", value_parser = number::process_id)]
    pid: Vec<u32>,
    /// Sample all processes that have this name now
    #[arg(short, long, value_name = "NAME")]
    comm: Option<String>,
    /// Sample the processes that it makes from now on too
    #[arg(long)]
    children: bool,
    /// For how long, such as 500ms, 10s or 2m; without it until Ctrl-C or the end of the process
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Samples for each second of CPU time. Programs often do something a hundred times a second: 99 keeps out of step with them
    #[arg(short = 'F', long, value_name = "HZ", default_value_t = 99, value_parser = number::within(FREQUENCIES))]
    frequency: u32,
    /// A recording of the same program's allocations: the summary shows CPU time and allocation side by side, and how much of
    /// the time goes to the allocator
    #[arg(long, value_name = "RECORDING", conflicts_with = "quiet")]
    with: Option<PathBuf>,
    #[command(flatten)]
    show: show::Args,
    #[command(flatten)]
    writing: Writing,
    #[command(flatten)]
    limits: Limits,
}

impl Args {
    /// Gives the arguments their meaning.
    ///
    /// # Errors
    /// An output that cannot be, a recording that cannot be read, or wrong rules of regions.
    pub fn resolve(self) -> anyhow::Result<Settings> {
        let Self { pid, comm, limits, writing, .. } = self;
        let scope = comm.map_or(Scope::Processes(pid), Scope::Named);
        let Writing { output, force, quiet, verbose } = writing;
        let outputs = destinations(&format!("cpu-{}", scope.label()), output)?;
        let period_ns = 1_000_000_000 / u64::from(self.frequency);
        let request = Request {
            duration: self.duration,
            event: Some(KernelEvent::Cpu { period_ns }),
            interval: IntervalSetting::Fixed(period_ns),
            children: self.children,
            max_samples: limits.max_samples,
            max_frames: limits.max_depth,
            ring_bytes: limits.ring_buffer,
            table_bytes: limits.unwind_memory,
            live: None,
            max_overhead: None,
        };
        let Self { with, show, .. } = self;
        let (functions, show) = (Wanted::default(), show.resolve()?);
        // Now, and not when the time has been recorded.
        let beside = with.as_deref().map(recorded::read).transpose()?;
        if let (Some(path), Some(false)) = (&with, beside.as_ref().map(|beside| beside.about.source.is_allocations())) {
            bail!("{} is no recording of allocations: make one with `tracer record`", path.display());
        }
        Ok(Settings { scope, functions, request, outputs, show, beside, force, quiet, verbose })
    }
}
