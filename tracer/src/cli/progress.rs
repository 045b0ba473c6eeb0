//! The line on a terminal while a recording is under way.

use std::time::Duration;

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::record::request::Progress;

/// See the module. Draws on stderr, and nothing where that is not a terminal.
pub struct Bar(ProgressBar);

impl Bar {
    /// Begins. `label`: what is traced. `duration`: `None` = open-ended.
    pub fn new(label: String, duration: Option<Duration>, quiet: bool) -> Self {
        let bar = match duration {
            Some(duration) => ProgressBar::new(duration.as_millis() as u64),
            None => ProgressBar::new_spinner(),
        };
        if quiet {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let template = if duration.is_some() {
            "{prefix} {bar:30} {elapsed}/{len:>0}{msg}"
        } else {
            "{prefix} {spinner} {elapsed}{msg}"
        };
        let template = template.replace("/{len:>0}", &duration.map_or(String::new(), |d| format!(" of {d:?}")));
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.set_prefix(label);
        Self(bar)
    }

    /// Shows how far it is.
    pub fn show(&self, progress: Progress) {
        self.0.set_position(progress.elapsed.as_millis() as u64);
        self.0.set_message(message(&progress));
    }

    /// Takes the line away.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// What stands behind the time.
fn message(&Progress { bytes, counted, samples, lost, .. }: &Progress) -> String {
    // Ticks have no bytes.
    let rate = match bytes {
        0 => String::new(),
        bytes => format!("{}/s  ", ByteSize::b((bytes as f64 / counted.as_secs_f64().max(1e-3)) as u64)),
    };
    let lost = match lost {
        0 => String::new(),
        lost => format!(", {lost} lost"),
    };
    format!("  {rate}{samples} samples{lost}  (Ctrl-C ends and writes)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_time_that_was_counted() {
        let elapsed = Duration::from_secs(20);
        let after = |bytes, milliseconds, samples, lost| {
            let counted = Duration::from_millis(milliseconds);
            message(&Progress { elapsed, bytes, counted, samples, lost })
        };
        for (bytes, milliseconds, samples, lost, said) in [
            (0, 20_000, 0, 0, "  0 samples  (Ctrl-C ends and writes)"),
            (0, 20_000, 7, 1, "  7 samples, 1 lost  (Ctrl-C ends and writes)"),
            (40 << 20, 20_000, 80, 0, "  2.0 MiB/s  80 samples  (Ctrl-C ends and writes)"),
            // In windows.
            (40 << 20, 500, 80, 12, "  80.0 MiB/s  80 samples, 12 lost  (Ctrl-C ends and writes)"),
            (1 << 10, 0, 1, 0, "  1000.0 KiB/s  1 samples  (Ctrl-C ends and writes)"),
        ] {
            assert_eq!(after(bytes, milliseconds, samples, lost), said);
        }
    }
}
