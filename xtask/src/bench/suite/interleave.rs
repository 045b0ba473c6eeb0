//! Runs arms against each other on a machine that others use too.

use std::time::{Duration, Instant, SystemTime};

/// Values by round and arm.
#[derive(Debug)]
pub struct Rounds {
    values: Vec<Vec<f64>>,
}

/// Runs every arm once in each round, in an order that is new in every round: what changes on the machine meanwhile meets
/// all arms alike. Ends after `rounds`, or when another round like the last would be over after `limit`; one runs in any case.
///
/// # Errors
/// Those of `run`.
pub fn interleave(
    arms: usize,
    rounds: usize,
    limit: Duration,
    mut run: impl FnMut(usize) -> anyhow::Result<f64>,
) -> anyhow::Result<Rounds> {
    let start = Instant::now();
    let mut seed =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64) | 1;
    let mut values = Vec::new();
    let mut last = Duration::ZERO;
    while values.len() < rounds && (values.is_empty() || start.elapsed() + last < limit) {
        let begin = Instant::now();
        let mut round = vec![0.0; arms];
        for arm in shuffled(arms, &mut seed) {
            if let Some(value) = round.get_mut(arm) {
                *value = run(arm)?;
            }
        }
        values.push(round);
        last = begin.elapsed();
    }
    Ok(Rounds { values })
}

impl Rounds {
    /// A number of each round, from its values by arm.
    pub fn each<'a>(&'a self, number: impl Fn(&[f64]) -> f64 + 'a) -> impl Iterator<Item = f64> + 'a {
        self.values.iter().map(move |round| number(round))
    }

    /// How many there were.
    pub fn len(&self) -> usize {
        self.values.len()
    }
}

/// Fisher and Yates, with xorshift64 (Marsaglia 2003).
fn shuffled(count: usize, seed: &mut u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        order.swap(last, (*seed % (last as u64 + 1)) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arm_runs_once_a_round() {
        let rounds = interleave(4, 10, Duration::from_secs(60), |arm| Ok(arm as f64)).unwrap();
        assert_eq!(rounds.len(), 10);
        assert!(rounds.values.iter().all(|round| round == &[0.0, 1.0, 2.0, 3.0]));
        assert_eq!(rounds.each(|round| round[3] - round[1]).collect::<Vec<_>>(), [2.0; 10]);
    }

    #[test]
    fn one_round_runs_whatever_the_limit() {
        assert_eq!(interleave(2, 10, Duration::ZERO, |_| Ok(0.0)).unwrap().len(), 1);
    }

    #[test]
    fn orders_differ() {
        let mut seed = 1;
        let orders: std::collections::BTreeSet<_> = (0..100).map(|_| shuffled(3, &mut seed)).collect();
        assert_eq!(orders.len(), 6);
    }
}
