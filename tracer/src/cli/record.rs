//! `tracer record`: attach to processes or start one, record, write.

mod arguments;

use std::{ffi::OsString, thread, time::Duration};

use anyhow::Context as _;

pub use self::arguments::Args;
pub(super) use self::arguments::{duration, size};
use super::{
    Outcome, failure, owner,
    progress::Bar,
    refusal,
    scope::{self, Scope},
    stages::Stages,
};
use crate::{
    output::{self, Destination, Format, Output, Owner, Written, text},
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
/// For people, each with what to do about it. Files that were written are named.
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
        let join = Join::new(side(&recording, &profile), side(allocations, &of_allocations));
        let join = join.inspect_err(|_| name_files(&written))?;
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
                let added = self.add(session, process).map_err(|error| self.explain(error));
                if several { added.context(name) } else { added }?;
            }
            session.begin().map_err(|error| self.explain(error))
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
            launched.map_err(|error| self.explain(error))
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
            let session = session.map_err(|error| self.explain(error))?;
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
            let (ended, reason) = end(ended);
            let mut raw = stages.time("detach", || session.finish(ended))?;
            raw.notes.extend(reason);
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

    /// Looks for the cause. With --verbose all that the kernel said goes before it.
    fn explain(self, error: SessionError) -> anyhow::Error {
        self.stages.say(|| error.to_string());
        refusal::explain(error, self.request.event)
    }
}

/// Why a run ended; of one that failed, for people too.
fn end(ended: Result<Ended, SessionError>) -> (Ended, Option<String>) {
    match ended {
        Ok(ended) => (ended, None),
        Err(error) => (Ended::Failed, Some(format!("it ended early: {}", failure::describe(&error.into())))),
    }
}

/// Writes all outputs, the recording first: whatever becomes of the others, they can be made of it.
fn write(
    recording: &Recording,
    profile: &Profile,
    mut outputs: Vec<Output>,
    quiet: bool,
    stages: Stages,
) -> anyhow::Result<Vec<Written>> {
    outputs.sort_by_key(|output| output.format() != Format::Pprof);
    let mut written: Vec<Written> = Vec::with_capacity(outputs.len());
    for output in outputs {
        let stage = output.format().ending();
        match stages.time(stage, || output::render(recording, profile, vec![output])) {
            Ok(one) => written.extend(one),
            Err(error) => {
                name_files(&written);
                return Err(error.into());
            }
        }
    }
    if !quiet {
        let files: Vec<Destination> = written.iter().map(|written| written.destination.clone()).collect();
        stages.time("summary", || text::write(recording, profile, &files, &mut std::io::stderr().lock()))?;
    }
    Ok(written)
}

/// Says what was written before something failed.
fn name_files(written: &[Written]) {
    for path in written.iter().filter_map(|written| written.destination.path()) {
        eprintln!("wrote {}", path.display());
    }
}

/// Losses above 1 % of the samples taken, or an end before the time that was asked for, make a result incomplete. The summary
/// names both.
fn outcome(recording: &Recording, duration: Option<Duration>) -> Outcome {
    let about = &recording.about;
    let too_many = about.losses.samples() > recording.taken() / 100;
    let early = match about.ended {
        Ended::Duration | Ended::Interrupted => false,
        Ended::TargetExited => duration.is_some(),
        Ended::Budget | Ended::ProbesGone | Ended::MainThreadEnded | Ended::Failed => true,
    };
    if too_many || early { Outcome::Incomplete } else { Outcome::Done }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Sample, about::Losses};

    #[test]
    fn what_is_incomplete_is_said_by_the_exit_code() {
        const LENGTH: Option<Duration> = Some(Duration::from_secs(60));
        let recording = |samples, thinned, lost, ended| {
            let mut recording = Recording { samples: vec![Sample::default(); samples], ..Recording::default() };
            recording.about.losses = Losses { ring_full: lost, ..Losses::default() };
            (recording.about.thinned, recording.about.ended) = (thinned, ended);
            recording
        };
        for (samples, thinned, lost, ended, duration, expected) in [
            (100, 0, 0, Ended::Duration, LENGTH, Outcome::Done),
            (0, 0, 0, Ended::Interrupted, None, Outcome::Done),
            // Someone who stops it wanted no more.
            (100, 0, 0, Ended::Interrupted, LENGTH, Outcome::Done),
            (100, 0, 0, Ended::TargetExited, None, Outcome::Done),
            (100, 0, 0, Ended::TargetExited, LENGTH, Outcome::Incomplete),
            (100, 0, 0, Ended::Budget, LENGTH, Outcome::Incomplete),
            (100, 0, 0, Ended::ProbesGone, None, Outcome::Incomplete),
            (100, 0, 0, Ended::MainThreadEnded, None, Outcome::Incomplete),
            (100, 0, 0, Ended::Failed, None, Outcome::Incomplete),
            // Of 100 samples that were taken, one is not more than 1 %, and two are.
            (99, 0, 1, Ended::Duration, LENGTH, Outcome::Done),
            (98, 0, 2, Ended::Duration, LENGTH, Outcome::Incomplete),
            (0, 0, 1, Ended::Duration, LENGTH, Outcome::Incomplete),
            // Those that were thinned out were taken too.
            (50, 48, 2, Ended::Duration, LENGTH, Outcome::Incomplete),
            (50, 148, 2, Ended::Duration, LENGTH, Outcome::Done),
            (1, 0, u64::MAX, Ended::Duration, LENGTH, Outcome::Incomplete),
        ] {
            let outcome = outcome(&recording(samples, thinned, lost, ended), duration);
            assert_eq!(outcome, expected, "{samples} {thinned} {lost} {ended:?} {duration:?}");
        }
    }

    #[test]
    fn a_run_that_failed_says_why() {
        assert_eq!(end(Ok(Ended::Duration)), (Ended::Duration, None));
        let error = std::io::Error::from_raw_os_error(libc::EMFILE);
        let reason = "it ended early: waiting for events: Too many open files (os error 24)";
        assert_eq!(end(Err(error.into())), (Ended::Failed, Some(reason.to_owned())));
    }
}
