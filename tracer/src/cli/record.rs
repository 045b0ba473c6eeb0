//! `tracer record`: attach to a process, record, write.

use std::{path::Path, time::Duration};

use anyhow::Context as _;

use super::{Outcome, owner, privileges, progress::Bar, stages::Stages};
use crate::{
    output::{self, Destination, Format, Output, text},
    profile::Profile,
    record::{
        assemble::assemble,
        discover::discover,
        interval::IntervalSetting,
        session::{Request, Session},
    },
    recording::{Recording, about::Ended},
    symbolize::NameSources,
    target::{Modules, Process, ProcessError},
};

/// Arguments of `tracer record`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The process to trace, such as $(pidof server)
    #[arg(short, long, value_name = "PID")]
    pid: u32,
    /// Trace the processes that it makes from now on too. Every process that maps the same allocator is slowed down a little
    #[arg(long)]
    children: bool,
    /// For how long, such as 500ms, 30s or 2m; without it until Ctrl-C or the end of the process
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Mean bytes between samples, such as 512KiB: smaller is more detail and more cost. 1 samples every allocation; auto
    /// chooses by the rate of allocation, and follows it
    #[arg(short, long, value_name = "SIZE", default_value = "auto", value_parser = interval)]
    interval: IntervalSetting,
    /// A file to write; its ending names the format: .svg (flame graph), .pb.gz (the recording, for `tracer render` and
    /// pprof), .folded or .json. `-` writes folded stacks to stdout. May be given more than once. Default: tracer-PID.svg,
    /// and the recording beside it
    #[arg(short, long, value_name = "FILE", value_parser = super::destination())]
    output: Vec<Destination>,
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

/// What to record, and where to.
#[derive(Debug)]
pub struct Settings {
    /// The process.
    pub pid: u32,
    /// How.
    pub request: Request,
    /// Where to.
    pub outputs: Vec<Destination>,
    /// Whether existing files may be replaced.
    pub force: bool,
    /// Whether to say nothing.
    pub quiet: bool,
    /// Whether to say what each stage cost.
    pub verbose: bool,
}

impl Args {
    /// Gives the arguments their meaning.
    ///
    /// # Errors
    /// An output whose ending names no format.
    pub fn resolve(self) -> anyhow::Result<Settings> {
        let Self { pid, children, duration, interval, output, force, quiet, verbose, .. } = self;
        let Self { max_depth, unwind_memory, ring_buffer, .. } = self;
        let outputs = destinations(pid, output)?;
        let request = Request {
            duration,
            children,
            interval,
            max_frames: max_depth,
            ring_bytes: ring_buffer,
            table_bytes: unwind_memory,
        };
        Ok(Settings { pid, request, outputs, force, quiet, verbose })
    }
}

/// What `-o` asks for. A picture alone is accompanied by the recording it was made from.
fn destinations(pid: u32, given: Vec<Destination>) -> Result<Vec<Destination>, output::destination::Error> {
    let mut outputs = given;
    if outputs.is_empty() {
        outputs.push(Destination::parse(Path::new(&format!("tracer-{pid}.svg")))?);
    }
    if let [Destination::File(path, Format::Svg)] = outputs.as_slice() {
        let beside = path.with_extension("pb.gz");
        outputs.push(Destination::parse(&beside)?);
    }
    Ok(outputs)
}

/// Records and writes.
///
/// # Errors
/// For people, each with what to do about it. Nothing is recorded then, or everything recorded was written before.
pub fn run(settings: Settings) -> anyhow::Result<Outcome> {
    let Settings { pid, request, outputs, force, quiet, verbose } = settings;
    let stages = Stages::new(verbose);
    // A wrong process id is wrong with sudo too: it is named first.
    let process = Process::open(pid);
    if matches!(process, Ok(_) | Err(ProcessError::Denied(_))) {
        privileges::check(&format!("--pid {pid}"))?;
    }
    let process = process?;
    let owner = owner::from_sudo();
    let outputs: Vec<Output> = outputs.into_iter().map(|output| output.open(force, owner)).collect::<Result<_, _>>()?;
    let recording = record(&process, request, quiet, stages)?;
    let written = write(&recording, outputs, quiet, stages)?;
    for (path, error) in written.iter().filter_map(|w| Some((w.destination.path()?, w.not_owned.as_ref()?))) {
        eprintln!("note: {} stays root's: {error}", path.display());
    }
    Ok(outcome(&recording, request.duration))
}

