//! Puts tracer's tooltips into the picture as inferno writes it.
//!
//! inferno can be told a tooltip for each function name, but not for each frame. It writes frames in a fixed order: as
//! they end, from left to right, and callers before callees. That is the order of `Layout::drawn`; and since
//! inferno's own tooltip says how wide the frame is, each is checked before it is replaced. Should inferno ever change
//! its order, there will be no picture rather than a wrong one.

use std::io::{self, Write};

use super::layout::Layout;
use crate::output::quantity::{count, objects_within, percent};
use crate::profile::name::NameKind;
use crate::profile::{Node, Profile};
use crate::recording::about::Source;

const OPEN: &[u8] = b"<title>";
const CLOSE: &[u8] = b"</title>";

/// A writer that replaces what stands between `<title>` and `</title>`.
pub struct Tooltips<'a> {
    out: &'a mut dyn Write,
    profile: &'a Profile,
    layout: &'a Layout,
    /// Tooltips replaced.
    replaced: usize,
    /// What could not be written yet: the beginning of a tag, or of a tooltip.
    pending: Vec<u8>,
    inside: bool,
}

impl<'a> Tooltips<'a> {
    /// Writes to `out`.
    pub fn new(out: &'a mut dyn Write, profile: &'a Profile, layout: &'a Layout) -> Self {
        Self { out, profile, layout, replaced: 0, pending: Vec::new(), inside: false }
    }

    /// Writes what is left.
    pub fn finish(self) -> io::Result<()> {
        if self.inside || self.replaced != self.layout.drawn.len() {
            return Err(unexpected(&format!("{} frames for {}", self.replaced, self.layout.drawn.len())));
        }
        self.out.write_all(&self.pending)?;
        self.out.flush()
    }

    fn replace(&mut self, original: &[u8]) -> io::Result<()> {
        let drawn = self.layout.drawn.get(self.replaced).copied();
        let drawn = drawn.ok_or_else(|| unexpected("more frames than there are nodes"))?;
        if width_of(original) != Some(drawn.width) {
            return Err(unexpected(&String::from_utf8_lossy(original)));
        }
        let text = match drawn.node.and_then(|node| self.profile.tree.nodes.get(node as usize)) {
            Some(node) => tooltip(self.profile, node),
            None => {
                let share = drawn.width as f64 / self.layout.width as f64;
                let bytes = self.profile.source.amount(share * self.profile.total().bytes.value);
                format!("[other] ({bytes}, {}, stacks too narrow to be drawn)", percent(share))
            }
        };
        self.replaced += 1;
        self.out.write_all(escaped(&text).as_bytes())
    }
}

impl Write for Tooltips<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(data);
        let pending = std::mem::take(&mut self.pending);
        let mut rest = &pending[..];
        loop {
            let tag = if self.inside { CLOSE } else { OPEN };
            let Some(at) = find(rest, tag) else { break };
            let (before, after) = rest.split_at(at);
            if self.inside {
                self.replace(before)?;
            } else {
                self.out.write_all(before)?;
            }
            self.out.write_all(tag)?;
            self.inside = !self.inside;
            rest = &after[tag.len()..];
        }
        if !self.inside {
            // All but what may be the beginning of a tag.
            let (certain, maybe) = rest.split_at(rest.len().saturating_sub(OPEN.len() - 1));
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
    let mut from = 0;
    loop {
        from += text.get(from..)?.iter().position(|byte| *byte == b'<')?;
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

/// `name (12.3 ± 0.8 MiB, 10.2 %, 384 samples, 5,012 ± 301 objects)`. The script takes all before the last bracket for
/// the name; what is in it must not contain another.
fn tooltip(profile: &Profile, node: &Node) -> String {
    let total = &node.total;
    let share = percent(profile.share(total));
    let kind = node.frame.map(|frame| profile.names.kind(frame.name()));
    let source = profile.source;
    let (exact_bytes, exact_objects) = (source.amount(total.bytes.value), count(total.objects.value.round() as u64));
    let samples = match total.samples {
        1 => "1 sample".into(),
        n => format!("{} samples", count(n)),
    };
    match (node.frame, kind) {
        (None, _) if profile.exact().is_some() => {
            format!("all ({exact_bytes} exact, 100 %, {samples}, {exact_objects} {} exact)", source.objects())
        }
        (Some(frame), Some(NameKind::Unattributed)) => {
            let name = profile.names.text(frame.name());
            format!("{name} ({exact_bytes} exact, {share}, no samples, {exact_objects} {} exact)", source.objects())
        }
        (frame, _) => {
            let name = frame.map_or("all", |frame| profile.names.text(frame.name()));
            let inlined = if frame.is_some_and(|frame| frame.inlined()) { " [inlined]" } else { "" };
            let bytes = source.amount_within(total.bytes.value, profile.bytes_interval(total));
            if source == Source::Cpu {
                // A sample is a tick.
                return format!("{name}{inlined} ({bytes}, {share}, {samples})");
            }
            let objects = objects_within(total.objects.value, profile.objects_interval(total));
            format!("{name}{inlined} ({bytes}, {share}, {samples}, {objects} {})", source.objects())
        }
    }
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
