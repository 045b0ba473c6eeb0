//! What became of the blocks. The fields are described in [`super`].

use serde::Serialize;

use super::{Bounded, Counted};
use crate::estimate::Interval;
use crate::estimate::growth::{Change, Verdict};
use crate::estimate::survival::Quantile;
use crate::profile::lifetimes::Lifetimes;
use crate::profile::live::Amount;
use crate::profile::suspects::Suspect;
use crate::profile::{LiveHeap, NameIndex, Profile};
use crate::recording::Recording;

#[derive(Serialize)]
pub struct Live<'a> {
    in_use: Shown,
    peak: Peak,
    temporary: Temporary,
    resident: Resident,
    not_followed: Counted,
    lifetimes: Vec<Site<'a>>,
    suspects: Vec<Grown<'a>>,
    snapshots: Snapshots<'a>,
}

#[derive(Serialize)]
struct Shown {
    samples: u64,
    bytes: Bounded,
    objects: Bounded,
}

impl Shown {
    fn new(amount: &Amount) -> Self {
        let Amount { measure, bytes, objects } = amount;
        Self {
            samples: measure.samples,
            bytes: Bounded::new(measure.bytes.value, *bytes),
            objects: Bounded::new(measure.objects.value, *objects),
        }
    }
}

#[derive(Serialize)]
struct Peak {
    time_ns: u64,
    #[serde(flatten)]
    amount: Shown,
}

#[derive(Serialize)]
struct Temporary {
    within_ns: u64,
    share_of_bytes: Share,
    share_of_objects: Share,
    #[serde(flatten)]
    amount: Shown,
    undecided: Shown,
}

#[derive(Serialize)]
struct Resident {
    begin: u64,
    end: u64,
    explained: Option<Share>,
}

#[derive(Serialize)]
struct Share {
    value: f64,
    low: f64,
    high: Option<f64>,
}

impl Share {
    fn new(part: f64, interval: Interval, whole: f64) -> Self {
        let share = |part: f64| if whole > 0.0 { part / whole } else { 0.0 };
        Self {
            value: share(part),
            low: share(interval.low),
            high: interval.high.is_finite().then(|| share(interval.high)),
        }
    }
}

#[derive(Serialize)]
struct Site<'a> {
    function: &'a str,
    in_use: Shown,
    samples: u64,
    released: u64,
    oldest_ns: Option<u64>,
    median: Age,
    p90: Age,
    survival: Vec<Longer>,
}

#[derive(Serialize)]
struct Age {
    value: Option<u64>,
    low: u64,
    high: Option<u64>,
}

impl From<Quantile> for Age {
    fn from(Quantile { value, low, high }: Quantile) -> Self {
        Self { value, low, high }
    }
}

#[derive(Serialize)]
struct Longer {
    age_ns: u64,
    #[serde(flatten)]
    share: Share,
}

#[derive(Serialize)]
struct Grown<'a> {
    function: &'a str,
    verdict: &'static str,
    reason: Option<&'static str>,
    evidence: String,
    blocks: u64,
    bytes_per_minute: Rate,
    significance: f64,
    stay: f64,
    oldest_ns: Option<u64>,
}

#[derive(Serialize)]
struct Rate {
    value: i64,
    low: i64,
    high: i64,
}

impl From<Change> for Rate {
    /// Rounded, the interval outwards.
    fn from(Change { value, low, high }: Change) -> Self {
        Self { value: value.round() as i64, low: low.floor() as i64, high: high.ceil() as i64 }
    }
}

#[derive(Serialize)]
struct Snapshots<'a> {
    every_ns: u64,
    times_ns: &'a [u64],
    total: Vec<Bounded>,
    sites: Vec<Curve<'a>>,
}

#[derive(Serialize)]
struct Curve<'a> {
    function: &'a str,
    bytes: Vec<Bounded>,
}

impl<'a> Live<'a> {
    pub fn new(recording: &Recording, profile: &'a Profile, heap: &'a LiveHeap) -> Self {
        let name = |name: NameIndex| profile.names.text(name);
        let [begin, end] = recording.about.live.as_ref().map_or([0; 2], |live| live.resident_bytes);
        let in_use = &heap.in_use;
        let whole = profile.allocated.attributed();
        let temporary = &heap.temporary;
        let Amount { measure, bytes, objects } = temporary.amount;
        let curve = |amounts: &[Amount]| amounts.iter().map(|a| Bounded::new(a.measure.bytes.value, a.bytes)).collect();
        Self {
            in_use: Shown::new(in_use),
            peak: Peak { time_ns: heap.peak.time_ns, amount: Shown::new(&heap.peak.amount) },
            temporary: Temporary {
                within_ns: temporary.within_ns,
                share_of_bytes: Share::new(measure.bytes.value, bytes, whole.bytes.value),
                share_of_objects: Share::new(measure.objects.value, objects, whole.objects.value),
                amount: Shown::new(&temporary.amount),
                undecided: Shown::new(&temporary.undecided),
            },
            resident: Resident {
                begin,
                end,
                explained: (end > 0).then(|| Share::new(in_use.measure.bytes.value, in_use.bytes, end as f64)),
            },
            not_followed: Counted::new(profile.source, heap.not_followed),
            lifetimes: heap.sites.iter().map(|site| Site::new(name(site.name), site)).collect(),
            suspects: heap.suspects.sites.iter().map(|suspect| Grown::new(name(suspect.name), suspect)).collect(),
            snapshots: Snapshots {
                every_ns: heap.snapshots.every_ns,
                times_ns: &heap.snapshots.times_ns,
                total: curve(&heap.snapshots.total),
                sites: heap
                    .snapshots
                    .sites
                    .iter()
                    .map(|(site, amounts)| Curve { function: name(*site), bytes: curve(amounts) })
                    .collect(),
            },
        }
    }
}

impl<'a> Site<'a> {
    fn new(function: &'a str, site: &Lifetimes) -> Self {
        let survival = site.survival.iter();
        Self {
            function,
            in_use: Shown::new(&site.in_use),
            samples: site.samples,
            released: site.released,
            oldest_ns: site.oldest_ns,
            median: site.median.into(),
            p90: site.p90.into(),
            survival: survival
                .map(|s| Longer { age_ns: s.age_ns, share: Share::new(s.share, s.interval, 1.0) })
                .collect(),
        }
    }
}

impl<'a> Grown<'a> {
    fn new(function: &'a str, suspect: &Suspect) -> Self {
        let growth = &suspect.growth;
        Self {
            function,
            verdict: suspect.verdict.name(),
            reason: match suspect.verdict {
                Verdict::Unknown(reason) => Some(reason.name()),
                Verdict::Growing | Verdict::Steady => None,
            },
            evidence: suspect.evidence(),
            blocks: growth.blocks,
            bytes_per_minute: growth.bytes_per_minute.into(),
            significance: growth.significance,
            stay: growth.stay,
            oldest_ns: suspect.oldest_ns,
        }
    }
}
