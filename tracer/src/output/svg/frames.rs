//! What the frames of a recording's flame graph show.

use inferno::flamegraph::color::Color;

use super::colors;
use super::layout::{Drawn, Layout};
use super::tooltips::Look;
use crate::output::quantity::{count, percent};
use crate::output::shown::{self, Shown};
use crate::profile::name::NameKind;
use crate::profile::{Node, Profile};
use crate::recording::about::Source;

/// Tooltip and colour of a frame. With regions, a frame has the colour of the region that nearly all its bytes are of.
pub fn look(profile: &Profile, layout: &Layout, drawn: Drawn) -> Look {
    let node = drawn.node.and_then(|node| Some((node as usize, profile.tree.nodes.get(node as usize)?)));
    let Some((index, node)) = node else {
        let share = drawn.width as f64 / layout.width as f64;
        let bytes = profile.source.amount(share * profile.total().bytes.value);
        let tooltip = format!("[other] ({bytes}, {}, stacks too narrow to be drawn)", percent(share));
        return Look { tooltip, color: None };
    };
    Look { tooltip: tooltip(profile, index, node), color: color(profile, index, node) }
}

fn color(profile: &Profile, index: usize, node: &Node) -> Option<Color> {
    let regions = profile.regions.as_ref()?;
    let kind = node.frame.map(|frame| profile.names.kind(frame.name()));
    if kind.is_some_and(|kind| kind != NameKind::Function) {
        return None;
    }
    let region = regions.of_node.get(index).copied().flatten();
    let shade = node.frame.map_or(0, |frame| frame.name());
    Some(region.map_or(colors::SEVERAL, |region| colors::shaded(colors::of_region(region, regions), shade)))
}

/// `name (12.3 ± 0.8 MiB, 10.2 %, 384 samples, 5,012 ± 301 objects, region websocket)`.
fn tooltip(profile: &Profile, index: usize, node: &Node) -> String {
    let total = &node.total;
    let kind = node.frame.map(|frame| profile.names.kind(frame.name()));
    let samples = match total.samples {
        0 => "no samples".into(),
        1 => "1 sample".into(),
        n => format!("{} samples", count(n)),
    };
    let source = profile.source;
    let (value, objects) = (source.amount(total.bytes.value), count(total.objects.value.round() as u64));
    let is_exact = profile.exact().is_some();
    match (node.frame, kind) {
        (None, _) if is_exact => format!("all ({value} exact, 100 %, {samples}, {objects} {} exact)", source.objects()),
        (None, _) => {
            format!("all ({}, 100 %, {samples})", shown::totals(&profile.calibration, source).replace(['(', ')'], ""))
        }
        (Some(frame), Some(NameKind::Unattributed)) if is_exact => {
            let (name, share) = (profile.names.text(frame.name()), percent(profile.share(total)));
            format!("{name} ({value} exact, {share}, no samples, {objects} {} exact)", source.objects())
        }
        (Some(frame), _) => {
            let name = profile.names.text(frame.name());
            let inlined = if frame.inlined() { " [inlined]" } else { "" };
            let Shown { share, bytes, objects } = Shown::new(profile, total);
            let region = profile.regions.as_ref().and_then(|regions| {
                let region = regions.of_node.get(index).copied().flatten()?;
                Some(format!(", region {}", regions.name(region).replace(['(', ')'], "|")))
            });
            let region = region.unwrap_or_default();
            if source == Source::Cpu {
                // A sample is a tick.
                return format!("{name}{inlined} ({bytes}, {share}, {samples}{region})");
            }
            format!("{name}{inlined} ({bytes}, {share}, {samples}, {objects} {}{region})", source.objects())
        }
    }
}
