//! `tracer diff`: what changed from one recording to another, and whether chance would do as well.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::builder::TypedValueParser as _;

use super::{Outcome, comparable, owner, recorded, regions, wrong_usage};
use crate::{
    output::{
        Destination, Format, Output,
        difference::{Compared, Per},
        quantity,
    },
    profile::{
        Rules,
        difference::{Chance, Change, Difference, Side, Verdict},
    },
};

/// Arguments of `tracer diff`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The recording before the change: a .pb.gz file that tracer wrote
    before: PathBuf,
    /// The recording after it
    after: PathBuf,
    /// A file to write; its ending names the format: .svg (differential flame graph), .json or .folded (stacks with two
    /// numbers). `-` writes folded stacks to stdout. May be given more than once
    #[arg(short, long, value_name = "FILE", value_parser = destination())]
    output: Vec<Destination>,
    /// Write JSON, whose form is stable, to stdout instead of text
    #[arg(long)]
    json: bool,
    /// Units of work that each recording did, such as requests served: amounts are per unit instead of per second
    #[arg(long, value_name = "N", value_parser = units, conflicts_with_all = ["per_before", "per_after"])]
    per: Option<f64>,
    /// Units of work that the first recording did
    #[arg(long, value_name = "N", value_parser = units, requires = "per_after")]
    per_before: Option<f64>,
    /// Units of work that the second recording did
    #[arg(long, value_name = "N", value_parser = units, requires = "per_before")]
    per_after: Option<f64>,
    /// Compare shares of everything instead of amounts: where the load differed. Done anyway where totals are only lower
    /// bounds
    #[arg(long, conflicts_with_all = ["per", "per_before", "per_after"])]
    shares: bool,
    /// Exit with code 4 if the total or a region has grown by more than this, and not by chance
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    fail_on_increase: Option<f64>,
    /// What chance is. `time`: sampling, and what varies within each recording; are the programs different? `sampling`: are
    /// these two runs different?
    #[arg(long, value_name = "WHAT", default_value = "time")]
    chance: ChanceArgument,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    regions: regions::Args,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ChanceArgument {
    Time,
    Sampling,
}

/// What to compare, and where to.
#[derive(Debug)]
pub struct Settings {
    /// Before and after.
    pub recordings: [PathBuf; 2],
    /// Files to write.
    pub outputs: Vec<Destination>,
    /// Whether existing files may be replaced.
    pub force: bool,
    /// Whether stdout gets JSON.
    pub json: bool,
    /// What amounts are divided by.
    pub per: Per,
    /// What an increase must be larger than to be a failure, as a share of 1.
    pub limit: Option<f64>,
    /// What chance is.
    pub chance: Chance,
    /// The parts to show.
    pub rules: Rules,
}

impl Args {
    /// Gives the arguments their meaning.
    ///
    /// # Errors
    /// Wrong rules of regions, or two things for stdout.
    pub fn resolve(self) -> anyhow::Result<Settings> {
        let Self {
            before,
            after,
            output,
            json,
            per,
            per_before,
            per_after,
            shares,
            fail_on_increase,
            chance,
            force,
            regions,
        } = self;
        if json && output.contains(&Destination::Stdout) {
            return Err(wrong_usage("--json and `-o -` both write to stdout; name a file: -o FILE.json"));
        }
        let per = match (per, per_before, per_after) {
            (Some(units), ..) => Per::Unit([units; 2]),
            (None, Some(before), Some(after)) => Per::Unit([before, after]),
            _ if shares => Per::All,
            _ => Per::Second,
        };
        let chance = match chance {
            ChanceArgument::Time => Chance::Time,
            ChanceArgument::Sampling => Chance::Sampling,
        };
        let (recordings, rules) = ([before, after], regions.resolve()?);
        Ok(Settings { recordings, outputs: output, force, json, per, limit: fail_on_increase, chance, rules })
    }
}

