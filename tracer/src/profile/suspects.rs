//! Leak suspects: sites whose bytes in use grow, and go on growing. [`crate::estimate::growth`] has the mathematics.

use super::name::NameIndex;
use crate::estimate::growth::{Growth, Reason, Verdict};

/// All sites, by what is to be thought of them.
#[derive(Clone, Debug, Default)]
pub struct Suspects {
    /// Sites that grow, then those that may, then those that are steady; fastest growth first.
    pub sites: Vec<Suspect>,
}

/// A site, and whether it grows.
#[derive(Clone, Copy, Debug)]
pub struct Suspect {
    /// The function.
    pub name: NameIndex,
    /// What its old blocks did after the first third of the recording.
    pub growth: Growth,
    /// What is to be thought of it.
    pub verdict: Verdict,
    /// The age of its oldest sampled block in use, nanoseconds.
    pub oldest_ns: Option<u64>,
}

impl Suspects {
    /// Puts sites in order.
    pub fn new(mut sites: Vec<Suspect>) -> Self {
        let rank = |suspect: &Suspect| match suspect.verdict {
            Verdict::Growing => 0,
            Verdict::Unknown(_) if suspect.growth.bytes_per_minute.low > 0.0 => 1,
            Verdict::Unknown(_) => 2,
            Verdict::Steady => 3,
        };
        let rate = |suspect: &Suspect| suspect.growth.bytes_per_minute.value;
        sites.sort_by(|a, b| rank(a).cmp(&rank(b)).then(rate(b).total_cmp(&rate(a))).then(a.name.cmp(&b.name)));
        Self { sites }
    }

    /// How many grow, may grow, and are steady.
    pub fn counts(&self) -> [usize; 3] {
        let count = |is: fn(Verdict) -> bool| self.sites.iter().filter(|suspect| is(suspect.verdict)).count();
        [
            count(|verdict| verdict == Verdict::Growing),
            count(|verdict| matches!(verdict, Verdict::Unknown(_))),
            count(|verdict| verdict == Verdict::Steady),
        ]
    }
}

impl Suspect {
    /// What speaks for the verdict, for people.
    pub fn evidence(&self) -> String {
        let Growth { blocks, significance, stay, share, .. } = self.growth;
        match self.verdict {
            Verdict::Growing => format!(
                "{blocks} sampled blocks came to stay after the first third ({significance:.1} standard errors), of which at least \
                 {:.0} % stay; most others are released",
                100.0 * stay
            ),
            Verdict::Steady => {
                format!("at most {:.1} % of what it allocates or has in use can be growth", 100.0 * share)
            }
            Verdict::Unknown(reason) => match reason {
                Reason::TooShort => "recorded for less than 5 s".into(),
                Reason::LongLived => "most of its blocks live longer than the recording: record longer".into(),
                Reason::StillReleased => "its old blocks are still being released: record longer".into(),
                Reason::Slowing => "its growth slowed down, or came in one go".into(),
                Reason::ByChance => {
                    format!("{significance:.1} standard errors, which among so many sites may be chance")
                }
                Reason::Uncertain => "too few samples, or what it has in use goes up and down".into(),
            },
        }
    }
}
