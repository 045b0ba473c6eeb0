//! Why a breakpoint goes to the entry.

use std::fmt;

use iced_x86::Register;

use super::REACH;

/// Why the search for an emulated instruction ended before it found one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// The symbol has no size, so the function's end is unknown.
    UnknownSize,
    /// The function is too large to be searched.
    TooLarge,
    /// Bytes in the function are no instructions.
    Undecodable,
    /// The function jumps through a pointer at this offset.
    IndirectJump(u32),
    /// A branch leads to this offset.
    BranchTarget(u32),
    /// The instruction at this offset writes a register that the probe reads.
    ArgumentWritten(u32, Register),
    /// The instruction at this offset moves the stack pointer by an unknown distance.
    UnknownStack(u32),
    /// The instruction at this offset writes the frame pointer register, and its old value is not where frame pointers go.
    FramePointer(u32),
    /// At this offset, that of the first emulated instruction, something is on the stack above the return address.
    Displaced(u32),
    /// The straight line ends at this offset.
    EndOfLine(u32),
    /// No emulated instruction within reach.
    OutOfReach,
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSize => f.write_str("the symbol has no size"),
            Self::TooLarge => f.write_str("the function is too large to search"),
            Self::Undecodable => f.write_str("the function holds bytes that are no instructions"),
            Self::IndirectJump(at) => write!(f, "it jumps through a pointer at +{at}"),
            Self::BranchTarget(at) => write!(f, "a branch leads to +{at}"),
            Self::ArgumentWritten(at, register) => {
                write!(f, "{} is written at +{at}", format!("{register:?}").to_ascii_lowercase())
            }
            Self::UnknownStack(at) => write!(f, "the stack pointer is unknown after +{at}"),
            Self::FramePointer(at) => write!(f, "the caller's frame pointer is lost at +{at}"),
            Self::Displaced(at) => write!(f, "the return address is not on top of the stack at +{at}"),
            Self::EndOfLine(at) => write!(f, "no emulated instruction before the straight line ends at +{at}"),
            Self::OutOfReach => write!(f, "no emulated instruction in the first {REACH} bytes"),
        }
    }
}
