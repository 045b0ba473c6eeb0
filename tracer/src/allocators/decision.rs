//! Which candidates to probe so that no call counts twice and none is missed: those that serve calls themselves.

use std::collections::{HashMap, HashSet};

use iced_x86::Register;
use tracer_ebpf::abi::allocation::Delegates;

use super::candidates::Candidate;
use super::delegation::{Evidence, Failure, Landmarks, Question, evidence};
use super::plan::{Calls, SkipReason};
use super::register_state::Registers;
use super::symbols::ModuleSymbols;
use super::table::{BlockAt, HandsOn};

/// What becomes of a candidate.
pub(super) enum Decision {
    /// It is probed; these calls are left to another function.
    Probe(Delegates, Calls),
    /// It is left out.
    Skip(SkipReason),
}

/// Decides on every candidate, in their order.
pub(super) fn decide(modules: &[ModuleSymbols<'_>], candidates: &[Candidate]) -> Vec<Decision> {
    let mut landmarks: HashMap<(u16, bool), Landmarks> = HashMap::new();
    let mut decisions = Vec::new();
    for candidate in candidates {
        let module = &modules[usize::from(candidate.module)];
        let landmarks = landmarks
            .entry((candidate.module, candidate.is_release()))
            .or_insert_with(|| self::landmarks(candidates, candidate, module));
        decisions.push(decide_one(candidates, candidate, module, landmarks));
    }
    break_circles(candidates, &mut decisions);
    decisions
}

/// Those that allocate, or those that release, as the given one.
fn like<'a>(candidates: &'a [Candidate], one: &Candidate) -> impl Iterator<Item = &'a Candidate> {
    let releases = one.is_release();
    candidates.iter().filter(move |candidate| candidate.is_release() == releases)
}

/// What branches can lead to in the module of `one`.
fn landmarks(candidates: &[Candidate], one: &Candidate, module: &ModuleSymbols<'_>) -> Landmarks {
    let mut landmarks = Landmarks::default();
    let named: HashSet<&str> =
        like(candidates, one).flat_map(|candidate| candidate.names.iter().map(String::as_str)).collect();
    for candidate in like(candidates, one).filter(|candidate| candidate.module == one.module) {
        landmarks.entries.insert(candidate.address, candidate.name().to_owned());
    }
    for (slot, name) in &module.imports {
        if named.contains(name.as_str()) {
            landmarks.slots.insert(*slot, name.clone());
        } else if ModuleSymbols::never_returns(name) {
            landmarks.no_return.insert(*slot);
        }
    }
    // Those of them that hold a landmark are recognised by the address.
    landmarks.local_slots.clone_from(&module.local_slots);
    landmarks
}

fn decide_one(
    candidates: &[Candidate],
    candidate: &Candidate,
    module: &ModuleSymbols<'_>,
    landmarks: &Landmarks,
) -> Decision {
    let failure = match candidate.function.block {
        BlockAt::StoredAtArgument0 => Failure::Number,
        BlockAt::Returned | BlockAt::Nowhere => Failure::Null,
    };
    let look = |arguments| evidence(&module.code, landmarks, Question { entry: candidate.address, arguments, failure });
    let unless_seen = |calls| Decision::Probe(Delegates::Never, calls);
    match candidate.function.hands_on {
        HandsOn::Never => unless_seen(Calls::None),
        HandsOn::Uncounted(condition) => Decision::Probe(condition, Calls::None),
        HandsOn::When(condition) => match look(meeting(condition)) {
            Evidence::NoPath => unless_seen(Calls::NoneSeen),
            Evidence::SomePath(to) | Evidence::EveryPath(to) => Decision::Probe(condition, Calls::HandsOn(to)),
        },
        HandsOn::WhenPresent(condition) => {
            let other = like(candidates, candidate).find(|other| {
                other.module == candidate.module
                    && std::ptr::eq(other.family, candidate.family)
                    && !std::ptr::eq(other.function, candidate.function)
            });
            match other {
                Some(other) => Decision::Probe(condition, Calls::HandsOn(other.name().to_owned())),
                None => unless_seen(Calls::NoneSeen),
            }
        }
        HandsOn::AnyPath => match look(Registers::default()) {
            Evidence::NoPath => unless_seen(Calls::NoneSeen),
            // A block that is released twice in one call is released once; one that is missed never is.
            Evidence::SomePath(to) if candidate.is_release() => unless_seen(Calls::Sometimes(to)),
            Evidence::SomePath(to) => Decision::Skip(SkipReason::HandsOn { to, all: false }),
            Evidence::EveryPath(to) => Decision::Skip(SkipReason::HandsOn { to, all: true }),
        },
        HandsOn::EveryPath => match look(Registers::default()) {
            Evidence::NoPath => unless_seen(Calls::NoneSeen),
            Evidence::SomePath(to) => unless_seen(Calls::Sometimes(to)),
            Evidence::EveryPath(to) => Decision::Skip(SkipReason::HandsOn { to, all: true }),
        },
    }
}

/// Where functions hand on to each other in a circle, keeps one of them: otherwise nothing would be counted.
fn break_circles(candidates: &[Candidate], decisions: &mut [Decision]) {
    let next: Vec<Option<usize>> = decisions
        .iter()
        .zip(candidates)
        .map(|(decision, candidate)| match decision {
            Decision::Skip(SkipReason::HandsOn { to, .. }) => find(candidates, to, candidate.module),
            _ => None,
        })
        .collect();
    for start in 0..decisions.len() {
        // Whoever was kept ends the chain. A chain longer than there are functions is a circle without the start.
        let follow = |at: &usize| next[*at].filter(|_| matches!(decisions[*at], Decision::Skip(_)));
        let circle = std::iter::successors(follow(&start), follow).take(decisions.len()).any(|at| at == start);
        if let (true, Decision::Skip(SkipReason::HandsOn { to, .. })) = (circle, &decisions[start]) {
            decisions[start] = Decision::Probe(Delegates::Never, Calls::Sometimes(to.clone()));
        }
    }
}

/// The candidate that a name stands for in a module: its own, or else the first in link order.
fn find(candidates: &[Candidate], name: &str, module: u16) -> Option<usize> {
    let matches = |candidate: &Candidate| candidate.names.iter().any(|own| own == name);
    let own = candidates.iter().position(|candidate| candidate.module == module && matches(candidate));
    own.or_else(|| candidates.iter().position(matches))
}

/// Arguments that meet a condition, as constants: the value at its edge.
fn meeting(condition: Delegates) -> Registers {
    match condition {
        Delegates::Never => Registers::default(),
        Delegates::NullArgument0 => Registers::with(Register::RDI, 0),
        Delegates::SmallArgument0 => Registers::with(Register::RDI, 16),
        Delegates::SmallArgument1 => Registers::with(Register::RSI, 16),
        Delegates::SmallGoArgument0 => Registers::with(Register::RAX, 512),
        Delegates::WithoutMapAnonymous => Registers::with(Register::RCX, 0),
    }
}
