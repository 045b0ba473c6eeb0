//! Lines of text and a legend below the flame graph. inferno has no place for them, so the picture is made higher while it
//! is written.

use std::io::{self, Write};

use inferno::flamegraph::color::Color;

use super::tooltips::escaped;

/// Height of a line.
const LINE: usize = 18;
/// Lines of a legend take this many entries.
const COLUMNS: usize = 2;
/// What ends the part of the document that says how high it is.
const HEAD: &[u8] = b"<!--";
const TAIL: &[u8] = b"</svg>";

/// An entry: colour and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its colour.
    pub color: Color,
    /// Its text.
    pub text: String,
}

/// What colours mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Legend {
    /// What they are colours of.
    pub title: &'static str,
    /// Each of them.
    pub entries: Vec<Entry>,
}

/// A writer that adds a foot to the picture that is written to it.
pub struct Foot<'a> {
    out: &'a mut dyn Write,
    lines: Vec<String>,
    legend: Option<Legend>,
    /// Height of the picture above the foot, once it is known.
    height: Option<usize>,
    pending: Vec<u8>,
}

impl<'a> Foot<'a> {
    /// Writes to `out`.
    pub fn new(out: &'a mut dyn Write, lines: Vec<String>, legend: Option<Legend>) -> Self {
        Self { out, lines, legend, height: None, pending: Vec::new() }
    }

    /// Lines of text in it.
    fn rows(&self) -> usize {
        self.lines.len() + self.legend.as_ref().map_or(0, |legend| 1 + legend.entries.len().div_ceil(COLUMNS))
    }

    /// Writes it and what is left.
    pub fn finish(self) -> io::Result<()> {
        let text = self.pending.trim_ascii_end();
        let (Some(height), Some(before)) = (self.height, text.strip_suffix(TAIL)) else {
            return Err(unexpected("it ends in something else"));
        };
        self.out.write_all(before)?;
        let title = self.legend.iter().map(|legend| legend.title);
        for (i, line) in self.lines.iter().map(String::as_str).chain(title).enumerate() {
            writeln!(self.out, "<text x=\"0.83%\" y=\"{}\">{}</text>", height + (1 + i) * LINE, escaped(line))?;
        }
        let entries = self.legend.iter().flat_map(|legend| &legend.entries);
        for (i, Entry { color: Color { r, g, b }, text }) in entries.enumerate() {
            let (column, y) = (i % COLUMNS, height + (2 + self.lines.len() + i / COLUMNS) * LINE);
            let place = |at: usize| format!("{:.2}%", (100 * column) as f64 / COLUMNS as f64 + at as f64 / 1.2);
            writeln!(
                self.out,
                "<rect x=\"{}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"rgb({r},{g},{b})\"/>\
                 <text x=\"{}\" y=\"{y}\">{}</text>",
                place(1),
                y - 10,
                place(3),
                escaped(text)
            )?;
        }
        self.out.write_all(TAIL)?;
        self.out.flush()
    }

    /// Makes the picture higher in its first tag; its height before.
    fn heighten(&mut self, head: &[u8]) -> io::Result<usize> {
        let head = std::str::from_utf8(head).map_err(io::Error::other)?;
        let (before, rest) = head.split_once(" height=\"").ok_or_else(|| unexpected("it has no height"))?;
        let (height, rest) = rest.split_once('"').ok_or_else(|| unexpected("it has no height"))?;
        let higher = |height: usize| height + LINE * (1 + self.rows());
        let old: usize = height.parse().map_err(io::Error::other)?;
        let (between, rest) =
            rest.split_once(&format!(" {height}\"")).ok_or_else(|| unexpected("it has no view box"))?;
        write!(self.out, "{before} height=\"{0}\"{between} {0}\"{rest}", higher(old))?;
        Ok(old)
    }
}

impl Write for Foot<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(data);
        if self.height.is_none() {
            let Some(at) = self.pending.windows(HEAD.len()).position(|window| window == HEAD) else {
                return Ok(data.len());
            };
            let rest = self.pending.split_off(at);
            let head = std::mem::replace(&mut self.pending, rest);
            self.height = Some(self.heighten(&head)?);
        }
        // All but what may be the end.
        let certain = self.pending.len().saturating_sub(2 * TAIL.len());
        self.out.write_all(&self.pending[..certain])?;
        self.pending.drain(..certain);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unexpected(what: &str) -> io::Error {
    io::Error::other(format!("the flame graph was drawn in another way than expected: {what}"))
}
