//! `tracer record`: attach to processes or start one, record, write.

mod arguments;

use std::{ffi::OsString, thread, time::Duration};

use anyhow::Context as _;

pub use self::arguments::Args;
pub(super) use self::arguments::{duration, size};
use super::{
    Outcome, owner, privileges,
    progress::Bar,
    scope::{self, Scope},
    stages::Stages,
};
use crate::{
    output::{self, Destination, Output, Owner, text},
    profile::{
        Options, Profile,
        join::{Join, Side},
    },
    record::{
        assemble::assemble, child::Child, discover::Wanted, error::SessionError, request::Request, session::Session,
    },
    recording::{Recording, about::Ended},
    target::Process,
};

/// What to record, and where to.
#[derive(Debug)]
pub struct Settings {
    /// The processes.
    pub scope: Scope,
    /// What is counted.
    pub functions: Wanted,
    /// How.
    pub request: Request,
    /// Where to.
    pub outputs: Vec<Destination>,
    /// What to show in them.
    pub show: Options,
    /// Allocations to show CPU time beside.
    pub beside: Option<Recording>,
    /// Whether existing files may be replaced.
    pub force: bool,
    /// Whether to say nothing.
    pub quiet: bool,
    /// Whether to say what each stage cost.
    pub verbose: bool,
}

/// Records and writes.
///
/// # Errors
/// For people, each with what to do about it. Nothing is recorded then, or everything recorded was written before.
pub fn run(settings: Settings) -> anyhow::Result<Outcome> {
    let Settings { scope, functions, request, outputs, show, beside, force, quiet, verbose } = settings;
    let stages = Stages::new(verbose);
    let processes = scope.open()?;
    let owner = owner::from_sudo();
    let outputs: Vec<Output> = outputs.into_iter().map(|output| output.open(force, owner)).collect::<Result<_, _>>()?;
    let run = Run { functions: &functions, request, quiet, stages };
    let recording = match &scope {
        Scope::Program(words) => run.start(words, owner)?,
        Scope::Processes(_) | Scope::Named(_) => run.attach(processes)?,
    };
    let profile = stages.time("profile", || Profile::with_options(&recording, &show));
    let written = write(&recording, &profile, outputs, quiet, stages)?;
    if let Some(allocations) = &beside {
        let of_allocations = Profile::with_options(allocations, &show);
        let side = |recording, profile| Side { recording, profile };
        let join = Join::new(side(&recording, &profile), side(allocations, &of_allocations))?;
        output::join::text(&join, &mut std::io::stderr().lock())?;
    }
    for (path, error) in written.iter().filter_map(|w| Some((w.destination.path()?, w.not_owned.as_ref()?))) {
        eprintln!("note: {} stays root's: {error}", path.display());
    }
    // A program that tracer started was recorded whole when it has ended.
    let wanted = request.duration.filter(|_| !matches!(scope, Scope::Program(_)));
    Ok(outcome(&recording, wanted))
}

/// How to record.
#[derive(Clone, Copy)]
struct Run<'a> {
    functions: &'a Wanted,
    request: Request,
    quiet: bool,
    stages: Stages,
}

impl Run<'_> {
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
        let Self { functions, request, quiet, stages } = self;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut raw = runtime.block_on(async {
            // Before the probes are in: a Ctrl-C from here on ends the recording in order.
            let stop = stop_signal()?;
            let session = stages.time("load", || Session::new(request));
            let session = session.map_err(|error| privileges::explain(error.into()))?;
            let mut session = session.counting(functions.clone());
            if !quiet && session.traps_all_returns() {
                eprintln!(
                    "warning: this kernel has no uprobe session links (Linux 6.13 has them): --live traps the return of every \
                     allocation too, and costs half as much again"
                );
            }
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
    profile: &Profile,
    outputs: Vec<Output>,
    quiet: bool,
    stages: Stages,
) -> anyhow::Result<Vec<output::Written>> {
    let mut written = Vec::with_capacity(outputs.len());
    for output in outputs {
        let stage = output.format().ending();
        written.extend(stages.time(stage, || output::render(recording, profile, vec![output]))?);
    }
    if !quiet {
        let files: Vec<Destination> = written.iter().map(|written| written.destination.clone()).collect();
        text::write(recording, profile, &files, &mut std::io::stderr().lock())?;
    }
    Ok(written)
}

/// Losses above 1 %, or an end before the time that was asked for, make a result incomplete. The summary names both.
fn outcome(recording: &Recording, duration: Option<Duration>) -> Outcome {
    let about = &recording.about;
    let lost = about.losses.samples();
    let too_many = lost * 100 > recording.samples.len() as u64 + lost;
    let died = about.ended == Ended::TargetExited && duration.is_some();
    if too_many || died || matches!(about.ended, Ended::Budget | Ended::ProbesGone | Ended::MainThreadEnded) {
        Outcome::Incomplete
    } else {
        Outcome::Done
    }
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
