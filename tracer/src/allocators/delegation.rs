//! Does a function serve its calls itself, or hand them on to another one that is counted too?
//!
//! The answer decides between counting twice, once and not at all, and differs between builds of one library: what one
//! inlines the next calls through the PLT. So it is read from the machine code of the library at hand, by following all
//! paths from the entry, with the arguments in question as constants ([`super::register_state`]) and memory as unknown.

use std::collections::{HashMap, HashSet};

use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};

use super::code::Code;
use super::register_state::Registers;

/// Instructions followed for one question and depth, at most.
const BUDGET: usize = 4_000;
/// Calls followed into each other, at most. `posix_memalign` of glibc needs one, an unoptimised Rust program three.
const MAX_DEPTH: usize = 3;

/// Where control can leave a module, or be recognised in it.
#[derive(Clone, Debug, Default)]
pub struct Landmarks {
    /// Entries of allocating functions of this module that are probed, with their names.
    pub entries: HashMap<u64, String>,
    /// Slots of the global offset table that hold the address of such a function, with its name.
    pub slots: HashMap<u64, String>,
    /// Slots that hold the address of another function of the module.
    pub local_slots: HashMap<u64, u64>,
    /// Slots that hold the address of a function that does not return.
    pub no_return: HashSet<u64>,
}

/// Which function, called how.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// ELF virtual address of its entry.
    pub entry: u64,
    /// What is known of its arguments.
    pub arguments: Registers,
    /// How it fails.
    pub failure: Failure,
}

/// How the function in question tells its caller that it has failed. Returns that do are not looked at: they count for
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It returns null.
    Null,
    /// It returns a number that is not zero.
    Number,
}

/// What the machine code shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// No path to another allocating function was found.
    NoPath,
    /// A path leads to this function; others return successfully without.
    SomePath(String),
    /// Every path that returns successfully goes through another allocating function, this one first.
    EveryPath(String),
}

/// Looks at a function.
///
/// First at the function alone, then into the functions that it calls, and so on: what is near says more than what is far.
pub fn evidence(code: &Code<'_>, landmarks: &Landmarks, question: Question) -> Evidence {
    let mut best = Evidence::NoPath;
    for max_depth in 0..=MAX_DEPTH {
        match (look(code, landmarks, question, max_depth), &best) {
            (Evidence::EveryPath(name), _) => return Evidence::EveryPath(name),
            (found @ Evidence::SomePath(_), Evidence::NoPath) => best = found,
            _ => {}
        }
    }
    best
}

fn look(code: &Code<'_>, landmarks: &Landmarks, question: Question, max_depth: usize) -> Evidence {
    let mut search = Search {
        code,
        landmarks,
        question,
        max_depth,
        budget: BUDGET,
        info: InstructionInfoFactory::new(),
        reached: None,
        summaries: HashMap::new(),
    };
    let summary = search.follow(question.entry, question.arguments, 0);
    match search.reached {
        None => Evidence::NoPath,
        Some(name) if summary.returns => Evidence::SomePath(name),
        Some(name) => Evidence::EveryPath(name),
    }
}

/// What calling a function can lead to.
#[derive(Clone, Copy, Default)]
struct Summary {
    /// It can return without having passed a landmark.
    returns: bool,
    /// It can reach a landmark.
    reaches: bool,
}

struct Search<'a, 'data> {
    code: &'a Code<'data>,
    landmarks: &'a Landmarks,
    question: Question,
    max_depth: usize,
    budget: usize,
    info: InstructionInfoFactory,
    reached: Option<String>,
    summaries: HashMap<(u64, Registers, usize), Summary>,
}

/// Where a branch or call goes.
enum Destination<'a> {
    /// To an allocating function.
    Landmark(&'a str),
    /// To code of the module.
    Local(u64),
    /// Out of the module, or through a pointer.
    Elsewhere,
    /// To a function that does not return.
    NoReturn,
}

