//! The tree of calls, without its smallest nodes.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::measure::{Amount, Shown};
use crate::profile::name::NameKind;
use crate::profile::{Node, Profile};

/// Share of the bytes that a node needs.
const MIN_SHARE: f64 = 1e-4;

pub(super) struct Names<'a>(pub(super) &'a Profile);

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((0..self.0.names.len() as u32).map(|name| self.0.names.text(name)))
    }
}

pub(super) struct Nodes<'a> {
    profile: &'a Profile,
    /// The index in the document of each node, where it has one.
    kept: Vec<Option<u32>>,
}

impl<'a> Nodes<'a> {
    pub(super) fn new(profile: &'a Profile) -> Self {
        Self { profile, kept: kept_nodes(profile) }
    }
}

impl Serialize for Nodes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nodes = self.profile.tree.nodes.iter().zip(&self.kept).filter(|(_, kept)| kept.is_some());
        serializer.collect_seq(nodes.map(|(node, _)| TreeNode { of: self, node }))
    }
}

struct TreeNode<'a> {
    of: &'a Nodes<'a>,
    node: &'a Node,
}

impl Serialize for TreeNode<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { of: Nodes { profile, kept }, node } = self;
        let kind = node.frame.map(|frame| profile.names.kind(frame.name()));
        let shown = match kind {
            None => Shown::everything(profile),
            Some(NameKind::Unattributed) if profile.exact().is_some() => Shown::unattributed(profile, &node.total),
            Some(_) => Shown::new(profile, &node.total),
        };
        let mut map = serializer.serialize_map(None)?;
        let parent = node.frame.and_then(|_| kept.get(node.parent as usize).copied().flatten());
        map.serialize_entry("parent", &parent)?;
        map.serialize_entry("name", &node.frame.map(|frame| frame.name()))?;
        map.serialize_entry("inlined", &node.frame.is_some_and(|frame| frame.inlined()))?;
        map.serialize_entry(
            "kind",
            match kind {
                None | Some(NameKind::Function) => "function",
                Some(NameKind::Truncated) => "truncated",
                Some(NameKind::Unattributed) => "unattributed",
                Some(NameKind::Part) => "part",
            },
        )?;
        map.serialize_entry("samples", &shown.samples)?;
        map.serialize_entry("share", &shown.share)?;
        map.serialize_entry("share_low", &shown.share_low)?;
        map.serialize_entry("share_high", &shown.share_high)?;
        match &shown.amount {
            Amount::Memory { bytes, objects } => {
                map.serialize_entry("bytes", bytes)?;
                map.serialize_entry("objects", objects)?;
            }
            Amount::Time { nanoseconds } => map.serialize_entry("nanoseconds", nanoseconds)?,
        }
        map.end()
    }
}

/// Nodes in the document: the index in it of each node, where it has one.
fn kept_nodes(profile: &Profile) -> Vec<Option<u32>> {
    let nodes = &profile.tree.nodes;
    let min = profile.total().bytes.value * MIN_SHARE;
    let mut kept: Vec<Option<u32>> = Vec::with_capacity(nodes.len());
    let mut next = 0;
    for (i, node) in nodes.iter().enumerate() {
        let parent_kept = i == 0 || kept[node.parent as usize].is_some();
        let keep = parent_kept && (i == 0 || node.total.bytes.value >= min);
        kept.push(keep.then_some(next));
        next += u32::from(keep);
    }
    kept
}
