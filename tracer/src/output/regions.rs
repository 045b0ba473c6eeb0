//! The table of regions on a terminal.

use std::io::{self, Write};

use super::quantity::{bytes, count, objects_within, percent};
use crate::profile::Profile;
use crate::recording::{Recording, about::Source};

/// Writes the table, or nothing where there are no regions.
pub fn write(recording: &Recording, profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
    let Some(regions) = &profile.regions else { return Ok(()) };
    // What was in use at a moment has no rate.
    let (seconds, per) = if profile.view.has_rate() { (recording.seconds(), ", per second") } else { (1.0, "") };
    writeln!(out, "\nRegions{per} (estimates with 95 % intervals)")?;
    let source = profile.source;
    if source == Source::Cpu {
        line(out, ["share", "CPU time", "samples", "", "region"])?;
    } else {
        line(out, ["share", "bytes", source.objects(), "mean size", "region"])?;
    }
    for row in &regions.rows {
        let total = &row.total;
        let amount = source.amount_within(total.bytes.value / seconds, profile.bytes_interval(total).per(seconds));
        if source == Source::Cpu {
            let name = regions.name(row.region);
            line(out, [&percent(profile.share(total)), &amount, &count(total.samples), "", name])?;
            continue;
        }
        let mean = match total.objects.value {
            0.0 => "-".to_owned(),
            objects => bytes(total.bytes.value / objects.max(1.0)),
        };
        line(
            out,
            [
                &percent(profile.share(total)),
                &amount,
                &objects_within(total.objects.value / seconds, profile.objects_interval(total).per(seconds)),
                &mean,
                regions.name(row.region),
            ],
        )?;
    }
    let unattributed = profile.calibration.unattributed();
    if unattributed.bytes > 0 {
        let share = unattributed.bytes as f64 / profile.total().bytes.value;
        let rate = format!("{} (exact)", source.amount(unattributed.bytes as f64 / seconds));
        line(out, [&percent(share), &rate, "", "", "[unattributed: no sample of these sizes]"])?;
    }
    Ok(())
}

fn line(out: &mut dyn Write, [share, bytes, objects, mean, name]: [&str; 5]) -> io::Result<()> {
    writeln!(out, "{share:>8}  {bytes:<26}  {objects:<28}  {mean:>10}  {name}")
}
