//! The samples whose fate is known, where releases were followed.

use std::borrow::Cow;

use crate::recording::{Recording, Sample};

/// A recording as far as it is known what became of blocks. It has samples only, no stacks or names; whatever is estimated of
/// blocks in use is weighed among these.
///
/// Blocks that should have been followed and were not count as lost: the other blocks of their size class speak for them,
/// and where there is none, nothing does ([`super::Calibration::unattributed`]). Samples without a block are left out then,
/// among them those whose call gave none or had not returned: these cannot be told apart. Where everything was followed, they stay:
/// they are calls that the exact counters have counted, and nothing of them is in use.
pub fn followed(recording: &Recording) -> Cow<'_, Recording> {
    let missed = recording.about.live.as_ref().map_or(0, |live| live.not_followed);
    if missed == 0 {
        return Cow::Borrowed(recording);
    }
    let samples: Vec<Sample> = recording.samples.iter().filter(|sample| sample.block.is_some()).cloned().collect();
    let mut about = recording.about.clone();
    // As many were lost of those followed as of all.
    let share = samples.len() as f64 / recording.samples.len().max(1) as f64;
    let lost = (about.losses.samples() as f64 * share).round() as u64;
    about.losses.ring_full = lost.saturating_add(missed);
    (about.losses.scratch_busy, about.losses.undecodable) = (0, 0);
    Cow::Owned(Recording { about, samples, ..Recording::default() })
}
