//! `cargo xtask lesson`: everything that docs/lesson.md shows, made anew: the reference game server under load, what it
//! allocates, where its time goes, what stays in use, and what two optimisations change. At the end the guide's claims are
//! tested on the outputs; only then are these put into the guide.

mod claims;
mod document;
mod ticks;
mod tracer;

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, ensure};

use self::{
    document::{Blocks, fenced, table},
    ticks::{Mark, Ticks},
    tracer::{Output, REGIONS, Tracer},
};
use crate::{
    demo::loaded_server::{Load, LoadedServer},
    host, workspace,
};

const DOCUMENT: &str = "docs/lesson.md";
/// Where pictures go.
const PICTURES: &str = "docs/lesson";
/// How long CPU time is sampled.
const CPU: Duration = Duration::from_secs(10);
/// After this time under load the server no longer shows that all games began at once.
const SETTLED: Duration = Duration::from_secs(2);

/// For recordings that are compared: no call is missed, and all have samples as far apart.
const EVERY_CALL: &str = "--max-overhead none --interval 4KiB";

/// Makes the guide docs/lesson.md anew, in about seven minutes. As root, and on a machine that has nothing else to do.
#[derive(clap::Args)]
pub struct Options {
    /// How long to record. Games last 27.4 s: over a whole one, so that all recordings have the same.
    #[arg(long, default_value = "28s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Games at a time, two connections each.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    games: u32,
    /// Leave docs/ as it is: everything stays in target/lesson.
    #[arg(long)]
    keep_docs: bool,
}

/// A way to run the server.
struct Configuration {
    /// In the tables of the guide.
    name: &'static str,
    /// Options of the server.
    options: &'static [&'static str],
}

const BEFORE: Configuration = Configuration { name: "as it is", options: &[] };
const AGAIN: Configuration = Configuration { name: "as it is, another run", options: &[] };
const ARRAY: Configuration = Configuration { name: "`--bullets array`", options: &["--bullets", "array"] };
const TIMER: Configuration = Configuration { name: "`--timer global`", options: &["--timer", "global"] };

/// Runs it.
///
/// # Errors
/// When something does not build or run, or when the outputs do not show what the guide says.
pub fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(workspace::is_root(), "tracer loads BPF programs: run `sudo cargo xtask lesson`");
    let load = Load::together(options.games);
    let machine = format!(
        "{} The server has {} connections; recordings are {} long.",
        host::describe(),
        load.connections(),
        humantime::format_duration(options.duration)
    );
    let folder = workspace::target_dir()?.join("lesson");
    let mut lesson = Lesson { tracer: Tracer::build(&folder)?, options, blocks: Blocks::new(), ticks: Vec::new() };
    lesson.blocks.insert("machine", machine);
    lesson.before()?;
    lesson.again()?;
    lesson.array()?;
    lesson.timer()?;
    let changes = lesson.compare()?;
    lesson.conclude(&changes);
    claims::check(&lesson.tracer)?;
    lesson.publish()
}

struct Lesson<'a> {
    tracer: Tracer,
    options: &'a Options,
    blocks: Blocks,
    /// Configuration, what was done, and the ticks meanwhile.
    ticks: Vec<(&'static str, &'static str, Ticks)>,
}