/// Compares, writes the files and, to stdout, the summary.
///
/// # Errors
/// Recordings that cannot be read or compared, or an output that cannot be written.
pub fn run(settings: Settings) -> anyhow::Result<Outcome> {
    let Settings { recordings: paths, outputs, force, json, per, limit, chance, rules } = settings;
    let owner = owner::from_sudo();
    let outputs: Vec<Output> = outputs.into_iter().map(|output| output.open(force, owner)).collect::<Result<_, _>>()?;
    let [before, after] = [recorded::read(&paths[0])?, recorded::read(&paths[1])?];
    let names = paths.each_ref().map(|path| path.display().to_string());
    let names = names.each_ref().map(String::as_str);
    let notes = comparable::check([&before, &after], names)?;
    let (per, note) = comparable::by([&before, &after], names, per)?;
    for note in notes.into_iter().chain(note) {
        eprintln!("note: {note}");
    }
    let scales = per.scales([&before, &after]);
    let side = |recording, scale| Side { recording, scale };
    let difference = Difference::new(side(&before, scales[0]), side(&after, scales[1]), &rules, chance);
    let compared = Compared { names, recordings: [&before, &after], difference: &difference, per, chance };

    let mut stdout_is_taken = false;
    for mut output in outputs {
        let format = output.format();
        output.fill(|out| compared.write(format, out))?;
        let written = output.commit()?;
        stdout_is_taken |= written.destination == Destination::Stdout;
        if let Some(path) = written.destination.path() {
            eprintln!("wrote {}", path.display());
            if let Some(error) = written.not_owned {
                eprintln!("note: {} stays root's: {error}", path.display());
            }
        }
    }
    let written = match (json, stdout_is_taken) {
        (true, _) => compared.write_json(&mut io::BufWriter::new(io::stdout().lock())),
        (false, true) => compared.write_text(&mut io::stderr().lock()),
        (false, false) => compared.write_text(&mut io::stdout().lock()).and_then(|()| io::stdout().flush()),
    };
    match written {
        // A reader that has gone has what it wanted.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    Ok(limit.map_or(Outcome::Done, |limit| judge(&compared, limit)))
}

/// Whether anything has grown by more than the limit; says what.
fn judge(compared: &Compared<'_>, limit: f64) -> Outcome {
    let Compared { difference, per, .. } = *compared;
    let regions = difference.regions.iter().map(|row| (format!("region {}", row.name), &row.change));
    let grown = |change: &Change| change.verdict() == Verdict::Increase && change.relative() > limit;
    let mut outcome = Outcome::Done;
    for (what, change) in [("the total".to_owned(), &difference.total)].into_iter().chain(regions) {
        if grown(change) {
            eprintln!(
                "tracer: {what} grew by {}{} ({}), more than {}",
                compared.change(change.difference),
                per.suffix(),
                quantity::relative_change(change.relative()),
                quantity::percent(limit)
            );
            outcome = Outcome::Increased;
        }
    }
    outcome
}

fn destination() -> impl clap::builder::TypedValueParser<Value = Destination> {
    super::destination().try_map(|destination| match destination.format() {
        Format::Pprof => Err("a difference is no recording; name a .svg, .json or .folded file"),
        _ => Ok(destination),
    })
}

fn units(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(units) if units > 0.0 && f64::is_finite(units) => Ok(units),
        _ => Err("a number of units is larger than 0, such as 1000 or 2.5e6".to_owned()),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).trim_end().parse() {
        Ok(percent) if percent >= 0.0 && f64::is_finite(percent) => Ok(percent / 100.0),
        _ => Err("a limit is a number of percent, such as 10%".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_say_what_would_be_right() {
        assert_eq!((units("2.5e6"), percent("10%"), percent("7.5 %")), (Ok(2.5e6), Ok(0.1), Ok(0.075)));
        for wrong in ["0", "-1", "inf", "NaN", "many", ""] {
            assert!(units(wrong).unwrap_err().contains("1000"), "{wrong}");
        }
        for wrong in ["-1%", "inf", "x", "%"] {
            assert!(percent(wrong).unwrap_err().contains("10%"), "{wrong}");
        }
    }
}
