//! What the guide says of its outputs, tested on them: where one of these is not so, the guide must not be published.

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::tracer::Tracer;
use crate::demo::completeness::Completeness;

/// Stacks that must lead to the thread's start.
const COMPLETE: f64 = 0.99;

type Claim = (&'static str, fn(&Tracer) -> anyhow::Result<String>);

const CLAIMS: &[Claim] = &[
    ("the regions add up to the total", regions_add_up),
    ("the ticker allocates most, then the game", ticker_leads),
    ("every frame has a name", names),
    ("CPU stacks lead to the thread's start", complete),
    ("runtime and bullets take most of the CPU time", runtime_and_bullets_lead),
    ("the ranking of what is in use is another than that of what is allocated", ranking_turns),
    ("the same server twice has not changed", same),
    ("with the array the sets' site has gone", array),
    ("with the global timer tick_runner allocates less, and not by chance", timer),
];

/// Tests all claims, and says what each rests on.
///
/// # Errors
/// Names those that are not so.
pub fn check(tracer: &Tracer) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    for (claim, check) in CLAIMS {
        match check(tracer) {
            Ok(found) => eprintln!("ok     {claim}: {found}"),
            Err(error) => {
                eprintln!("WRONG  {claim}: {error:#}");
                wrong.push(*claim);
            }
        }
    }
    if !wrong.is_empty() {
        bail!(
            "what the guide says is not so: {}; docs/ is as it was, everything is in {}",
            wrong.join("; "),
            tracer.folder().display()
        );
    }
    Ok(())
}

fn regions_add_up(tracer: &Tracer) -> anyhow::Result<String> {
    let profile = tracer.json("alloc.pb.gz", "")?;
    let rows = list(&profile["regions"])?;
    let sum: f64 = rows.iter().map(|row| number(&row["bytes"]["value"])).sum::<anyhow::Result<f64>>()?;
    let (total, unattributed) =
        (number(&profile["total"]["bytes"]["value"])?, number(&profile["unattributed"]["bytes"])?);
    // Each is a whole number.
    ensure!((sum + unattributed - total).abs() <= rows.len() as f64, "{sum} and {unattributed} bytes are not {total}");
    Ok(format!("{} regions, {total} bytes", rows.len()))
}

fn ticker_leads(tracer: &Tracer) -> anyhow::Result<String> {
    let regions = ranking(&tracer.json("alloc.pb.gz", "")?)?;
    ensure!(regions.starts_with(&["ticker".to_owned(), "game".to_owned()]), "{}", regions.join(", "));
    Ok(regions.join(", "))
}

fn runtime_and_bullets_lead(tracer: &Tracer) -> anyhow::Result<String> {
    let regions = ranking(&tracer.json("cpu.pb.gz", "")?)?;
    let leads = |name: &str| regions.iter().take(2).any(|region| region == name);
    ensure!(leads("runtime") && leads("bullets"), "{}", regions.join(", "));
    Ok(regions.join(", "))
}

/// Regions, the largest first.
fn ranking(profile: &Value) -> anyhow::Result<Vec<String>> {
    let names = list(&profile["regions"])?.iter().map(|row| row["region"].as_str().map(str::to_owned));
    names.collect::<Option<_>>().context("a region has a name")
}

fn names(tracer: &Tracer) -> anyhow::Result<String> {
    let mut all = 0;
    for recording in ["alloc.pb.gz", "cpu.pb.gz", "live.pb.gz"] {
        let profile = tracer.json(recording, "")?;
        for name in list(&profile["names"])? {
            let name = name.as_str().context("a name is text")?;
            ensure!(!name.is_empty() && !name.contains("[unknown]"), "{recording} has a frame {name:?}");
            all += 1;
        }
    }
    Ok(format!("{all} names"))
}

fn complete(tracer: &Tracer) -> anyhow::Result<String> {
    let complete = Completeness::of(&tracer.json("cpu.pb.gz", "")?)?;
    ensure!(complete.share() >= COMPLETE, "only {complete} do");
    Ok(complete.to_string())
}

/// What of the memory in use is of a tick, at most.
const OF_A_TICK: f64 = 0.1;

fn ranking_turns(tracer: &Tracer) -> anyhow::Result<String> {
    let in_use = tracer.json("live.pb.gz", " --view in-use")?;
    let allocated = ranking(&tracer.json("live.pb.gz", " --view allocated")?)?;
    let mut of_a_tick = 0.0;
    for row in list(&in_use["regions"])?.iter().filter(|row| row["region"] == "ticker" || row["region"] == "statistics")
    {
        of_a_tick += number(&row["share"])?;
    }
    let in_use = ranking(&in_use)?;
    let found = format!(
        "in use {}; allocated {}; ticker and statistics are {:.1} % of what is in use",
        in_use.join(", "),
        allocated.join(", "),
        100.0 * of_a_tick
    );
    ensure!(in_use.first() != allocated.first() && of_a_tick <= OF_A_TICK, "{found}");
    Ok(found)
}

fn same(tracer: &Tracer) -> anyhow::Result<String> {
    let difference = tracer.difference("alloc.pb.gz", "again.pb.gz")?;
    let mut rows = vec![("the total", &difference["total"])];
    for table in ["regions", "sites", "functions"] {
        rows.extend(list(&difference[table])?.iter().map(|row| (row["name"].as_str().unwrap_or_default(), row)));
    }
    let told = |row: &&(&str, &Value)| row.1["verdict"] == "increase" || row.1["verdict"] == "decrease";
    let changed: Vec<&str> = rows.iter().filter(told).map(|(name, _)| *name).collect();
    ensure!(changed.is_empty(), "{} (in one run of twenty, chance does that)", changed.join(", "));
    Ok(format!("{} lines, nothing", rows.len()))
}

fn array(tracer: &Tracer) -> anyhow::Result<String> {
    let difference = tracer.difference("alloc.pb.gz", "array.pb.gz")?;
    let row = row_of(&difference["sites"], "::insert_full")?;
    let samples = &row["samples"];
    ensure!(samples[1] == 0, "it has {} samples", samples[1]);
    Ok(format!("{} samples before, none after", samples[0]))
}

fn timer(tracer: &Tracer) -> anyhow::Result<String> {
    let difference = tracer.difference("alloc.pb.gz", "timer.pb.gz")?;
    for (table, function, expected) in [
        ("functions", "::tick_runner", "decrease"),
        ("sites", "::timeout_at", "decrease"),
        ("sites", "::DataWriter::flush", "decrease"),
        ("sites", "::GlobalTimer::at", "increase"),
    ] {
        let verdict = &row_of(&difference[table], function)?["verdict"];
        ensure!(verdict == expected, "the verdict of {function} is {verdict}");
    }
    let row = row_of(&difference["functions"], "::tick_runner")?;
    Ok(format!("{:.0} bytes/s, corrected p {}", number(&row["difference"]["value"])?, row["p_corrected"]))
}

/// The row of a function, by the end of its name.
fn row_of<'a>(table: &'a Value, function: &str) -> anyhow::Result<&'a Value> {
    let is_it = |row: &&Value| row["name"].as_str().is_some_and(|name| name.ends_with(function));
    list(table)?.iter().find(is_it).with_context(|| format!("{function} is not in the table"))
}

fn list(value: &Value) -> anyhow::Result<&Vec<Value>> {
    value.as_array().context("a table is missing in the JSON")
}

fn number(value: &Value) -> anyhow::Result<f64> {
    value.as_f64().with_context(|| format!("{value} is no number"))
}