impl Lesson<'_> {
    /// What the server allocates as it is, where its time goes, and what stays in use.
    fn before(&mut self) -> anyhow::Result<()> {
        let mut watched = self.start(&BEFORE)?;
        self.watch(&mut watched)?;
        let alloc = self.record(&mut watched, EVERY_CALL, "-o alloc.svg")?;
        let cpu = self.cpu(&mut watched, "--with alloc.pb.gz", "-o cpu.svg")?;
        let live = self.record(&mut watched, "--live", "-o in-use.svg -o live.pb.gz")?;
        let budget = self.record(&mut watched, "", "-o budget.pb.gz")?;
        watched.server.stop()?;

        let report = self.tracer.run(&format!("report alloc.pb.gz {REGIONS}"))?;
        let allocated = self.tracer.run(&format!("render live.pb.gz --view allocated {REGIONS} -o allocated.svg"))?;
        self.show("alloc", &alloc.all());
        self.show("report", &report.paragraphs(&["Bytes per second", "Sizes"]));
        self.show("cpu", &cpu.paragraphs(&["Regions", "CPU time beside"]));
        self.show("live", &live.paragraphs(&["Regions", "Sites", "How long", "Leak"]));
        self.show("allocated", &allocated.all());
        self.show("budget", &budget.paragraphs(&["Regions"]));
        Ok(())
    }

    /// The same server once more.
    fn again(&mut self) -> anyhow::Result<()> {
        let mut watched = self.start(&AGAIN)?;
        self.watch(&mut watched)?;
        self.record(&mut watched, EVERY_CALL, "-o again.pb.gz")?;
        self.cpu(&mut watched, "", "-o cpu-again.pb.gz")?;
        watched.server.stop()?;
        Ok(())
    }

    /// The bullets of a game in one array.
    fn array(&mut self) -> anyhow::Result<()> {
        let mut watched = self.start(&ARRAY)?;
        self.watch(&mut watched)?;
        self.record(&mut watched, EVERY_CALL, "-o array.pb.gz")?;
        self.cpu(&mut watched, "", "-o cpu-array.pb.gz")?;
        watched.server.stop()?;
        Ok(())
    }

    /// One timer for all games.
    fn timer(&mut self) -> anyhow::Result<()> {
        let mut watched = self.start(&TIMER)?;
        self.watch(&mut watched)?;
        self.record(&mut watched, EVERY_CALL, "-o timer.pb.gz")?;
        self.cpu(&mut watched, "", "-o cpu-timer.pb.gz")?;
        // So that what comes next lies in the same part of a game as it did before.
        self.pass(&mut watched, "", |lesson, _| {
            thread::sleep(lesson.options.duration);
            Ok(())
        })?;
        self.record(&mut watched, "", "-o budget-timer.pb.gz")?;
        watched.server.stop()?;
        Ok(())
    }

    /// Compares; returns the rows of the conclusion: what was compared, and the total before, after, and what lies between.
    fn compare(&mut self) -> anyhow::Result<Vec<Vec<String>>> {
        let mut changes = Vec::new();
        let mut compare = |what: &str, before: &str, after: &str, more: &str| -> anyhow::Result<Output> {
            let output = self.tracer.run(&format!("diff {before}.pb.gz {after}.pb.gz {REGIONS}{more}"))?;
            let mut row = output.row("all")?;
            row.pop();
            row.insert(0, what.to_owned());
            changes.push(row);
            Ok(output)
        };
        let again = compare("allocated: another run", "alloc", "again", "")?;
        let array = compare("allocated: `--bullets array`", "alloc", "array", "")?;
        let timer = compare("allocated: `--timer global`", "alloc", "timer", " -o timer.svg")?;
        compare("CPU time: another run", "cpu", "cpu-again", "")?;
        compare("CPU time: `--bullets array`", "cpu", "cpu-array", "")?;
        let timer_cpu = compare("CPU time: `--timer global`", "cpu", "cpu-timer", "")?;
        let budget = self.tracer.try_run(&format!("diff budget.pb.gz budget-timer.pb.gz {REGIONS}"))?;
        let sites = ["Total", "Allocation sites", "CPU time by site"];
        self.show("again", &again.paragraphs(&sites));
        self.show("array", &array.paragraphs(&sites));
        self.show("timer", &timer.all());
        self.show("timer-cpu", &timer_cpu.paragraphs(&sites));
        self.show("budget-timer", &budget.paragraphs(&sites));
        Ok(changes)
    }

    /// The tables at the end.
    fn conclude(&mut self, changes: &[Vec<String>]) {
        let head = ["", "before, per second", "after, per second", "difference", "change", "verdict"];
        self.blocks.insert("changes", table(&head, changes));
        let mut done: Vec<&str> = Vec::new();
        for (_, what, _) in &self.ticks {
            if !done.contains(what) {
                done.push(what);
            }
        }
        let rows = [BEFORE, AGAIN, ARRAY, TIMER].map(|configuration| {
            let of = |what: &str| {
                let found =
                    self.ticks.iter().find(|(name, meanwhile, _)| (*name, *meanwhile) == (configuration.name, what));
                found.map_or_else(String::new, |(.., ticks)| ticks.to_string())
            };
            [configuration.name.to_owned()].into_iter().chain(done.iter().map(|what| of(what))).collect()
        });
        let head = ["server"].into_iter().chain(done.iter().copied()).collect::<Vec<_>>();
        self.blocks.insert("ticks", table(&head, &rows));
    }

    /// Puts outputs and pictures into the documents.
    fn publish(&self) -> anyhow::Result<()> {
        let root = workspace::root()?;
        let path = root.join(DOCUMENT);
        let document = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let document = document::filled(&document, &self.blocks)?;
        if self.options.keep_docs {
            let path = self.tracer.folder().join("lesson.md");
            fs::write(&path, document).with_context(|| format!("cannot write {}", path.display()))?;
            eprintln!("docs/ is as it was; everything is in {}", self.tracer.folder().display());
            return Ok(());
        }
        let folder = root.join(PICTURES);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for picture in ["alloc.svg", "cpu.svg", "in-use.svg", "allocated.svg", "timer.svg"] {
            fs::copy(self.tracer.folder().join(picture), folder.join(picture))
                .with_context(|| format!("cannot copy {picture}"))?;
        }
        fs::write(&path, document).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("wrote {} and {}", path.display(), folder.display());
        Ok(())
    }

    fn show(&mut self, block: &'static str, text: &str) {
        self.blocks.insert(block, fenced("console", text));
    }

    fn start(&self, configuration: &'static Configuration) -> anyhow::Result<Watched> {
        let load = Load::together(self.options.games);
        let server = LoadedServer::start_with(load, configuration.options, self.tracer.folder())?;
        eprintln!("== {}: {} connections", configuration.name, load.connections());
        thread::sleep(SETTLED);
        Ok(Watched { server, configuration })
    }

    /// Leaves the server alone for a game.
    fn watch(&mut self, watched: &mut Watched) -> anyhow::Result<()> {
        self.pass(watched, "alone", |lesson, _| {
            thread::sleep(lesson.options.duration);
            Ok(())
        })
    }

    fn record(&mut self, watched: &mut Watched, how: &str, to: &str) -> anyhow::Result<Output> {
        let (meanwhile, how) = match how {
            "" => ("traced within 2 %", String::new()),
            "--live" => ("traced with `--live`", format!("{how} ")),
            _ => ("every call traced", format!("{how} ")),
        };
        let seconds = self.options.duration.as_secs_f64();
        self.pass(watched, meanwhile, |lesson, watched| {
            lesson.tracer.run(&format!("--pid {} --duration {seconds}s {how}{REGIONS} {to}", watched.server.pid()))
        })
    }

    fn cpu(&mut self, watched: &mut Watched, with: &str, to: &str) -> anyhow::Result<Output> {
        let with = if with.is_empty() { String::new() } else { format!("{with} ") };
        let seconds = CPU.min(self.options.duration).as_secs_f64();
        self.pass(watched, "CPU time sampled", |lesson, watched| {
            lesson.tracer.run(&format!("cpu --pid {} --duration {seconds}s {with}{REGIONS} {to}", watched.server.pid()))
        })
    }

    /// Does something, and writes down the ticks meanwhile; not those of nothing.
    fn pass<T>(
        &mut self,
        watched: &mut Watched,
        meanwhile: &'static str,
        act: impl FnOnce(&Self, &Watched) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mark = Mark::set(watched.server.log())?;
        let done = act(self, watched)?;
        if !meanwhile.is_empty() {
            self.ticks.push((watched.configuration.name, meanwhile, mark.ticks()?));
        }
        Ok(done)
    }
}

/// A server of a configuration.
struct Watched {
    server: LoadedServer,
    configuration: &'static Configuration,
}
