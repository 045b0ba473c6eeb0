//! What became of the blocks.

use std::io::{self, Write};

use super::name;
use crate::estimate::Exact;
use crate::estimate::growth::Verdict;
use crate::estimate::survival::Quantile;
use crate::output::quantity::{
    bytes, bytes_change_between, bytes_within, count, duration, objects_within, percent, time, time_within,
};
use crate::profile::lifetimes::Lifetimes;
use crate::profile::live::Amount;
use crate::profile::suspects::Suspect;
use crate::profile::{LiveHeap, Profile};
use crate::recording::about::Live;

/// Lines of a table.
const ROWS: usize = 10;
/// Characters of a curve.
const CURVE: usize = 50;
/// Levels of a curve.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What was in use, and what of it is not known.
pub fn totals(profile: &Profile, heap: &LiveHeap, about: &Live, out: &mut dyn Write) -> io::Result<()> {
    let amount = |amount: &Amount| {
        let Amount { measure, bytes, objects } = amount;
        let objects = objects_within(measure.objects.value, *objects);
        format!("{} in {objects} objects", bytes_within(measure.bytes.value, *bytes))
    };
    writeln!(out, "in use    {} at the end", amount(&heap.in_use))?;
    writeln!(out, "peak      {} after {}", amount(&heap.peak.amount), duration(heap.peak.time_ns))?;
    let temporary = &heap.temporary;
    let whole = profile.allocated.attributed().bytes.value.max(f64::MIN_POSITIVE);
    let [low, high] = [temporary.amount.bytes.low, temporary.amount.bytes.high].map(|bytes| percent(bytes / whole));
    let within = time(temporary.within_ns);
    writeln!(out, "temporary {}: released by their thread within {within}", amount(&temporary.amount))?;
    writeln!(out, "          {low} to {high} of the bytes allocated")?;
    if temporary.undecided.measure.samples > 0 {
        let undecided = amount(&temporary.undecided);
        writeln!(out, "          {undecided} were younger at the end: perhaps temporary too")?;
    }
    resident(heap, about, out)?;
    let Exact { calls, bytes: amount } = heap.not_followed;
    if amount > 0 {
        let (amount, calls) = (bytes(amount as f64), count(calls));
        writeln!(out, "followed  nothing of {amount} in {calls} calls (exact): they are in no view but `allocated`")?;
    }
    for (number, text) in [
        (about.unreturned, "sampled calls gave no block, or had not returned: they are in no view but `allocated`"),
        (about.not_followed, "sampled blocks could not be followed; the others speak for them"),
        (about.missed_releases, "releases were not seen: they ended when the address was handed out again"),
        (about.interval_raised, "times the interval was raised, since the table of blocks in use was full"),
    ] {
        if number > 0 {
            writeln!(out, "followed  {} {text}", count(number))?;
        }
    }
    Ok(())
}

/// What is resident, and how much of it the blocks in use explain.
fn resident(heap: &LiveHeap, about: &Live, out: &mut dyn Write) -> io::Result<()> {
    let [begin, end] = about.resident_bytes;
    if end == 0 {
        return writeln!(out, "resident  not known; blocks made before the recording are not seen");
    }
    let [low, high] = [heap.in_use.bytes.low, heap.in_use.bytes.high].map(|bytes| percent(bytes / end as f64));
    writeln!(
        out,
        "resident  {} at the end, {} at the begin; blocks in use explain {low} to {high} of it",
        bytes(end as f64),
        bytes(begin as f64),
    )?;
    writeln!(
        out,
        "          not seen: blocks made before, stacks, code and files, and what the allocator keeps or wastes"
    )
}

/// In use over time, lifetimes, and what grows.
pub fn tables(profile: &Profile, heap: &LiveHeap, out: &mut dyn Write) -> io::Result<()> {
    curves(profile, heap, out)?;
    lifetimes(profile, &heap.sites, out)?;
    growth(profile, heap, out)
}

fn curves(profile: &Profile, heap: &LiveHeap, out: &mut dyn Write) -> io::Result<()> {
    let snapshots = &heap.snapshots;
    if heap.sites.is_empty() {
        return Ok(());
    }
    let of_sites = snapshots.sites.iter().take(ROWS).map(|(site, amounts)| (name(profile, *site), amounts));
    let width = snapshots.total.len().min(CURVE);
    writeln!(out, "\nIn use over time: each curve from 0 to its highest, {} apart", time(snapshots.every_ns))?;
    writeln!(out, "{:<width$}  {:>10}  {:>10}  site", "", "highest", "at the end")?;
    for (name, amounts) in std::iter::once(("everything".to_owned(), &snapshots.total)).chain(of_sites) {
        let values: Vec<f64> = amounts.iter().map(|amount| amount.measure.bytes.value).collect();
        let highest = values.iter().copied().fold(0.0, f64::max);
        let last = values.last().copied().unwrap_or_default();
        writeln!(out, "{}  {:>10}  {:>10}  {name}", curve(&values, highest), bytes(highest), bytes(last))?;
    }
    Ok(())
}

