//! The flame graph: an SVG with a search, a zoom, and the error of every frame in its tooltip.
//!
//! inferno draws it. inferno builds its own tree from folded lines and knows one number for each frame, so tracer
//! prepares the lines such that inferno's tree is tracer's (`layout`), and puts its own tooltips in the
//! places of inferno's while the picture is being written (`tooltips`).

pub(super) mod heading;
mod layout;
mod tooltips;

use std::io::{self, BufWriter, Write};

use inferno::flamegraph::color::{BasicPalette, Color, Palette, PaletteMap};
use inferno::flamegraph::{self, TextTruncateDirection};

use crate::profile::Profile;
use crate::profile::name::{NameKind, printable};
use crate::recording::{Recording, about::Source};
use layout::Layout;
use tooltips::Tooltips;

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
    let layout = Layout::new(profile);
    if layout.width == 0 {
        return write_empty(recording, out);
    }
    let mut palette = PaletteMap::default();
    for name in 0..profile.names.len() as u32 {
        if profile.names.kind(name) != NameKind::Function {
            palette.insert(layout.key(profile, crate::profile::Frame::new(name, false)), GREY);
        }
    }
    let mut drawing = flamegraph::Options::default();
    // As other tools colour them: memory green, time red.
    let palette_of = if profile.source == Source::Cpu { BasicPalette::Hot } else { BasicPalette::Mem };
    drawing.colors = Palette::Basic(palette_of);
    drawing.deterministic = true;
    drawing.palette_map = Some(&mut palette);
    drawing.title = heading::title(recording);
    drawing.subtitle = Some(heading::subtitle(recording, profile));
    drawing.count_name = profile.source.unit().into();
    drawing.text_truncate_direction = TextTruncateDirection::Right;
    drawing.min_width = 0.0;
    drawing.no_javascript = !options.script;
    drawing.pretty_xml = !options.script;
    // The order of lines is tracer's, not that of the bytes in them; inferno takes lines unsorted in one mode only, and
    // from the last to the first.
    drawing.flame_chart = true;
    let lines = layout.lines(profile);
    let tooltips = Tooltips::new(out, profile, &layout);
    let mut out = BufWriter::with_capacity(64 << 10, tooltips);
    flamegraph::from_lines(&mut drawing, lines.iter().rev().map(String::as_str), &mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.finish()
}

/// A picture of nothing: what inferno makes of no lines is an error.
fn write_empty(recording: &Recording, out: &mut dyn Write) -> io::Result<()> {
    let (title, name) = (heading::title(recording), printable(&recording.about.process.name));
    let text = format!("{name} {} while it was recorded.", recording.about.source.nothing());
    writeln!(
        out,
        "<?xml version=\"1.0\" standalone=\"no\"?>\n\
         <svg version=\"1.1\" width=\"1200\" height=\"90\" viewBox=\"0 0 1200 90\" xmlns=\"http://www.w3.org/2000/svg\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#eeffee\"/>\n\
         <text x=\"600\" y=\"30\" text-anchor=\"middle\" font-family=\"monospace\" font-size=\"17\">{}</text>\n\
         <text x=\"600\" y=\"60\" text-anchor=\"middle\" font-family=\"monospace\" font-size=\"12\">{}</text>\n\
         </svg>",
        tooltips::escaped(&title),
        tooltips::escaped(&text)
    )
}

#[cfg(test)]
mod tests;
