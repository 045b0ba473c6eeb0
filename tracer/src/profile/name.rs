//! Names of frames, made safe to show, in alphabetical order.
//!
//! A name comes from a file that the traced process controls. It may hold anything: terminal escapes, text that runs
//! right to left, megabytes.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::recording::{FunctionIndex, Recording, StackEnd};

/// Index into [`Names`].
pub type NameIndex = u32;

/// Characters of a name that are shown at most.
const MAX_LENGTH: usize = 2048;

/// The mark of inlined calls in folded stacks: the one that stackcollapse-perf.pl gives them.
const INLINED: &str = "_[i]";

/// The frame that holds what no sample speaks for.
pub const UNATTRIBUTED: &str = "[unattributed: counted, but none of these sizes was sampled]";

/// What a name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// A function.
    Function,
    /// The end of a stack that does not reach the thread's start.
    Truncated,
    /// See [`UNATTRIBUTED`].
    Unattributed,
    /// A process or a thread that the recording is split by.
    Part,
}

/// A name, and whether the call was inlined. Frames compare as their names do in the alphabet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frame(u32);

impl Frame {
    /// A frame.
    pub fn new(name: NameIndex, inlined: bool) -> Self {
        Self(name << 1 | u32::from(inlined))
    }

    /// Its name.
    pub fn name(self) -> NameIndex {
        self.0 >> 1
    }

    /// Whether its code is part of its caller's.
    pub fn inlined(self) -> bool {
        self.0 & 1 != 0
    }
}

/// All names of a recording, in alphabetical order. Functions of the same name are one.
#[derive(Clone, Debug, Default)]
pub struct Names {
    names: Vec<(String, NameKind)>,
    of_function: Vec<NameIndex>,
    of_truncation: HashMap<String, NameIndex>,
    of_part: Vec<NameIndex>,
    unattributed: NameIndex,
}

