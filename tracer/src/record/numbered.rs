//! Things that repeat, kept once and called by numbers.

use std::{collections::HashMap, hash::Hash};

/// See the module. Numbers are dense: 0, 1, …
#[derive(Debug)]
pub struct Numbered<T>(HashMap<T, u32>);

/// No number.
const FORGOTTEN: u32 = u32::MAX;

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Eq + Hash> Numbered<T> {
    /// The number of a thing; a new one where it was not seen before.
    pub fn number(&mut self, thing: T) -> u32 {
        let next = self.0.len() as u32;
        *self.0.entry(thing).or_insert(next)
    }

    /// Forgets all but the numbers given; what stays is numbered anew. Returns the new number of each old one: none for
    /// those that were not given.
    pub fn keep(&mut self, used: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut numbers = vec![FORGOTTEN; self.0.len()];
        let mut next = 0;
        for old in used {
            if let Some(number) = numbers.get_mut(old as usize).filter(|number| **number == FORGOTTEN) {
                *number = next;
                next += 1;
            }
        }
        self.0.retain(|_, number| {
            *number = numbers.get(*number as usize).copied().unwrap_or(FORGOTTEN);
            *number != FORGOTTEN
        });
        self.0.shrink_to(2 * self.0.len());
        numbers
    }

    /// All in the order of their numbers.
    pub fn into_ordered(self) -> Vec<T> {
        let mut things: Vec<_> = self.0.into_iter().collect();
        things.sort_unstable_by_key(|(_, number)| *number);
        things.into_iter().map(|(thing, _)| thing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_used_is_forgotten_and_the_rest_keeps_its_meaning() {
        let mut names = Numbered::default();
        let numbers = ["a", "b", "a", "c", "d"].map(|name| names.number(name));
        assert_eq!(numbers, [0, 1, 0, 2, 3]);
        let new = names.keep([3, 1, 3].into_iter());
        assert_eq!((new[3], new[1]), (0, 1));
        assert_eq!(names.number("d"), 0);
        assert_eq!(names.number("e"), 2);
        assert_eq!(names.number("a"), 3);
        assert_eq!(names.into_ordered(), ["d", "b", "e", "a"]);
    }
}
