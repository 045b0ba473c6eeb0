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

/// The site of each stack: see [`super::Profile`].
pub fn sites(recording: &Recording, paths: &Paths, names: &Names) -> Vec<Option<NameIndex>> {
    let sites = Sites::new(recording, paths, names);
    (0..paths.len() as StackIndex).map(|stack| sites.of(stack)).collect()
}

/// The tables (sites, functions) of a recording whose stacks have these sites, see [`super::Profile`].
pub fn build(
    site_of: &[Option<NameIndex>],
    paths: &Paths,
    names: &Names,
    calibration: &Calibration,
) -> (Vec<Row>, Vec<Row>) {
    let sites = calibration.sum(names.len(), |stack, groups| {
        if let Some(site) = site_of[stack as usize] {
            groups.add(site);
        }
    });

    let mut distinct = Distinct::new(names);
    let functions =
        calibration.sum(names.len(), |stack, groups| distinct.visit(stack, paths, |function| groups.add(function)));
    (rows(sites, names, NameKind::Function), rows(functions, names, NameKind::Function))
}

/// The functions of a stack, each once: a recursive one is counted once.
pub(super) struct Distinct {
    /// The visit in which a name was seen last.
    seen: Vec<u32>,
    visits: u32,
}

impl Distinct {
    pub(super) fn new(names: &Names) -> Self {
        Self { seen: vec![0; names.len()], visits: 0 }
    }

    pub(super) fn visit(&mut self, stack: StackIndex, paths: &Paths, mut each: impl FnMut(NameIndex)) {
        self.visits += 1;
        for frame in paths.get(stack) {
            let name = frame.name();
            if self.seen[name as usize] != self.visits {
                self.seen[name as usize] = self.visits;
                each(name);
            }
        }
    }
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
