//! `tracer record`: attach to processes or start one, record, write.

use std::{ffi::OsString, path::Path, thread, time::Duration};

use anyhow::{Context as _, bail};
use clap::ArgGroup;

use super::{
    Outcome, owner, privileges,
    progress::Bar,
    scope::{self, Scope},
    stages::Stages,
};
use crate::{
    output::{self, Destination, Format, Output, Owner, text},
    probe::kernel_event::KernelEvent,
    profile::Profile,
    record::{
        assemble::assemble, child::Child, error::SessionError, interval::IntervalSetting, request::Request,
        session::Session,
    },
    recording::{Recording, about::Ended},
    target::Process,
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
    /// For how long, such as 500ms, 30s or 2m; without it until Ctrl-C or the end of the process
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// What to sample: allocations, or what makes the process grow: first touches of pages, anonymous memory that is mapped, or
    /// growth of the program break
    #[arg(short, long, value_name = "EVENT", default_value = "alloc", hide_default_value = true)]
    event: Event,
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

/// What `tracer record` samples.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Event {
    /// Allocations
    Alloc,
    /// Page faults: a page each
    PageFaults,
    /// Anonymous memory that `mmap` maps and `mremap` adds; address space without any access is left out
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

/// What to record, and where to.
#[derive(Debug)]
pub struct Settings {
    /// The processes.
    pub scope: Scope,
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
    /// An output that cannot be.
    pub fn resolve(self) -> anyhow::Result<Settings> {
        let Self { pid, comm, command, children, duration, event, interval, output, force, quiet, verbose, .. } = self;
        let Self { max_depth, unwind_memory, ring_buffer, .. } = self;
        let scope = match comm {
            Some(name) => Scope::Named(name),
            None if pid.is_empty() => Scope::Program(command),
            None => Scope::Processes(pid),
        };
        if matches!(scope, Scope::Program(_)) && output.contains(&Destination::Stdout) {
            bail!("`-o -` would mix with what the program writes to stdout; name a file");
        }
        let event = event.of_kernel();
        let outputs = destinations(&format!("{}{}", event.map_or("", |(_, name)| name), scope.label()), output)?;
        let request = Request {
            duration,
            event: event.map(|(event, _)| event),
            children,
            interval,
            max_frames: max_depth,
            ring_bytes: ring_buffer,
            table_bytes: unwind_memory,
        };
        Ok(Settings { scope, request, outputs, force, quiet, verbose })
    }
}

/// What `-o` asks for. A picture alone is accompanied by the recording it was made from.
pub(super) fn destinations(
    label: &str,
    given: Vec<Destination>,
) -> Result<Vec<Destination>, output::destination::Error> {
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

/// Records and writes.
///
/// # Errors
/// For people, each with what to do about it. Nothing is recorded then, or everything recorded was written before.
pub fn run(settings: Settings) -> anyhow::Result<Outcome> {
    let Settings { scope, request, outputs, force, quiet, verbose } = settings;
    let stages = Stages::new(verbose);
    let processes = scope.open()?;
    let owner = owner::from_sudo();
    let outputs: Vec<Output> = outputs.into_iter().map(|output| output.open(force, owner)).collect::<Result<_, _>>()?;
    let run = Run { request, quiet, stages };
    let recording = match &scope {
        Scope::Program(words) => run.start(words, owner)?,
        Scope::Processes(_) | Scope::Named(_) => run.attach(processes)?,
    };
    let written = write(&recording, outputs, quiet, stages)?;
    for (path, error) in written.iter().filter_map(|w| Some((w.destination.path()?, w.not_owned.as_ref()?))) {
        eprintln!("note: {} stays root's: {error}", path.display());
    }
    // A program that tracer started was recorded whole when it has ended.
    let wanted = request.duration.filter(|_| !matches!(scope, Scope::Program(_)));
    Ok(outcome(&recording, wanted))
}

/// How to record.
#[derive(Clone, Copy)]
struct Run {
    request: Request,
    quiet: bool,
    stages: Stages,
}

impl Run {
    /// Records processes that run.
    fn attach(self, processes: Vec<Process>) -> anyhow::Result<Recording> {
        let label = match processes.as_slice() {
            [one] => format!("{} ({})", one.name, one.pid),
            several => format!("{} processes", several.len()),
        };
        let several = processes.len() > 1;
        self.record(&label, !self.quiet, |session| {
            for process in processes {
                let name = format!("process {} ({})", process.pid, process.name);
                let added = self.add(session, process).map_err(|error| privileges::explain(error.into()));
                if several { added.context(name) } else { added }?;
            }
            Ok(session.begin()?)
        })
    }

    fn add(self, session: &mut Session, process: Process) -> Result<(), SessionError> {
        let points = self.stages.time("discover", || session.discover(&process))?;
        self.stages.time("attach", || session.add(process, &points))
    }

    /// Starts a program and records it.
    fn start(self, words: &[OsString], owner: Option<Owner>) -> anyhow::Result<Recording> {
        let program = scope::program(words, owner).context("no program is named behind `--`")?;
        let name = program.name.to_string_lossy().into_owned();
        // Before anything else is opened or changed, so that it inherits nothing of it.
        let child = Child::fork(&program).with_context(|| format!("cannot start {name}"))?;
        if let (Some(user), false) = (&program.user, self.quiet) {
            eprintln!("tracer: {name} runs as user {}, who called sudo", user.user);
        }
        let pid = child.pid;
        // The terminal is the program's: no progress is shown.
        let recording = self.record(&format!("{name} ({pid})"), false, |session| {
            let launched = self.stages.time("attach", || session.launch(child, &name));
            launched.map_err(|error| privileges::explain(error.into()))
        })?;
        if recording.about.ended != Ended::TargetExited && !self.quiet {
            eprintln!("tracer: {name} (pid {pid}) runs on");
        }
        Ok(recording)
    }

    /// Records what `begin` brings into a session.
    fn record(
        self,
        label: &str,
        show_progress: bool,
        begin: impl FnOnce(&mut Session) -> anyhow::Result<()>,
    ) -> anyhow::Result<Recording> {
        let Self { request, quiet, stages } = self;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut raw = runtime.block_on(async {
            // Before the probes are in: a Ctrl-C from here on ends the recording in order.
            let stop = stop_signal()?;
            let session = stages.time("load", || Session::new(request));
            let mut session = session.map_err(|error| privileges::explain(error.into()))?;
            begin(&mut session)?;
            if !quiet {
                // Scripts wait for this line: from here on everything is counted.
                eprintln!("recording {label}; Ctrl-C ends and writes");
            }
            let bar = Bar::new(label.to_owned(), request.duration, !show_progress);
            let ended = session.run(stop, |progress| bar.show(progress)).await;
            bar.finish();
            // What was collected is kept whatever ended the run.
            let raw = stages.time("detach", || session.finish(*ended.as_ref().unwrap_or(&Ended::Interrupted)))?;
            if let Err(error) = ended {
                eprintln!("tracer: the recording ended early: {error}");
            }
            anyhow::Ok(raw)
        })?;
        let programs = raw.programs.take();
        let recording = stages.time("name", || assemble(raw));
        stages.children();
        // Its end is not waited for; the kernel does what is left when tracer ends. Not before names are known: the readers of
        // symbols are forks, which would hold on to everything and then wait in its place.
        thread::spawn(move || drop(programs));
        Ok(recording)
    }
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

pub(super) fn duration(text: &str) -> Result<Duration, String> {
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

pub(super) fn table_bytes(text: &str) -> Result<u64, String> {
    match size(text) {
        Some(bytes @ 0x10_0000..=0x1000_0000) => Ok(bytes),
        _ => Err("a size from 1MiB to 256MiB".to_owned()),
    }
}

pub(super) fn ring_bytes(text: &str) -> Result<u32, String> {
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
