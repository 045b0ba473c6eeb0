//! What tracer says, beside what is true.

use std::{fmt, fs, path::Path};

use anyhow::Context as _;
use serde_json::Value;

/// See the module.
#[derive(Debug)]
pub struct Outcome {
    /// tracer's JSON.
    recorded: Value,
    /// Sites, with the bytes and blocks that they hold.
    truth: Vec<(String, f64, f64)>,
}

impl Outcome {
    /// Reads the files that tracer and the program have written.
    ///
    /// # Errors
    /// When they are not there or something else.
    pub fn read(recorded: &Path, truth: &Path) -> anyhow::Result<Self> {
        let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        let recorded = serde_json::from_str(&read(recorded)?).context("tracer wrote something else than JSON")?;
        let line = |line: &str| -> Option<(String, f64, f64)> {
            let mut words = line.split(' ');
            Some((words.next()?.to_owned(), words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        };
        let text = read(truth)?;
        let truth = text.lines().map(line).collect::<Option<_>>();
        Ok(Self { recorded, truth: truth.with_context(|| format!("the program says {text:?}"))? })
    }

    fn number(&self, pointer: &str) -> f64 {
        self.recorded.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "recorded  {:.0} s, {:.3e} calls, {:.1} GiB",
            self.number("/about/duration_ns") / 1e9,
            self.number("/exact/calls"),
            self.number("/exact/bytes") / GIB
        )?;
        let [least, most] = ["/interval_min", "/interval_max"].map(|pointer| self.number(pointer) / KIB);
        let raised = self.number("/about/live/interval_raised");
        writeln!(
            f,
            "samples   {}, 1 per {least} to {most} KiB; {raised} times the interval was raised",
            self.number("/samples")
        )?;
        let losses = self.recorded.pointer("/about/losses").and_then(Value::as_object);
        let lost = losses.into_iter().flatten().filter(|(_, count)| count.as_u64() != Some(0));
        let mut lost: Vec<String> = lost.map(|(name, count)| format!("{count} {name}")).collect();
        for name in ["not_followed", "missed_releases"] {
            let count = self.number(&format!("/about/live/{name}"));
            if count != 0.0 {
                lost.push(format!("{count} {name}"));
            }
        }
        writeln!(f, "lost      {}", if lost.is_empty() { "nothing".to_owned() } else { lost.join(", ") })?;
        let sum = |of: fn(&(String, f64, f64)) -> f64| self.truth.iter().map(of).sum::<f64>();
        let total = ("in use".to_owned(), sum(|site| site.1), sum(|site| site.2));
        let no_sites = Vec::new();
        let sites = self.recorded.get("sites").and_then(Value::as_array).unwrap_or(&no_sites);
        write_beside(f, &total, self.recorded.pointer("/live/in_use"))?;
        for site in &self.truth {
            let named = |row: &&Value| row.get("function").and_then(Value::as_str) == Some(&site.0);
            write_beside(f, site, sites.iter().find(named))?;
        }
        Ok(())
    }
}

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * KIB;
const GIB: f64 = 1024.0 * MIB;

/// An estimate beside the truth.
fn write_beside(f: &mut fmt::Formatter<'_>, truth: &(String, f64, f64), said: Option<&Value>) -> fmt::Result {
    let (name, bytes, blocks) = truth;
    write!(f, "{name:<9}")?;
    for (what, truth, unit, digits) in [("bytes", *bytes, MIB, 2), ("objects", *blocks, 1.0, 0)] {
        let [value, low, high] = ["value", "low", "high"].map(|end| {
            // An upper end that is not known is null.
            let number = |end: &Value| end.as_f64().unwrap_or(f64::INFINITY);
            said.and_then(|said| said.pointer(&format!("/{what}/{end}"))).map_or(0.0, number)
        });
        let unit_name = if what == "bytes" { "MiB" } else { "blocks" };
        let verdict = if (low..=high).contains(&truth) { "" } else { " (outside)" };
        write!(
            f,
            " {:.digits$} [{:.digits$} to {:.digits$}] {unit_name}, in truth {:.digits$}{verdict};",
            value / unit,
            low / unit,
            high / unit,
            truth / unit
        )?;
    }
    writeln!(f)
}
