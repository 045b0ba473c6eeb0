//! The table of regions on a terminal.

use std::io::{self, Write};

use super::quantity::{bytes, count, percent};
use super::shown::Shown;
use crate::profile::Profile;
use crate::recording::{Recording, about::Source};

/// Writes the table, or nothing where there are no regions.
pub fn write(recording: &Recording, profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
    let Some(regions) = &profile.regions else { return Ok(()) };
    // What was in use at a moment has no rate.
    let (seconds, per) = if profile.view.has_rate() { (recording.seconds(), ", per second") } else { (1.0, "") };
    writeln!(out, "\nRegions{per} (estimates with 95 % intervals)")?;
    let width = if profile.calibration.in_windows() { 22 } else { 8 };
    let source = profile.source;
    if source == Source::Cpu {
        line(out, width, ["share", "CPU time", "samples", "", "region"])?;
    } else {
        line(out, width, ["share", "bytes", source.objects(), "mean size", "region"])?;
    }
    for row in &regions.rows {
        let total = &row.total;
        let mean = match total.objects.value {
            0.0 => "-".to_owned(),
            objects => bytes(total.bytes.value / objects.max(1.0)),
        };
        let Shown { share, bytes, objects } = Shown::per(profile, total, seconds);
        if source == Source::Cpu {
            line(out, width, [&share, &bytes, &count(total.samples), "", regions.name(row.region)])?;
            continue;
        }
        line(out, width, [&share, &bytes, &objects, &mean, regions.name(row.region)])?;
    }
    let unattributed = profile.calibration.unattributed_measure();
    if unattributed.bytes.value > 0.0 {
        let kind = if profile.exact().is_some() { "exact" } else { "estimated" };
        let rate = format!("{} ({kind})", source.amount(unattributed.bytes.value / seconds));
        let share = percent(profile.share(&unattributed));
        line(out, width, [&share, &rate, "", "", "[unattributed: no sample of these sizes]"])?;
    }
    Ok(())
}

fn line(out: &mut dyn Write, width: usize, [share, bytes, objects, mean, name]: [&str; 5]) -> io::Result<()> {
    writeln!(out, "{share:>width$}  {bytes:<26}  {objects:<28}  {mean:>10}  {name}")
}
