//! The flame graph: an SVG with a search, a zoom, and the error of every frame in its tooltip.
//!
//! inferno draws it. inferno builds its own tree from folded lines and knows one number for each frame, so tracer
//! prepares the lines such that inferno's tree is tracer's (`layout`), and puts its own tooltips and colours in the
//! places of inferno's while the picture is being written (`tooltips`); what else there is to say goes below it (`foot`).

mod colors;
mod difference;
mod foot;
mod frames;
pub mod heading;
mod layout;
mod tooltips;

use std::io::{self, BufWriter, Write};

use inferno::flamegraph::color::{BasicPalette, Color, Palette, PaletteMap};
use inferno::flamegraph::{self, TextTruncateDirection};

use super::shown::Shown;
use crate::profile::name::{NameKind, printable};
use crate::profile::regions::{RegionRow, Regions};
use crate::profile::{Names, Profile, Tree, View};
use crate::recording::{Recording, about::Source};
pub use difference::write_difference;
use foot::{Entry, Foot, Legend};
use layout::{Drawn, Layout};
use tooltips::{Look, Tooltips};

/// Frames that are no functions.
const GREY: Color = Color { r: 190, g: 190, b: 190 };

/// How it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// With the script that searches and zooms.
    pub script: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { script: true }
    }
}

/// Draws the flame graph of a recording. Frames narrower than 0.01 % of the picture are not drawn, their callers are.
pub fn write(recording: &Recording, profile: &Profile, options: Options, out: &mut dyn Write) -> io::Result<()> {
    let layout = Layout::new(&profile.tree, &profile.names);
    if layout.width == 0 {
        return write_empty(recording, profile, out);
    }
    let picture = Picture {
        title: heading::title(recording, profile),
        facts: heading::facts(recording, profile),
        source: profile.source,
        tree: &profile.tree,
        names: &profile.names,
        layout: &layout,
        look: &|drawn| frames::look(profile, &layout, drawn),
        legend: profile
            .regions
            .as_ref()
            .map(|regions| Legend { title: regions_title(profile.source), entries: region_entries(profile, regions) }),
    };
    picture.draw(options, out)
}

fn regions_title(source: Source) -> &'static str {
    match source {
        Source::Cpu => "Regions: CPU time with its 95 % interval, share of all. Frames of several regions are white.",
        _ => "Regions: bytes with their 95 % interval, share of all. Frames of several regions are white.",
    }
}

fn region_entries(profile: &Profile, regions: &Regions) -> Vec<Entry> {
    let entry = |row: &RegionRow| {
        let Shown { share, bytes, .. } = Shown::new(profile, &row.total);
        let text = format!("{}: {bytes}, {share}", regions.name(row.region));
        Entry { color: colors::of_region(row.region, regions), text }
    };
    regions.rows.iter().map(entry).collect()
}

/// A flame graph: what is drawn, and what it says.
struct Picture<'a> {
    title: String,
    /// What it says of itself, most important first.
    facts: Vec<String>,
    source: Source,
    tree: &'a Tree,
    names: &'a Names,
    layout: &'a Layout,
    look: &'a dyn Fn(Drawn) -> Look,
    legend: Option<Legend>,
}

impl Picture<'_> {
    fn draw(self, options: Options, out: &mut dyn Write) -> io::Result<()> {
        let Self { title, facts, source, tree, names, layout, look, legend } = self;
        let mut palette = PaletteMap::default();
        for name in 0..names.len() as u32 {
            if names.kind(name) != NameKind::Function {
                palette.insert(layout.key(names, crate::profile::Frame::new(name, false)), GREY);
            }
        }
        let mut drawing = flamegraph::Options::default();
        // As other tools colour them: memory green, time red.
        let palette_of = if source == Source::Cpu { BasicPalette::Hot } else { BasicPalette::Mem };
        drawing.colors = Palette::Basic(palette_of);
        drawing.deterministic = true;
        drawing.palette_map = Some(&mut palette);
        drawing.title = title;
        let mut facts = heading::lines(facts);
        let below = facts.split_off(facts.len().min(1));
        drawing.subtitle = facts.pop();
        drawing.count_name = source.unit().into();
        drawing.text_truncate_direction = TextTruncateDirection::Right;
        drawing.min_width = 0.0;
        drawing.no_javascript = !options.script;
        drawing.pretty_xml = !options.script;
        // The order of lines is tracer's, not that of the bytes in them; inferno takes lines unsorted in one mode only,
        // and from the last to the first.
        drawing.flame_chart = true;
        let lines = layout.lines(tree, names);
        let mut drawn = |out: &mut dyn Write| {
            let mut out = BufWriter::with_capacity(64 << 10, Tooltips::new(out, layout, look));
            flamegraph::from_lines(&mut drawing, lines.iter().rev().map(String::as_str), &mut out)?;
            out.into_inner().map_err(io::IntoInnerError::into_error)?.finish()
        };
        if legend.is_none() && below.is_empty() {
            return drawn(out);
        }
        let mut foot = Foot::new(out, below, legend);
        drawn(&mut foot)?;
        foot.finish()
    }
}

/// A picture of nothing.
fn write_empty(recording: &Recording, profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
    let name = printable(&recording.about.process.name);
    let text = match profile.view {
        View::Allocated => format!("{name} {} while it was recorded.", profile.source.nothing()),
        view => format!("{name} has no sampled block in the view {view}."),
    };
    write_text(&heading::title(recording, profile), &text, out)
}

/// A title and a line of text: what inferno makes of no lines is an error.
fn write_text(title: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "<?xml version=\"1.0\" standalone=\"no\"?>\n\
         <svg version=\"1.1\" width=\"1200\" height=\"90\" viewBox=\"0 0 1200 90\" xmlns=\"http://www.w3.org/2000/svg\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#eeffee\"/>\n\
         <text x=\"600\" y=\"30\" text-anchor=\"middle\" font-family=\"monospace\" font-size=\"17\">{}</text>\n\
         <text x=\"600\" y=\"60\" text-anchor=\"middle\" font-family=\"monospace\" font-size=\"12\">{}</text>\n\
         </svg>",
        tooltips::escaped(title),
        tooltips::escaped(text)
    )
}

#[cfg(test)]
mod tests;