impl<'a> Search<'a, '_> {
    fn follow(&mut self, entry: u64, registers: Registers, depth: usize) -> Summary {
        let key = (entry, registers, depth);
        if let Some(summary) = self.summaries.get(&key) {
            return *summary;
        }
        // For recursion: a call of a function that is being followed is taken to return.
        self.summaries.insert(key, Summary { returns: true, reaches: false });
        let mut summary = Summary::default();
        let mut seen = HashSet::new();
        let mut paths = vec![(entry, registers)];
        while let Some((mut address, mut registers)) = paths.pop() {
            while seen.insert((address, registers)) {
                // Branches to landmarks are recognised as such: who arrives at one here fell into it, behind a call that
                // does not return.
                if address != entry && self.landmarks.entries.contains_key(&address) {
                    break;
                }
                let Some(rest) = self.budget.checked_sub(1) else {
                    return Summary { returns: true, ..summary };
                };
                self.budget = rest;
                let Some(instruction) = self.code.instruction(address) else { break };
                match self.advance(&instruction, &mut registers, &mut summary, &mut paths, depth) {
                    Some(next) => address = next,
                    None => break,
                }
            }
        }
        self.summaries.insert(key, summary);
        summary
    }

    /// Carries out one instruction; gives the next address on this path, or `None` where the path ends.
    fn advance(
        &mut self,
        instruction: &Instruction,
        registers: &mut Registers,
        summary: &mut Summary,
        paths: &mut Vec<(u64, Registers)>,
        depth: usize,
    ) -> Option<u64> {
        match instruction.flow_control() {
            FlowControl::Next => {
                registers.step(instruction, &mut self.info);
                (instruction.mnemonic() != Mnemonic::Hlt).then(|| instruction.next_ip())
            }
            FlowControl::ConditionalBranch | FlowControl::XbeginXabortXend => {
                let taken = registers.condition(instruction);
                if taken != Some(false) {
                    match self.at(instruction.near_branch_target()) {
                        Destination::Landmark(name) => self.reach(name, summary),
                        Destination::Local(target) => paths.push((target, *registers)),
                        Destination::Elsewhere | Destination::NoReturn => {}
                    }
                }
                (taken != Some(true)).then(|| instruction.next_ip())
            }
            FlowControl::UnconditionalBranch | FlowControl::IndirectBranch => match self.destination(instruction) {
                Destination::Landmark(name) => {
                    self.reach(name, summary);
                    None
                }
                Destination::Local(target) => Some(target),
                Destination::Elsewhere => {
                    summary.returns = true;
                    None
                }
                Destination::NoReturn => None,
            },
            FlowControl::Call | FlowControl::IndirectCall => {
                let returns = match self.destination(instruction) {
                    Destination::Landmark(name) => {
                        self.reach(name, summary);
                        false
                    }
                    Destination::Local(target) if depth < self.max_depth => {
                        let callee = self.follow(target, *registers, depth + 1);
                        summary.reaches |= callee.reaches;
                        callee.returns
                    }
                    Destination::Local(_) | Destination::Elsewhere => true,
                    Destination::NoReturn => false,
                };
                registers.forget_over_call();
                returns.then(|| instruction.next_ip())
            }
            FlowControl::Return => {
                let failed = depth == 0
                    && match (registers.get(Register::RAX), self.question.failure) {
                        (Some(value), Failure::Null) => value == 0,
                        // An `int`.
                        (Some(value), Failure::Number) => value as u32 != 0,
                        (None, _) => false,
                    };
                summary.returns |= !failed;
                None
            }
            // A trap for what cannot happen (ud2, int3).
            FlowControl::Exception | FlowControl::Interrupt => None,
        }
    }

    fn reach(&mut self, name: &str, summary: &mut Summary) {
        summary.reaches = true;
        self.reached.get_or_insert_with(|| name.to_owned());
    }

    fn destination(&self, instruction: &Instruction) -> Destination<'a> {
        let landmarks = self.landmarks;
        if instruction.op0_kind() == OpKind::Memory {
            let slot = instruction.memory_displacement64();
            if !instruction.is_ip_rel_memory_operand() {
                return Destination::Elsewhere;
            }
            return match (landmarks.slots.get(&slot), landmarks.local_slots.get(&slot)) {
                (Some(name), _) => Destination::Landmark(name),
                (_, Some(target)) => self.at(*target),
                _ if landmarks.no_return.contains(&slot) => Destination::NoReturn,
                _ => Destination::Elsewhere,
            };
        }
        if !matches!(instruction.op0_kind(), OpKind::NearBranch64) {
            return Destination::Elsewhere;
        }
        self.at(instruction.near_branch_target())
    }

    fn at(&self, target: u64) -> Destination<'a> {
        match self.landmarks.entries.get(&target) {
            Some(name) if target != self.question.entry => Destination::Landmark(name),
            _ => Destination::Local(target),
        }
    }
}

#[cfg(test)]
mod tests;