impl Names {
    /// Collects the names of functions, the reasons of truncated stacks, and the names of `parts` that are told apart.
    pub fn new(recording: &Recording, parts: &[String]) -> Self {
        let functions = recording.functions.iter().map(|function| printable(&function.name));
        let mut reasons: Vec<&str> = recording
            .stacks
            .iter()
            .filter_map(|stack| match &stack.end {
                StackEnd::Complete => None,
                StackEnd::Truncated(reason) => Some(reason.as_str()),
            })
            .collect();
        reasons.sort_unstable();
        reasons.dedup();
        let truncations = reasons.iter().map(|reason| Cow::from(format!("[truncated: {}]", printable(reason))));

        let mut all: Vec<(Cow<'_, str>, NameKind)> = functions.map(|name| (name, NameKind::Function)).collect();
        all.extend(truncations.map(|name| (name, NameKind::Truncated)));
        all.extend(parts.iter().map(|part| (format!("[{}]", printable(part)).into(), NameKind::Part)));
        all.push((UNATTRIBUTED.into(), NameKind::Unattributed));
        // Folded formats cannot tell `;` from `:`, so that names that differ in nothing else are one name everywhere.
        let folded: Vec<String> = all.iter().map(|(name, _)| name.replace(';', ":")).collect();
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_by(|&a, &b| folded[a].cmp(&folded[b]).then(a.cmp(&b)));

        let mut names: Vec<(String, NameKind)> = Vec::new();
        let mut index_of = vec![0; all.len()];
        let mut last: Option<usize> = None;
        for i in order {
            if last.is_none_or(|last| folded[last] != folded[i]) {
                names.push((all[i].0.to_string(), all[i].1));
            }
            index_of[i] = names.len() as NameIndex - 1;
            last = Some(i);
        }
        let truncated = recording.functions.len()..recording.functions.len() + reasons.len();
        let of_part = index_of[truncated.end..truncated.end + parts.len()].to_vec();
        Self {
            names,
            of_part,
            of_truncation: reasons.iter().map(ToString::to_string).zip(index_of[truncated].iter().copied()).collect(),
            unattributed: index_of.last().copied().unwrap_or_default(),
            of_function: index_of,
        }
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The name as it is shown.
    pub fn text(&self, name: NameIndex) -> &str {
        self.names.get(name as usize).map_or("", |(text, _)| text)
    }

    /// What the name names.
    pub fn kind(&self, name: NameIndex) -> NameKind {
        self.names.get(name as usize).map_or(NameKind::Function, |(_, kind)| *kind)
    }

    /// The frame as folded stacks have it: no `;` in it, `_[i]` behind an inlined one. Different
    /// frames have different texts.
    pub fn folded(&self, frame: Frame) -> String {
        let mut text = self.text(frame.name()).replace(';', ":");
        if frame.inlined() {
            text.push_str(INLINED);
        }
        text
    }

    /// The name of a function of the recording.
    pub fn of_function(&self, function: FunctionIndex) -> NameIndex {
        self.of_function.get(function as usize).copied().unwrap_or_default()
    }

    /// The name of the frame at the root of stacks that were truncated for this reason.
    pub fn of_truncation(&self, reason: &str) -> NameIndex {
        self.of_truncation.get(reason).copied().unwrap_or_default()
    }

    /// The name of a part.
    pub fn of_part(&self, part: u32) -> NameIndex {
        self.of_part.get(part as usize).copied().unwrap_or_default()
    }

    /// The name [`UNATTRIBUTED`].
    pub fn unattributed(&self) -> NameIndex {
        self.unattributed
    }
}

/// Text that cannot do harm where it is shown.
///
/// Characters that control a terminal, change the direction of writing, are invisible or have no place in XML become
/// U+FFFD; blanks of all kinds become spaces, and none at the ends; what is empty says so; what is too long is cut;
/// what ends in the mark of inlined calls loses it.
pub fn printable(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if text.is_empty() {
        return "[no name]".into();
    }
    if text.len() <= MAX_LENGTH && !text.contains(|c| safe(c) != c) && !text.ends_with(INLINED) {
        return text.into();
    }
    let mut shown: String = text.chars().take(MAX_LENGTH).map(safe).collect();
    if text.chars().nth(MAX_LENGTH).is_some() {
        shown.push('…');
    } else if shown.ends_with(INLINED) {
        shown.push('\'');
    }
    shown.into()
}

fn safe(c: char) -> char {
    match c {
        ' ' => ' ',
        '\u{2028}' | '\u{2029}' => char::REPLACEMENT_CHARACTER,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c if c.is_whitespace() => ' ',
        '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
            char::REPLACEMENT_CHARACTER
        }
        '\u{fffe}' | '\u{ffff}' => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Function, Stack};

    #[test]
    fn harmful_text_is_made_harmless() {
        assert_eq!(printable("malloc"), "malloc");
        assert_eq!(printable("\x1b[31mred\x07"), "\u{fffd}[31mred\u{fffd}");
        assert_eq!(printable("a\u{202e}b\u{ffff}c\nd"), "a\u{fffd}b\u{fffd}c\u{fffd}d");
        assert_eq!(printable(" \t "), "[no name]");
        assert_eq!(printable("a\u{a0}b\u{3000}c"), "a b c");
        assert_eq!(printable("f_[i]"), "f_[i]'");
        let long = "é".repeat(1 << 20);
        assert_eq!(printable(&long).chars().count(), MAX_LENGTH + 1);
    }

    #[test]
    fn names_are_sorted_and_unique() {
        let function = |name: &str| Function { name: name.into(), ..Function::default() };
        let truncated =
            |reason: &str| Stack { frames: vec![], end: StackEnd::Truncated(reason.into()), frame_pointer_frames: 0 };
        let recording = Recording {
            functions: ["b", "a", "f::<[u8; 2]>", "b", "f::<[u8: 2]>"].map(function).into(),
            stacks: vec![truncated("too deep"), truncated("no mapping"), truncated("too deep")],
            ..Recording::default()
        };
        let names = Names::new(&recording, &[]);
        let shown: Vec<&str> = (0..names.len() as u32).map(|i| names.text(i)).collect();
        assert_eq!(shown, ["[truncated: no mapping]", "[truncated: too deep]", UNATTRIBUTED, "a", "b", "f::<[u8; 2]>"]);
        assert_eq!((0..5).map(|f| names.of_function(f)).collect::<Vec<_>>(), [4, 3, 5, 4, 5]);
        assert_eq!(names.of_truncation("too deep"), 1);
        assert_eq!(names.kind(names.unattributed()), NameKind::Unattributed);
        assert_eq!(names.folded(Frame::new(5, true)), "f::<[u8: 2]>_[i]");
    }
}
