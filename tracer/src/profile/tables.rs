//! Tables: allocation sites, and functions with all that is below them.

use super::name::{NameIndex, NameKind, Names};
use super::paths::Paths;
use super::sites::Sites;
use crate::estimate::{Calibration, Measure};
use crate::recording::{Recording, StackIndex};

/// A line of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// The function.
    pub name: NameIndex,
    /// What it allocated.
    pub total: Measure,
}

/// The tables (sites, functions) of a recording, see [`super::Profile`].
pub fn build(recording: &Recording, paths: &Paths, names: &Names, calibration: &Calibration) -> (Vec<Row>, Vec<Row>) {
    let sites = Sites::new(recording, paths, names);
    let site_of: Vec<Option<NameIndex>> =
        (0..recording.stacks.len() as StackIndex).map(|stack| sites.of(stack)).collect();
    let sites = calibration.sum(names.len(), |stack, groups| {
        if let Some(site) = site_of[stack as usize] {
            groups.add(site);
        }
    });

    // The visit in which a name was seen last: a recursive function counts once.
    let mut seen = vec![0u32; names.len()];
    let mut visit = 0;
    let functions = calibration.sum(names.len(), |stack, groups| {
        visit += 1;
        for frame in paths.get(stack) {
            let name = frame.name();
            if seen[name as usize] != visit {
                seen[name as usize] = visit;
                groups.add(name);
            }
        }
    });
    (rows(sites, names, NameKind::Function), rows(functions, names, NameKind::Function))
}

/// The table of parts. `of_stack`: the part of each stack; empty where none are told apart.
pub fn parts(of_stack: &[u32], names: &Names, calibration: &Calibration) -> Vec<Row> {
    if of_stack.is_empty() {
        return Vec::new();
    }
    let parts = calibration.sum(names.len(), |stack, groups| {
        if let Some(part) = of_stack.get(stack as usize) {
            groups.add(names.of_part(*part));
        }
    });
    rows(parts, names, NameKind::Part)
}

fn rows(totals: Vec<Measure>, names: &Names, kind: NameKind) -> Vec<Row> {
    let mut rows: Vec<Row> = (0..)
        .zip(totals)
        .filter(|(name, total)| total.samples > 0 && names.kind(*name) == kind)
        .map(|(name, total)| Row { name, total })
        .collect();
    rows.sort_by(|a, b| b.total.bytes.value.total_cmp(&a.total.bytes.value).then(a.name.cmp(&b.name)));
    rows
}
