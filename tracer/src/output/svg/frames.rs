//! What the frames of a recording's flame graph show.

use inferno::flamegraph::color::Color;

use super::colors;
use super::layout::{Drawn, Layout};
use super::tooltips::Look;
use crate::output::quantity::{count, objects_within, percent};
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
            let region = profile.regions.as_ref().and_then(|regions| {
                let region = regions.of_node.get(index).copied().flatten()?;
                Some(format!(", region {}", regions.name(region).replace(['(', ')'], "|")))
            });
            let region = region.unwrap_or_default();
            if source == Source::Cpu {
                // A sample is a tick.
                return format!("{name}{inlined} ({bytes}, {share}, {samples}{region})");
            }
            let objects = objects_within(total.objects.value, profile.objects_interval(total));
            format!("{name}{inlined} ({bytes}, {share}, {samples}, {objects} {}{region})", source.objects())
        }
    }
}
