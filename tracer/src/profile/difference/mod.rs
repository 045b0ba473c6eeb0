//! What differs between two recordings, and whether that is more than chance.
//!
//! # What chance is
//!
//! The estimates of both recordings have sampling error, and the program itself does not do the same in every second. A
//! rate's variance is therefore the larger of that of its estimate and that between slices of time
//! ([`crate::estimate::slices`]). With [`Chance::Sampling`] it is the first alone: then the question is whether *these
//! two runs* differed, not whether two others would.
//!
//! Neither shows what differs from run to run but stays the same within one: another order of hash tables, another load.
//! Whoever fears that records more than once.
//!
//! # How many questions are asked
//!
//! Three families share the 5 % that an answer may be wrong: the total and the regions; sites and functions; the frames
//! of the flame graph. In each, Holm's procedure ([`crate::estimate::family`]) corrects for the number of questions.
//! Groups of the same stacks are one question: callers that call nothing else, mostly. Groups with less than
//! [`MIN_SAMPLES`] samples in both recordings together are not asked about: by a rule that does not look at how they
//! divide, as it must be (Bourgon, Gentleman and Huber, PNAS 107 (2010) 9546).

mod groups;
mod half;
mod merged;
mod tree;

use std::collections::HashMap;

use super::name::{NameIndex, NameKind, Names};
use super::paths::Paths;
use super::regions::{OTHER, Rules, assign};
use super::tree::Tree;
use crate::estimate::compare::{self, Rate};
use crate::estimate::family::holm;
use crate::recording::Recording;
use groups::Groups;
use half::{Amount, Half};

/// Samples in both recordings together that make it worth asking.
pub const MIN_SAMPLES: u64 = 8;
/// The probability of any wrong answer at most.
pub const LEVEL: f64 = 0.05;
/// Families of questions that share it.
const FAMILIES: f64 = 3.0;

/// What may make two recordings differ although nothing has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chance {
    /// Sampling, and what varies in the program from one time to another.
    #[default]
    Time,
    /// Sampling alone.
    Sampling,
}

/// One of the recordings, and what its amounts are divided by: seconds, or units of work that it did.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The recording.
    pub recording: &'a Recording,
    /// More than 0.
    pub divisor: f64,
}

/// What is known of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// More than before, and not by chance.
    Increase,
    /// Less than before, and not by chance.
    Decrease,
    /// Chance would do as well.
    Chance,
    /// Less than [`MIN_SAMPLES`] samples: not asked.
    FewSamples,
}

/// Bytes of a group before and after, or nanoseconds of CPU time, per second or per unit of work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Before.
    pub before: Rate,
    /// After.
    pub after: Rate,
    /// Samples before and after.
    pub samples: [u64; 2],
    /// After less before, and the probability of as much by chance.
    pub difference: compare::Difference,
    /// That probability, corrected for the number of questions; `None` where the question is not asked.
    pub corrected: Option<f64>,
}

impl Change {
    /// What is known.
    pub fn verdict(&self) -> Verdict {
        match self.corrected {
            None => Verdict::FewSamples,
            Some(p) if p > LEVEL => Verdict::Chance,
            Some(_) if self.difference.value > 0.0 => Verdict::Increase,
            Some(_) => Verdict::Decrease,
        }
    }

    /// The difference as a share of what was before; infinite where that was nothing.
    pub fn relative(&self) -> f64 {
        if self.difference.value == 0.0 { 0.0 } else { self.difference.value / self.before.value }
    }
}

/// A line of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The region or function.
    pub name: String,
    /// What changed.
    pub change: Change,
}

/// Everything that outputs show. Tables have the largest difference first.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Everything.
    pub total: Change,
    /// Regions, where there are rules; the region of no rule last.
    pub regions: Vec<Row>,
    /// Allocation sites.
    pub sites: Vec<Row>,
    /// Functions with all that is below them.
    pub functions: Vec<Row>,
    /// Names of the frames of both recordings.
    pub names: Names,
    /// The call trees of both recordings in one. Own bytes are the larger of both; totals are not filled in.
    pub tree: Tree,
    /// Bytes of the stacks that end at each node, before and after, per second or per unit of work.
    pub own: Vec<[f64; 2]>,
    /// The change of each node; `None` for those too small to be drawn.
    pub nodes: Vec<Option<Change>>,
    /// Questions asked of the total and regions, and of sites and functions.
    pub questions: [usize; 2],
}

