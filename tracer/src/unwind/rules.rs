//! Numbers for distinct rules.

use std::collections::HashMap;

use tracer_ebpf::abi::unwind::{MAX_RULES, Rule, RuleKind};

use super::rule::plain;

/// Slots of the cache before the hash map; a power of two.
const CACHE: usize = 256;

/// Distinct rules, numbered in the order of their first use. The first three are always [`NO_INFO`], [`END`] and
/// [`UNSUPPORTED`].
#[derive(Clone, Debug)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    numbers: HashMap<Rule, u32>,
    /// Numbers last given to rules of each hash: neighbouring rows draw from few rules.
    cache: Box<[u32; CACHE]>,
    limit: usize,
}

/// Number of [`RuleKind::NoInfo`] in every set.
pub(super) const NO_INFO: u32 = 0;
/// Number of [`RuleKind::End`] in every set.
pub(super) const END: u32 = 1;
/// Number of [`RuleKind::Unsupported`] in every set.
pub(super) const UNSUPPORTED: u32 = 2;

impl Rules {
    /// For one module: a hostile one shall not fill the dictionary. The largest measured has 730.
    pub(super) fn of_module() -> Self {
        Self::with_limit(MAX_RULES as usize / 8)
    }

    /// The dictionary that all modules share.
    pub(super) fn dictionary() -> Self {
        Self::with_limit(MAX_RULES as usize)
    }

    /// `limit` is at least 3.
    fn with_limit(limit: usize) -> Self {
        let rules: Vec<_> = [RuleKind::NoInfo, RuleKind::End, RuleKind::Unsupported].map(plain).into();
        let numbers = (0..).zip(&rules).map(|(number, &rule)| (rule, number)).collect();
        Self { rules, numbers, cache: Box::new([0; CACHE]), limit }
    }

    /// The rule's number; `None` where the set is full.
    pub(super) fn number(&mut self, rule: Rule) -> Option<u32> {
        let slot = slot(rule);
        let cached = self.cache[slot];
        if self.rules[cached as usize] == rule {
            return Some(cached);
        }
        let number = match self.numbers.get(&rule) {
            Some(&number) => number,
            None if self.rules.len() >= self.limit => return None,
            None => {
                let number = self.rules.len() as u32;
                self.rules.push(rule);
                self.numbers.insert(rule, number);
                number
            }
        };
        self.cache[slot] = number;
        Some(number)
    }

    pub(super) fn as_slice(&self) -> &[Rule] {
        &self.rules
    }

    pub(super) fn into_vec(self) -> Vec<Rule> {
        self.rules
    }
}

fn slot(rule: Rule) -> usize {
    let offsets = (rule.cfa_offset as u64) << 32 | u64::from(rule.rbp_offset as u16) << 16;
    let key = offsets | u64::from(rule.rbp) << 8 | u64::from(rule.kind);
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize % CACHE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(cfa_offset: i32) -> Rule {
        Rule { cfa_offset, ..plain(RuleKind::Rsp) }
    }

    #[test]
    fn equal_rules_share_a_number() {
        let mut rules = Rules::of_module();
        assert_eq!(rules.number(plain(RuleKind::End)), Some(END));
        let mut numbers = || (0..2000).map(|offset| rules.number(rule(offset)).unwrap()).collect::<Vec<_>>();
        assert_eq!(numbers(), (3..2003).collect::<Vec<_>>());
        assert_eq!(numbers(), (3..2003).collect::<Vec<_>>());
        assert_eq!(rules.as_slice()[3 + 7], rule(7));
    }

    #[test]
    fn a_full_set_takes_no_more() {
        let mut rules = Rules::with_limit(5);
        assert_eq!([0, 1, 2, 0, 3].map(|offset| rules.number(rule(offset))), [Some(3), Some(4), None, Some(3), None]);
    }
}
