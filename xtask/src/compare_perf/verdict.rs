//! Whether two samples of the same thing agree, function by function.

use std::{collections::BTreeSet, fmt};

use super::samples::Counts;

/// Functions with fewer samples, of both together, are too rare to compare.
const ENOUGH: f64 = 10.0;
/// Standard errors that two shares may lie apart. Beyond 3.5 chance is at work in one of 2,100 comparisons: in less than 5 % of all
/// runs of a hundred functions (Bonferroni).
const FAR: f64 = 3.5;
/// Functions that are shown.
const SHOWN: usize = 15;

/// See the module.
#[derive(Debug)]
pub struct Comparison {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    /// Shares of each, in 0 ..= 1.
    shares: [f64; 2],
    /// Their difference in standard errors.
    z: f64,
}

impl Comparison {
    /// Compares the functions that either has often enough.
    pub fn new(a: &Counts, b: &Counts) -> Self {
        let names: BTreeSet<&String> = a.of.keys().chain(b.of.keys()).collect();
        let count = |of: &Counts, name: &str| of.of.get(name).copied().unwrap_or(0.0);
        let row = |name: &String| {
            let (in_a, in_b) = (count(a, name), count(b, name));
            // Two binomial proportions with a common one.
            let common = (in_a + in_b) / (a.total + b.total);
            let error = (common * (1.0 - common) * (1.0 / a.total + 1.0 / b.total)).sqrt();
            let shares = [in_a / a.total, in_b / b.total];
            let z = if error > 0.0 { (shares[0] - shares[1]) / error } else { 0.0 };
            (in_a + in_b >= ENOUGH).then(|| Row { name: name.clone(), shares, z })
        };
        let mut rows: Vec<Row> = names.into_iter().filter_map(row).collect();
        rows.sort_by(|a, b| b.shares[0].total_cmp(&a.shares[0]));
        Self { rows }
    }

    /// Functions whose shares lie too far apart.
    pub fn different(&self) -> usize {
        self.rows.iter().filter(|row| row.z.abs() > FAR).count()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  tracer     perf       z  function")?;
        let shown = |(index, row): &(usize, &Row)| *index < SHOWN || row.z.abs() > FAR;
        for (_, Row { name, shares: [a, b], z }) in self.rows.iter().enumerate().filter(shown) {
            let mark = if z.abs() > FAR { "  DIFFERENT" } else { "" };
            writeln!(f, "{:>6.2} %  {:>6.2} %  {z:>6.2}  {name}{mark}", 100.0 * a, 100.0 * b)?;
        }
        let largest = self.rows.iter().map(|row| row.z.abs()).fold(0.0, f64::max);
        write!(f, "{} functions compared, the largest difference is {largest:.2} standard errors", self.rows.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(total: f64, of: &[(&str, f64)]) -> Counts {
        Counts { total, of: of.iter().map(|&(name, count)| (name.to_owned(), count)).collect() }
    }

    #[test]
    fn shares_differ_when_chance_does_not_explain_it() {
        let same = Comparison::new(&counts(1000.0, &[("f", 300.0), ("g", 4.0)]), &counts(500.0, &[("f", 160.0)]));
        assert_eq!((same.different(), same.rows.len()), (0, 1));
        let other = Comparison::new(&counts(1000.0, &[("f", 300.0)]), &counts(500.0, &[("f", 100.0), ("h", 30.0)]));
        assert_eq!(other.different(), 2);
        assert!(other.to_string().contains("DIFFERENT"));
    }

    #[test]
    fn what_is_everywhere_is_equal() {
        assert_eq!(Comparison::new(&counts(90.0, &[("main", 90.0)]), &counts(80.0, &[("main", 80.0)])).rows[0].z, 0.0);
    }
}