impl Difference {
    /// Compares two recordings. Costs about what two [`super::Profile`]s do.
    pub fn new(before: Side<'_>, after: Side<'_>, rules: &Rules, chance: Chance) -> Self {
        let (merged, first_after) = merged::merged(before.recording, after.recording);
        let names = Names::new(&merged, &[]);
        let paths = Paths::new(&merged, &names, &[]);
        let halves =
            [Half::new(before.recording, 0, before.divisor), Half::new(after.recording, first_after, after.divisor)];
        let (tree, own) = tree::of_both(&paths, &names, &halves);
        let regions = assign(&merged, rules, &names);
        let mut groups = Groups::new(&merged, &paths, &names, &tree, &regions, rules.names().len() + 1);

        let mut changes = changes(&halves, &mut groups, chance);
        let questions = groups.families().map(|family| correct(&mut changes[family]));

        let of_regions = &changes[groups.regions()];
        let named = rules.names().iter().map(String::as_str).chain([OTHER]);
        let mut regions: Vec<Row> =
            named.zip(of_regions).map(|(name, &change)| Row { name: name.to_owned(), change }).collect();
        sort(&mut regions);
        regions.sort_by_key(|row| row.name == OTHER);
        if rules.is_empty() {
            regions.clear();
        }
        let functions = |changes: &[Change]| {
            let shown = (0..names.len() as NameIndex)
                .zip(changes)
                .filter(|(name, change)| change.samples != [0, 0] && names.kind(*name) == NameKind::Function);
            let mut rows: Vec<Row> =
                shown.map(|(name, &change)| Row { name: names.text(name).to_owned(), change }).collect();
            sort(&mut rows);
            rows
        };
        Self {
            total: changes[Groups::TOTAL],
            regions,
            sites: functions(&changes[groups.sites()]),
            functions: functions(&changes[groups.functions()]),
            nodes: groups.of_node().iter().map(|group| Some(changes[(*group)? as usize])).collect(),
            questions: [questions[0], questions[1]],
            names,
            tree,
            own,
        }
    }
}

/// The largest difference first; of equal ones, that of the larger amount.
fn sort(rows: &mut [Row]) {
    let key = |row: &Row| {
        let Change { before, after, difference, .. } = row.change;
        (difference.value.abs(), before.value.max(after.value))
    };
    rows.sort_by(|a, b| {
        let ((difference_a, amount_a), (difference_b, amount_b)) = (key(a), key(b));
        difference_b.total_cmp(&difference_a).then(amount_b.total_cmp(&amount_a)).then_with(|| a.name.cmp(&b.name))
    });
}

/// The change of each group.
fn changes(halves: &[Half<'_>; 2], groups: &mut Groups<'_>, chance: Chance) -> Vec<Change> {
    let measures = [0, 1].map(|half: usize| halves[half].measures(groups.len(), groups));
    let samples: Vec<[u64; 2]> = measures[0].iter().zip(&measures[1]).map(|(a, b)| [a.samples, b.samples]).collect();
    let asked = |group: usize| group == Groups::TOTAL || samples[group][0] + samples[group][1] >= MIN_SAMPLES;

    // Only what is asked about needs to be cut into slices.
    let (mut places, mut place_of) = (0, vec![None; samples.len()]);
    if chance == Chance::Time {
        for (_, place) in place_of.iter_mut().enumerate().filter(|(group, _)| asked(*group)) {
            *place = Some(places);
            places += 1;
        }
    }
    let between =
        halves.each_ref().map(|half| half.between_slices(places as usize, |group| place_of[group as usize], groups));

    (0..samples.len())
        .map(|group| {
            let amount = |half: usize| Amount {
                measure: measures[half][group],
                between_slices: place_of[group].map_or(0.0, |place| between[half][place as usize]),
            };
            let [a, b] = [amount(0), amount(1)];
            let [before, after] = match group {
                Groups::TOTAL => [halves[0].total(&a, chance), halves[1].total(&b, chance)],
                _ => [halves[0].rate(&a, &b, chance), halves[1].rate(&b, &a, chance)],
            };
            let difference = compare::difference(before, after);
            let corrected = asked(group).then_some(1.0);
            Change { before, after, samples: samples[group], difference, corrected }
        })
        .collect()
}

/// Corrects the probabilities of a family for the number of its questions, which it returns. Groups of equal amounts
/// are groups of the same stacks, and one question.
fn correct(family: &mut [Change]) -> usize {
    let question = |change: &Change| (change.samples, change.before.value.to_bits(), change.after.value.to_bits());
    let mut index_of = HashMap::new();
    let mut p = Vec::new();
    for change in family.iter().filter(|change| change.corrected.is_some()) {
        index_of.entry(question(change)).or_insert_with(|| {
            p.push(change.difference.p);
            p.len() - 1
        });
    }
    let corrected = holm(&p);
    for change in family.iter_mut().filter(|change| change.corrected.is_some()) {
        let own = index_of.get(&question(change)).and_then(|&index| corrected.get(index));
        change.corrected = own.map(|p| (p * FAMILIES).min(1.0));
    }
    p.len()
}

#[cfg(test)]
mod tests;
