//! Puts tracer's tooltips and colours into the picture as inferno writes it.
//!
//! inferno can be told a tooltip and a colour for each function name, but not for each frame. It writes frames in a fixed order: as
//! they end, from left to right, and callers before callees. That is the order of `Layout::drawn`; and since
//! inferno's own tooltip says how wide the frame is, each is checked before it is replaced. Should inferno ever change
//! its order, there will be no picture rather than a wrong one.

use std::io::{self, Write};

use inferno::flamegraph::color::Color;

use super::layout::{Drawn, Layout};

const OPEN: &[u8] = b"<title>";
const CLOSE: &[u8] = b"</title>";
const FILL: &[u8] = b" fill=\"";
const QUOTE: &[u8] = b"\"";

/// What a frame shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its tooltip. The script takes all before the last bracket for the name; what is in that must not contain another.
    pub tooltip: String,
    /// Its colour; `None` leaves it to inferno.
    pub color: Option<Color>,
}

/// A writer that replaces what stands between `<title>` and `</title>`, and the first colour behind it.
pub struct Tooltips<'a> {
    out: &'a mut dyn Write,
    layout: &'a Layout,
    look: &'a dyn Fn(Drawn) -> Look,
    /// Tooltips replaced.
    replaced: usize,
    /// What could not be written yet: the beginning of a tag, or of what is replaced.
    pending: Vec<u8>,
    inside: Inside,
    color: Option<Color>,
}

/// What the writer is in, and so what ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    Nothing,
    Title,
    /// Behind a title, before the colour.
    Frame,
    Color,
}

impl Inside {
    fn end(self) -> &'static [u8] {
        match self {
            Self::Nothing => OPEN,
            Self::Title => CLOSE,
            Self::Frame => FILL,
            Self::Color => QUOTE,
        }
    }

    /// Whether what lies before the end is replaced.
    fn replaced(self) -> bool {
        matches!(self, Self::Title | Self::Color)
    }
}

impl<'a> Tooltips<'a> {
    /// Writes to `out`, with what `look` says of each frame that is drawn.
    pub fn new(out: &'a mut dyn Write, layout: &'a Layout, look: &'a dyn Fn(Drawn) -> Look) -> Self {
        Self { out, layout, look, replaced: 0, pending: Vec::new(), inside: Inside::Nothing, color: None }
    }

    /// Writes what is left.
    pub fn finish(self) -> io::Result<()> {
        if self.inside != Inside::Nothing || self.replaced != self.layout.drawn.len() {
            return Err(unexpected(&format!("{} frames for {}", self.replaced, self.layout.drawn.len())));
        }
        self.out.write_all(&self.pending)?;
        self.out.flush()
    }

    /// Writes what stands in the place of `original`; what comes next.
    fn replace(&mut self, original: &[u8]) -> io::Result<Inside> {
        match self.inside {
            Inside::Nothing => Ok(Inside::Title),
            Inside::Title => {
                self.tooltip(original)?;
                Ok(if self.color.is_some() { Inside::Frame } else { Inside::Nothing })
            }
            Inside::Frame => Ok(Inside::Color),
            Inside::Color => {
                let Color { r, g, b } = self.color.take().ok_or_else(|| unexpected("a colour for nothing"))?;
                write!(self.out, "rgb({r},{g},{b})")?;
                Ok(Inside::Nothing)
            }
        }
    }

    fn tooltip(&mut self, original: &[u8]) -> io::Result<()> {
        let drawn = self.layout.drawn.get(self.replaced).copied();
        let drawn = drawn.ok_or_else(|| unexpected("more frames than there are nodes"))?;
        if width_of(original) != Some(drawn.width) {
            return Err(unexpected(&String::from_utf8_lossy(original)));
        }
        let look = (self.look)(drawn);
        self.replaced += 1;
        self.color = look.color;
        self.out.write_all(escaped(&look.tooltip).as_bytes())
    }
}

impl Write for Tooltips<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(data);
        let pending = std::mem::take(&mut self.pending);
        let mut rest = &pending[..];
        while let Some(at) = find(rest, self.inside.end()) {
            let (before, after) = rest.split_at(at);
            let end = self.inside.end();
            if !self.inside.replaced() {
                self.out.write_all(before)?;
            }
            let next = self.replace(before)?;
            self.out.write_all(end)?;
            self.inside = next;
            rest = &after[end.len()..];
        }
        if !self.inside.replaced() {
            // All but what may be the beginning of a tag.
            let (certain, maybe) = rest.split_at(rest.len().saturating_sub(self.inside.end().len() - 1));
            self.out.write_all(certain)?;
            rest = maybe;
        }
        self.pending.extend_from_slice(rest);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unexpected(what: &str) -> io::Error {
    io::Error::other(format!("the flame graph was drawn in another order than expected: {what}"))
}

fn find(text: &[u8], tag: &[u8]) -> Option<usize> {
    let first = *tag.first()?;
    let mut from = 0;
    loop {
        from += text.get(from..)?.iter().position(|byte| *byte == first)?;
        if text[from..].starts_with(tag) {
            return Some(from);
        }
        from += 1;
    }
}

/// The width in inferno's tooltip: `name (1,234 bytes, 5.6%)`.
fn width_of(tooltip: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(tooltip).ok()?;
    let (number, _) = text.rsplit_once(" (")?.1.split_once(' ')?;
    number.replace(',', "").parse().ok()
}

/// Text as XML has it.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '\'' => safe.push_str("&apos;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}
