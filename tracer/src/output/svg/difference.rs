//! The differential flame graph: both recordings in one picture. A frame is as wide as the larger of what it allocated
//! before and after, so that nothing that has gone is missing.

use std::io::{self, Write};

use inferno::flamegraph::color::Color;

use super::foot::{Entry, Legend};
use super::layout::{Drawn, Layout};
use super::tooltips::Look;
use super::{Options, Picture, write_text};
use crate::output::difference::{Compared, Per, rate};
use crate::output::quantity::relative_change;
use crate::profile::difference::{Change, Verdict};
use crate::profile::name::{NameKind, printable};
use crate::recording::about::Source;

/// Frames whose change chance would do as well.
const CHANCE: Color = Color { r: 240, g: 240, b: 236 };
const MORE: Color = Color { r: 240, g: 80, b: 60 };
const LESS: Color = Color { r: 70, g: 120, b: 240 };

/// Draws the flame graph of a difference.
pub fn write_difference(compared: &Compared<'_>, options: Options, out: &mut dyn Write) -> io::Result<()> {
    let difference = compared.difference;
    let layout = Layout::new(&difference.tree, &difference.names);
    let title = title(compared);
    if layout.width == 0 {
        return write_text(&title, "Neither recording has anything to compare.", out);
    }
    let total = &difference.total;
    let facts = vec![described(compared, total), "width: the larger of before and after".into()];
    let entry = |color, text: &str| Entry { color, text: text.to_owned() };
    let legend = vec![
        entry(MORE, "more than before, not by chance; darker: by a larger part"),
        entry(LESS, "less than before, not by chance; darker: by a larger part"),
        entry(CHANCE, "chance would do as well, or too few samples to tell"),
    ];
    let picture = Picture {
        title,
        facts,
        source: compared.source(),
        tree: &difference.tree,
        names: &difference.names,
        layout: &layout,
        look: &|drawn| look(compared, drawn),
        legend: Some(Legend { title: "Colours", entries: legend }),
    };
    picture.draw(options, out)
}

fn title(compared: &Compared<'_>) -> String {
    let [before, after] = compared.recordings.map(|recording| &recording.about.process);
    let named =
        |process: &crate::recording::about::Process| format!("{} (pid {})", printable(&process.name), process.pid);
    let per = match compared.per {
        Per::Second => "per second",
        Per::Unit(_) => "per unit of work",
    };
    let what = match compared.source() {
        Source::Allocations => "allocated bytes",
        Source::Cpu => "CPU time",
        Source::PageFaults => "faulted bytes",
        Source::Mmap => "mapped bytes",
        Source::Brk => "growth of the program break",
    };
    format!("Change of {what} {per}: {} to {}", named(before), named(after))
}

/// `before 9.10 ± 0.20 MiB/s, after …, difference -1.12 ± 0.28 MiB/s, -12.3 %, less`.
fn described(compared: &Compared<'_>, change: &Change) -> String {
    let (per, source) = (compared.per.suffix(), compared.source());
    let verdict = match change.verdict() {
        Verdict::Increase => "more",
        Verdict::Decrease => "less",
        Verdict::Chance => "chance would do as well",
        Verdict::FewSamples => "few samples",
    };
    format!(
        "before {}{per}, after {}{per}, difference {}{per}, {}, {verdict}",
        rate(change.before, source),
        rate(change.after, source),
        source.change(change.difference.value, change.difference.margin),
        relative_change(change.relative())
    )
}

fn look(compared: &Compared<'_>, drawn: Drawn) -> Look {
    let difference = compared.difference;
    let node = drawn.node.and_then(|node| Some((node as usize, difference.tree.nodes.get(node as usize)?)));
    let Some((index, node)) = node else {
        return Look { tooltip: "[other] (stacks too narrow to be drawn)".into(), color: Some(CHANCE) };
    };
    let change = match node.frame {
        None => Some(&difference.total),
        Some(_) => difference.nodes.get(index).and_then(Option::as_ref),
    };
    let name = node.frame.map_or("all", |frame| difference.names.text(frame.name()));
    let inlined = if node.frame.is_some_and(|frame| frame.inlined()) { " [inlined]" } else { "" };
    let said = change.map_or_else(|| "too narrow to be asked about".to_owned(), |change| described(compared, change));
    let function = node.frame.is_none_or(|frame| difference.names.kind(frame.name()) == NameKind::Function);
    Look { tooltip: format!("{name}{inlined} ({said})"), color: function.then(|| change.map_or(CHANCE, color)) }
}

/// Red for more, blue for less; pale for a small part of what was or is.
fn color(change: &Change) -> Color {
    let full = match change.verdict() {
        Verdict::Increase => MORE,
        Verdict::Decrease => LESS,
        Verdict::Chance | Verdict::FewSamples => return CHANCE,
    };
    let larger = change.before.value.max(change.after.value);
    let part = if larger > 0.0 { (change.difference.value / larger).abs().min(1.0) } else { 0.0 };
    // Never so pale that it looks like chance.
    let strength = 0.3 + 0.7 * part;
    let mixed = |full: u8, pale: u8| (f64::from(pale) + (f64::from(full) - f64::from(pale)) * strength) as u8;
    Color { r: mixed(full.r, 255), g: mixed(full.g, 255), b: mixed(full.b, 255) }
}