/// A curve of at most [`CURVE`] characters: the highest of the values that a character stands for.
fn curve(values: &[f64], highest: f64) -> String {
    let width = values.len().min(CURVE);
    let levels = (0..width).map(|i| {
        let part = &values[i * values.len() / width..(i + 1) * values.len() / width];
        let value = part.iter().copied().fold(0.0, f64::max);
        match (value / highest * LEVELS.len() as f64).ceil() as usize {
            _ if value <= 0.0 => ' ',
            level => LEVELS[level.clamp(1, LEVELS.len()) - 1],
        }
    });
    levels.collect()
}

fn lifetimes(profile: &Profile, sites: &[Lifetimes], out: &mut dyn Write) -> io::Result<()> {
    if sites.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\nHow long blocks live (estimates with 95 % intervals; `µ m s`: shares released below 1 µs, 10 µs, … 100 s)"
    )?;
    let title = ("half are released", "90 % are released", "oldest", "  µ  m  s  ");
    writeln!(out, "{:<26}  {:<26}  {:>8}  {:<11}  site", title.0, title.1, title.2, title.3)?;
    for site in sites.iter().take(ROWS) {
        // Shares released between one age and the next.
        let ages = std::iter::once(1.0).chain(site.survival.iter().map(|survivors| survivors.share));
        let shares: Vec<f64> = ages.clone().zip(ages.skip(1)).map(|(before, after)| before - after).collect();
        let beyond = site.survival.last().map_or(0.0, |survivors| survivors.share);
        let most = shares.iter().copied().fold(beyond, f64::max);
        let oldest = site.oldest_ns.map_or("-".into(), time);
        let drawn = format!("{}|{}", curve(&shares, most), curve(&[beyond], most));
        let (median, p90) = (quantile(site.median), quantile(site.p90));
        writeln!(out, "{median:<26}  {p90:<26}  {oldest:>8}  {drawn:<11}  {}", name(profile, site.name))?;
    }
    if sites.len() > ROWS {
        writeln!(out, "and {} sites more", count((sites.len() - ROWS) as u64))?;
    }
    Ok(())
}

/// An age with its interval, or what is known of it.
fn quantile(quantile: Quantile) -> String {
    match quantile {
        Quantile { value: Some(value), low, high: Some(high) } => time_within(value, low, high),
        Quantile { value: Some(value), low, high: None } => format!("{} [{} or more]", time(value), time(low)),
        Quantile { value: None, low: 0, .. } => "not known".into(),
        Quantile { value: None, low, .. } => format!("not known, {} or more", time(low)),
    }
}

fn growth(profile: &Profile, heap: &LiveHeap, out: &mut dyn Write) -> io::Result<()> {
    let suspects = &heap.suspects;
    if suspects.sites.is_empty() {
        return Ok(());
    }
    let [growing, unknown, steady] = suspects.counts();
    writeln!(out, "\nLeak suspects: {growing} growing, {unknown} not known, {steady} steady")?;
    let shown = |suspect: &&Suspect| match suspect.verdict {
        Verdict::Growing => true,
        Verdict::Unknown(_) => suspect.growth.bytes_per_minute.low > 0.0,
        Verdict::Steady => false,
    };
    let mut shown = suspects.sites.iter().filter(shown).take(ROWS).peekable();
    if shown.peek().is_some() {
        writeln!(out, "{:<8}  {:<28}  {:>8}  site", "", "bytes a minute", "oldest")?;
    }
    for suspect in shown {
        let rate = suspect.growth.bytes_per_minute;
        let rate = bytes_change_between(rate.value, rate.low, rate.high);
        let (verdict, oldest) = (suspect.verdict.name(), suspect.oldest_ns.map_or("-".into(), time));
        writeln!(out, "{verdict:<8}  {rate:<28}  {oldest:>8}  {}", name(profile, suspect.name))?;
        writeln!(out, "          {}", suspect.evidence())?;
    }
    Ok(())
}
