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
        let seconds = progress.elapsed.as_secs_f64().max(1e-3);
        // Ticks have no bytes.
        let rate = match progress.bytes {
            0 => String::new(),
            bytes => format!("{}/s  ", ByteSize::b((bytes as f64 / seconds) as u64)),
        };
        let lost = match progress.lost {
            0 => String::new(),
            lost => format!(", {lost} lost"),
        };
        self.0.set_position(progress.elapsed.as_millis() as u64);
        self.0.set_message(format!("  {rate}{} samples{lost}  (Ctrl-C ends and writes)", progress.samples));
    }

    /// Takes the line away.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
