//! What the guide says of its outputs, tested on them: where one of these is not so, the guide must not be published.

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::tracer::Tracer;

/// Stacks that must lead to the thread's start.
const COMPLETE: f64 = 0.99;

type Claim = (&'static str, fn(&Tracer) -> anyhow::Result<String>);

const CLAIMS: &[Claim] = &[
    ("the regions add up to the total", regions_add_up),
    ("every frame has a name", names),
    ("CPU stacks lead to the thread's start", complete),
    ("the ranking of what is in use is another than that of what is allocated", ranking_turns),
    ("the same server twice has not changed", same),
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
    let unwinding = &tracer.json("cpu.pb.gz", "")?["about"]["unwinding"];
    let complete = number(&unwinding["complete"])? + number(&unwinding["assisted"])?;
    let truncated: f64 =
        list(&unwinding["truncated"])?.iter().map(|row| number(&row["samples"])).sum::<anyhow::Result<f64>>()?;
    let share = complete / (complete + truncated);
    ensure!(share >= COMPLETE, "only {complete} of {} do", complete + truncated);
    Ok(format!("{complete} of {}", complete + truncated))
}

fn ranking_turns(tracer: &Tracer) -> anyhow::Result<String> {
    let ranking = |view: &str| -> anyhow::Result<Vec<String>> {
        let profile = tracer.json("live.pb.gz", &format!(" --view {view}"))?;
        let names = list(&profile["regions"])?.iter().map(|row| row["region"].as_str().map(str::to_owned));
        names.take(3).collect::<Option<_>>().context("a region has a name")
    };
    let (in_use, allocated) = (ranking("in-use")?, ranking("allocated")?);
    let found = format!("in use {}; allocated {}", in_use.join(", "), allocated.join(", "));
    ensure!(in_use.first() != allocated.first(), "{found}");
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

fn timer(tracer: &Tracer) -> anyhow::Result<String> {
    let difference = tracer.difference("alloc.pb.gz", "timer.pb.gz")?;
    let rows = list(&difference["functions"])?;
    let is_runner = |row: &&Value| row["name"].as_str().is_some_and(|name| name.ends_with("::tick_runner"));
    let row = rows.iter().find(is_runner).context("tick_runner is not in the table")?;
    let (verdict, p) = (&row["verdict"], &row["p_corrected"]);
    ensure!(verdict == "decrease", "the verdict is {verdict}, p {p}");
    Ok(format!("{:.0} bytes/s, corrected p {p}", number(&row["difference"]["value"])?))
}

fn list(value: &Value) -> anyhow::Result<&Vec<Value>> {
    value.as_array().context("a table is missing in the JSON")
}

fn number(value: &Value) -> anyhow::Result<f64> {
    value.as_f64().with_context(|| format!("{value} is no number"))
}
