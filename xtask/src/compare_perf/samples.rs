//! Stacks with their number of samples, as tracer and perf write them. Inlined calls are left out: perf knows them only at a
//! price.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;

use super::{Modules, aliases::Aliases};

/// Ends names of the kernel's functions.
const KERNEL: &str = "_[k]";
/// Ends names of inlined calls.
const INLINED: &str = "_[i]";

/// See the module.
#[derive(Debug, Default)]
pub struct Samples {
    /// Frames, root first, and how many samples.
    stacks: Vec<(Vec<String>, f64)>,
    modules: Modules,
}

impl Samples {
    /// Of folded stacks with nanoseconds of CPU time, sampled at `frequency`.
    ///
    /// # Errors
    /// A line that is no folded stack.
    pub fn from_folded(text: &str, frequency: f64) -> anyhow::Result<Self> {
        let stack = |line: &str| {
            let (frames, time) = line.rsplit_once(' ').with_context(|| format!("no folded stack: {line:?}"))?;
            let time: f64 = time.parse().with_context(|| format!("no time: {line:?}"))?;
            let frames = frames.split(';').filter(|frame| !frame.ends_with(INLINED)).map(str::to_owned).collect();
            anyhow::Ok((frames, time * frequency / 1e9))
        };
        Ok(Self { stacks: text.lines().map(stack).collect::<Result<_, _>>()?, modules: Modules::new() })
    }

    /// Of `perf script -F ip,sym,dso`: a line `address symbol (file)` for each frame, leaf first, and an empty one behind each stack.
    pub fn from_perf(text: &str) -> Self {
        let mut modules = BTreeSet::new();
        let mut frame = |line: &str| {
            let (symbol, module) = line.trim().split_once(' ')?.1.rsplit_once(" (")?;
            let module = module.strip_suffix(')')?;
            let kernel =
                module.starts_with("[kernel") || module.starts_with("[guest.kernel") || module.ends_with(".ko");
            if module.starts_with('/') {
                modules.insert(module.into());
            }
            Some(if kernel { format!("{symbol}{KERNEL}") } else { symbol.to_owned() })
        };
        let mut stacks = Vec::new();
        for stack in text.split("\n\n") {
            let mut frames: Vec<String> = stack.lines().filter_map(&mut frame).collect();
            frames.reverse();
            if !frames.is_empty() {
                stacks.push((frames, 1.0));
            }
        }
        Self { stacks, modules: modules.into_iter().collect() }
    }

    /// Files that frames lie in.
    pub fn modules(&self) -> &Modules {
        &self.modules
    }

    /// With one name for each function.
    pub fn renamed(self, aliases: &Aliases) -> Self {
        let rename = |(frames, count): (Vec<String>, f64)| {
            (frames.iter().map(|frame| aliases.name(frame).to_owned()).collect(), count)
        };
        Self { stacks: self.stacks.into_iter().map(rename).collect(), ..self }
    }

    /// Number of samples.
    pub fn total(&self) -> f64 {
        self.stacks.iter().map(|(_, count)| count).sum()
    }

    /// Those whose stacks do not reach the thread's start.
    pub fn truncated(&self) -> f64 {
        let truncated = |frames: &[String]| frames.first().is_some_and(|root| root.starts_with("[truncated"));
        self.stacks.iter().filter(|(frames, _)| truncated(frames)).map(|(_, count)| count).sum()
    }

    /// Samples by leaf.
    pub fn own(&self) -> Counts {
        self.count(|frames| frames.last().into_iter().collect())
    }

    /// Samples by every function in their stack.
    pub fn inclusive(&self) -> Counts {
        self.count(|frames| frames.iter().collect())
    }

    fn count(&self, of: impl Fn(&[String]) -> BTreeSet<&String>) -> Counts {
        let mut counts = Counts { total: self.total(), ..Counts::default() };
        for (frames, count) in &self.stacks {
            for name in of(frames) {
                *counts.of.entry(name.clone()).or_default() += count;
            }
        }
        counts
    }
}

/// Samples by function.
#[derive(Debug, Default)]
pub struct Counts {
    /// All samples.
    pub total: f64,
    /// Those of each function.
    pub of: BTreeMap<String, f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_give_the_same_stacks() {
        let folded =
            Samples::from_folded("main;f;g_[i];read;sys_read_[k] 20000000\n[truncated: x];f 10000000\n", 100.0);
        let folded = folded.unwrap();
        assert_eq!((folded.total(), folded.truncated()), (3.0, 1.0));
        assert_eq!(folded.inclusive().of["f"], 3.0);
        let perf = Samples::from_perf(
            "\n\tffff sys_read ([kernel.kallsyms])\n\t 1 read@@GLIBC_2.2.5 (/lib/libc.so.6)\n\t 2 f (/x)\n\t 3 main (/x)\n\n\n\t 4 a b (/x)\n",
        );
        assert_eq!(perf.stacks[0].0, ["main", "f", "read@@GLIBC_2.2.5", "sys_read_[k]"]);
        assert_eq!(perf.own().of.keys().collect::<Vec<_>>(), ["a b", "sys_read_[k]"]);
        assert_eq!(perf.modules().len(), 2);
    }

    #[test]
    fn what_is_no_stack_is_an_error() {
        assert!(Samples::from_folded("main;f x", 99.0).unwrap_err().to_string().contains("no time"));
    }
}
