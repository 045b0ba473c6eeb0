//! Estimates of a part of the allocations: those whose blocks are in use, say.
//!
//! In a stratum with the exact total B, whose samples add up to Y and those of the part to D, the part is estimated by the ratio
//! B D/Y, not by D alone. That is the estimate of a domain with post-stratification ([`super::calibration`]); its variance is that of
//! any group of samples. Where blocks of a stratum weigh about the same and a share r of them is in the part, it is lower by
//! 1 - r than that of D: nothing for the few blocks that live on among a million that do not, all of it where every block
//! does. It is never higher than that of D by more than chance, and what was lost of a stratum is made up for. `live_tests` hold both
//! estimates against programs whose truth is known.

use super::calibration::{Calibration, by_stratum};
use super::measure::Measure;
use super::totals::{Bounded, Totals};
use crate::recording::{Recording, Sample};

impl Calibration {
    /// The same weights for some samples of the recording that this was made of: those that `key` gives a number. The number
    /// stands in the place of the stack in [`Self::sum`]. Intervals stay those of parts of the whole recording. Nothing of
    /// it is exact, and nothing unattributed.
    pub fn select(&self, recording: &Recording, key: impl Fn(u32, &Sample) -> Option<u32>) -> Self {
        let mut strata = self.strata.clone();
        strata.unattributed = Default::default();
        let epochs = self.windows.as_ref().map(|windows| &windows.epochs);
        let mut selected = Self {
            bundles: by_stratum(recording, &strata, self.kept, epochs, key),
            strata,
            windows: None,
            unattributed: Measure::default(),
            selected_of: self.exact().map(|_| self.attributed),
            ..*self
        };
        selected.totals = selected.estimated();
        selected.attributed = selected.sum(1, |_, groups| groups.add(0)).pop().unwrap_or_default();
        let all = selected.attributed;
        selected.totals = Totals::Estimated {
            bytes: Bounded { value: all.bytes.value, interval: selected.bytes_interval(&all) },
            objects: Bounded { value: all.objects.value, interval: selected.objects_interval(&all) },
        };
        selected
    }
}
