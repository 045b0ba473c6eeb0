//! What the searches of a run found that people should know: what became of the functions that the user names, and what is
//! known not to be counted.

use std::collections::{BTreeMap, BTreeSet};

use super::discover::{Found, Probed, Wanted};
use crate::allocators::{
    Plan,
    by_hand::{self, find::Missed},
};

/// See the module.
#[derive(Debug, Default)]
pub struct Searched {
    /// Indices of the named functions that were found.
    found: BTreeSet<usize>,
    /// Why others were not, by what the user wrote.
    missed: BTreeMap<String, Missed>,
    /// What is not counted.
    gaps: BTreeSet<String>,
}

impl Searched {
    /// Takes note of what a search found.
    pub fn note(&mut self, found: &Found) {
        self.found.extend(&found.named);
        self.missed.extend(found.missed.iter().map(|missed| (missed.function.clone(), missed.clone())));
        self.gaps.extend(found.plan.iter().flat_map(Plan::gaps));
    }

    /// Functions that no process had.
    pub fn missed<'a>(&'a self, wanted: &'a Wanted) -> impl Iterator<Item = &'a Missed> {
        let not_found = wanted.named.iter().enumerate().filter(|(index, _)| !self.found.contains(index));
        not_found.filter_map(|(_, named)| self.missed.get(&named.to_string()))
    }

    /// What a recording says about it, for people.
    pub fn notes(&self, wanted: &Wanted, points: &[Probed]) -> Vec<String> {
        let (named, others): (Vec<&Probed>, Vec<&Probed>) =
            points.iter().partition(|probed| probed.point.family == by_hand::FAMILY);
        let names: BTreeSet<&str> = named.iter().map(|probed| probed.point.function.as_str()).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        let counted = match (named.is_empty(), others.is_empty()) {
            (true, _) => None,
            (false, true) => Some(format!("counted is what was named by hand: {names}")),
            (false, false) => Some(format!(
                "counted beside the allocators that were found is what was named by hand: {names}. Memory that such a function \
                 gets from one of the others counts in both"
            )),
        };
        let missed = self.missed(wanted).map(|missed| format!("not counted: {missed}"));
        counted.into_iter().chain(missed).chain(self.gaps.iter().cloned()).collect()
    }
}
