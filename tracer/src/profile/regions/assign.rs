//! Which stack belongs to which region.

use std::collections::HashMap;

use regex::Regex;

use super::rules::{From, RegionIndex, Rule, Rules, Step, Subject};
use crate::profile::name::{NameIndex, Names, printable};
use crate::recording::{LocationIndex, Recording};

/// No rule of a step matches.
const NONE: u16 = u16::MAX;

/// The region of each stack of a recording, in the order of its stacks. Every name is matched once with each pattern, so
/// the cost is names x patterns, and one look at each frame for each step that it reaches.
pub fn assign(recording: &Recording, rules: &Rules, names: &Names) -> Vec<RegionIndex> {
    let other = rules.names().len() as RegionIndex;
    let mut regions = vec![other; recording.stacks.len()];
    let mut undecided: Vec<u32> = (0..recording.stacks.len() as u32).collect();
    for step in rules.steps() {
        if undecided.is_empty() {
            break;
        }
        let frames = Frames::new(recording, names, step);
        undecided.retain(|&stack| {
            let found = frames.decide(&recording.stacks[stack as usize].frames);
            match found.and_then(|rule| step.rules.get(usize::from(rule))) {
                Some(rule) => regions[stack as usize] = rule.region,
                None => return true,
            }
            false
        });
    }
    regions
}

/// The first rule of a step that matches each frame.
struct Frames {
    from: From,
    /// The lines of all locations, one after the other, innermost first.
    rules: Vec<u16>,
    /// Where each location's lines begin; one more for the end.
    starts: Vec<u32>,
}

impl Frames {
    fn new(recording: &Recording, names: &Names, step: &Step) -> Self {
        let matches: Vec<Matches> = step.rules.iter().map(|rule| Matches::new(rule, recording, names)).collect();
        let (mut rules, mut starts) = (Vec::new(), vec![0]);
        for location in &recording.locations {
            for line in &location.lines {
                let first = matches
                    .iter()
                    .position(|of| of.matches(names.of_function(line.function), line.function, location.module));
                rules.push(first.map_or(NONE, |rule| rule as u16));
            }
            starts.push(rules.len() as u32);
        }
        Self { from: step.from, rules, starts }
    }

    fn decide(&self, stack: &[LocationIndex]) -> Option<u16> {
        let lines = |&location: &LocationIndex| match self.starts.get(location as usize..location as usize + 2) {
            Some(&[start, end]) => &self.rules[start as usize..end as usize],
            _ => &[],
        };
        let mut found = stack.iter().flat_map(lines).copied().filter(|&rule| rule != NONE);
        match self.from {
            From::Leaf => found.next(),
            From::Root => found.next_back(),
        }
    }
}

/// What the patterns of a rule match; `None` where there is no pattern, so that everything does.
struct Matches {
    names: Option<Vec<bool>>,
    modules: Option<Vec<bool>>,
    files: Option<Vec<bool>>,
}

impl Matches {
    fn new(rule: &Rule, recording: &Recording, names: &Names) -> Self {
        let patterns = |subject: Subject| {
            let patterns = &rule.patterns[subject as usize];
            (!patterns.is_empty()).then_some(patterns)
        };
        let matches = |patterns: &[Regex], text: &str| patterns.iter().any(|pattern| pattern.is_match(text));
        let of_names = |patterns: &Vec<Regex>| {
            (0..names.len() as NameIndex).map(|name| matches(patterns, names.text(name))).collect()
        };
        let of_modules = |patterns: &Vec<Regex>| {
            recording.modules.iter().map(|module| matches(patterns, &printable(&module.path))).collect()
        };
        let of_files = |patterns: &Vec<Regex>| {
            let mut known: HashMap<&str, bool> = HashMap::new();
            let file =
                |file| *known.entry(file).or_insert_with(|| !file.is_empty() && matches(patterns, &printable(file)));
            recording.functions.iter().map(|function| function.file.as_str()).map(file).collect()
        };
        Self {
            names: patterns(Subject::Function).map(of_names),
            modules: patterns(Subject::Module).map(of_modules),
            files: patterns(Subject::File).map(of_files),
        }
    }

    fn matches(&self, name: NameIndex, function: u32, module: Option<u32>) -> bool {
        let holds = |of: &Option<Vec<bool>>, index: Option<u32>| {
            of.as_ref().is_none_or(|of| index.and_then(|index| of.get(index as usize)).copied().unwrap_or(false))
        };
        holds(&self.names, Some(name)) && holds(&self.modules, module) && holds(&self.files, Some(function))
    }
}
