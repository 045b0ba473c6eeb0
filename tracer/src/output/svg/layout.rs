//! Where each frame of the picture lies, and the folded lines that make inferno put it there.

use crate::profile::{Frame, Names, Tree};

/// Share of the picture that a frame must have to be drawn: a tenth of a pixel.
const MIN_SHARE: f64 = 1e-4;
/// Calls that are drawn on top of each other: the walk ends at 1024, inlined calls come on top.
const MAX_DEPTH: u32 = 4096;
/// Bytes of folded lines and tooltips at most. Real pictures have a few megabytes.
const MAX_TEXT: u64 = 256 << 20;
/// Characters of a name in the picture; the tooltip has all of it. 166 fit the width.
const MAX_KEY: usize = 200;
/// Widths are exact in JavaScript's numbers up to here.
const MAX_WIDTH: f64 = (1u64 << 52) as f64;

/// Stands on the root for stacks that are too narrow to be drawn at all: inferno has no place for a stack without
/// frames. No name has this invisible character at its end.
const OTHER: &str = "[other]\u{2063}";

/// The picture's geometry. Widths are bytes, unless these are too many.
pub struct Layout {
    /// Width of the picture.
    pub width: u64,
    /// Nodes that are drawn, in the order in which inferno writes them: as they end, callers before their callees.
    pub drawn: Vec<Drawn>,
    /// Parts of the width, from left to right: the node whose stack ends there, and how wide it is.
    parts: Vec<(u32, u64)>,
}

/// A frame that is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Index of the node; `None` for [`OTHER`].
    pub node: Option<u32>,
    /// Its width.
    pub width: u64,
}

impl Layout {
    /// Lays out a call tree by its nodes' own bytes.
    pub fn new(tree: &Tree, names: &Names) -> Self {
        let nodes = &tree.nodes;
        let total: f64 = nodes.iter().map(|node| node.own_bytes).sum();
        let scale = if total > MAX_WIDTH { MAX_WIDTH / total } else { 1.0 };
        // A node begins where its own bytes do, and ends where the last of its callees does. Rounding positions, not
        // widths, keeps both true of whole numbers.
        let mut bounds = vec![(0u64, 0u64); nodes.len()];
        let mut position = 0.0;
        for (node, bounds) in nodes.iter().zip(&mut bounds) {
            bounds.0 = (position * scale).round() as u64;
            position += node.own_bytes;
            bounds.1 = (position * scale).round() as u64;
        }
        for (i, node) in nodes.iter().enumerate().skip(1).rev() {
            let end = bounds[i].1;
            let parent = &mut bounds[node.parent as usize];
            parent.1 = parent.1.max(end);
        }
        let width = bounds.first().map_or(0, |root| root.1);
        let mut min_width = (width as f64 * MIN_SHARE).max(1.0);
        loop {
            let layout = Self::with_min_width(tree, &bounds, width, min_width);
            if layout.text_size(tree, names) <= MAX_TEXT {
                return layout;
            }
            min_width *= 2.0;
        }
    }

    fn with_min_width(tree: &Tree, bounds: &[(u64, u64)], width: u64, min_width: f64) -> Self {
        let nodes = &tree.nodes;
        // The node itself, or its nearest ancestor that is drawn.
        let mut drawn_at = vec![0u32; nodes.len()];
        let mut drawn: Vec<(u64, u32, Drawn)> = Vec::new();
        let mut parts: Vec<(u32, u64)> = Vec::new();
        let mut position = 0;
        for (i, (node, &(start, end))) in nodes.iter().zip(bounds).enumerate() {
            let parent = drawn_at[node.parent as usize];
            let wide = (end - start) as f64 >= min_width && node.depth <= MAX_DEPTH && parent == node.parent || i == 0;
            drawn_at[i] = if wide { i as u32 } else { parent };
            if wide {
                drawn.push((end, node.depth, Drawn { node: Some(i as u32), width: end - start }));
            }
            // Own bytes lie between here and where the next node begins.
            let next = bounds.get(i + 1).map_or(width, |next| next.0);
            if next > position {
                match parts.last_mut() {
                    Some((last, width)) if *last == drawn_at[i] => *width += next - position,
                    _ => parts.push((drawn_at[i], next - position)),
                }
                position = next;
            }
        }
        let mut end = 0;
        for &(node, width) in &parts {
            end += width;
            if node == 0 {
                drawn.push((end, 1, Drawn { node: None, width }));
            }
        }
        drawn.sort_unstable_by_key(|&(end, depth, _)| (end, depth));
        Self { width, drawn: drawn.into_iter().map(|(_, _, drawn)| drawn).collect(), parts }
    }

    /// The name by which inferno knows a frame, and which it draws. Lines part frames by `;` and end with a number
    /// behind a blank, so names have neither.
    pub fn key(&self, names: &Names, frame: Frame) -> String {
        let name = names.folded(frame);
        let mut key: String = name.chars().take(MAX_KEY).map(|c| if c == ' ' { '\u{a0}' } else { c }).collect();
        if name.chars().nth(MAX_KEY).is_some() {
            key += &format!("…{:x}{}", frame.name(), if frame.inlined() { "_[i]" } else { "" });
        }
        key
    }

    /// The folded lines, from left to right.
    pub fn lines(&self, tree: &Tree, names: &Names) -> Vec<String> {
        let nodes = &tree.nodes;
        let mut path = Vec::new();
        let lines = self.parts.iter().map(|&(node, width)| {
            path.clear();
            let mut node = &nodes[node as usize];
            while let Some(frame) = node.frame {
                path.push(self.key(names, frame));
                node = &nodes[node.parent as usize];
            }
            if path.is_empty() {
                path.push(OTHER.to_owned());
            }
            path.reverse();
            format!("{} {width}", path.join(";"))
        });
        lines.collect()
    }

    /// An upper bound of the size of lines and tooltips.
    fn text_size(&self, tree: &Tree, names: &Names) -> u64 {
        let nodes = &tree.nodes;
        let lines = self.parts.iter().map(|&(node, _)| (u64::from(nodes[node as usize].depth) + 1) * MAX_KEY as u64);
        let frames = self.drawn.iter().filter_map(|drawn| nodes[drawn.node? as usize].frame);
        lines.sum::<u64>() + frames.map(|frame| names.text(frame.name()).len() as u64 + 500).sum::<u64>()
    }
}