fn record(process: &Process, request: Request, quiet: bool, stages: Stages) -> anyhow::Result<Recording> {
    let pid = process.pid;
    let mut modules = Modules::new();
    let scan = stages.time("scan", || modules.scan(pid));
    let scan = scan.with_context(|| format!("cannot read the mappings of process {pid}"))?;
    let names = [NameSources::new(process).with_context(|| format!("cannot read process {pid}"))?];
    let found = stages.time("discover", || discover(&modules, &scan))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let raw = runtime.block_on(async {
        // Before the probes are in: a Ctrl-C from here on ends the recording in order.
        let stop = stop_signal()?;
        let session = stages.time("attach", || Session::start(process, modules, found.probed, request));
        let mut session = session.map_err(|error| privileges::explain(error.into()))?;
        if !quiet {
            // Scripts wait for this line: from here on every allocation is counted.
            eprintln!("recording {} ({pid}); Ctrl-C ends and writes", process.name);
        }
        let bar = Bar::new(process, request.duration, quiet);
        let ended = session.run(process, stop, |progress| bar.show(progress)).await;
        bar.finish();
        // What was collected is kept whatever ended the run.
        let raw = stages.time("detach", || session.finish(*ended.as_ref().unwrap_or(&Ended::Interrupted)))?;
        if let Err(error) = ended {
            eprintln!("tracer: the recording ended early: {error}");
        }
        anyhow::Ok(raw)
    })?;
    let recording = stages.time("name", || assemble(raw, process, &names));
    stages.children();
    Ok(recording)
}

fn write(
    recording: &Recording,
    outputs: Vec<Output>,
    quiet: bool,
    stages: Stages,
) -> anyhow::Result<Vec<output::Written>> {
    let profile = stages.time("profile", || Profile::new(recording));
    let mut written = Vec::with_capacity(outputs.len());
    for output in outputs {
        let stage = output.format().ending();
        written.extend(stages.time(stage, || output::render(recording, &profile, vec![output]))?);
    }
    if !quiet {
        let files: Vec<Destination> = written.iter().map(|written| written.destination.clone()).collect();
        text::write(recording, &profile, &files, &mut std::io::stderr().lock())?;
    }
    Ok(written)
}

/// Losses above 1 %, or an end before the time that was asked for, make a result incomplete. The summary names both.
fn outcome(recording: &Recording, duration: Option<Duration>) -> Outcome {
    let about = &recording.about;
    let lost = about.losses.samples();
    let too_many = lost * 100 > recording.samples.len() as u64 + lost;
    let died = about.ended == Ended::TargetExited && duration.is_some();
    if too_many || died { Outcome::Incomplete } else { Outcome::Done }
}

/// Resolves on SIGINT or SIGTERM. Both are caught from the moment this returns.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn duration(text: &str) -> Result<Duration, String> {
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

fn table_bytes(text: &str) -> Result<u64, String> {
    match size(text) {
        Some(bytes @ 0x10_0000..=0x1000_0000) => Ok(bytes),
        _ => Err("a size from 1MiB to 256MiB".to_owned()),
    }
}

fn ring_bytes(text: &str) -> Result<u32, String> {
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
            let destinations = destinations(7, given).unwrap();
            destinations.iter().filter_map(|d| Some(d.path()?.display().to_string())).collect()
        };
        assert_eq!(paths(&[]), ["tracer-7.svg", "tracer-7.pb.gz"]);
        assert_eq!(paths(&["a/x.svg"]), ["a/x.svg", "a/x.pb.gz"]);
        assert_eq!(paths(&["x.folded"]), ["x.folded"]);
        assert_eq!(paths(&["x.svg", "y.json"]), ["x.svg", "y.json"]);
        assert_eq!(paths(&["-"]), Vec::<String>::new());
    }
}
