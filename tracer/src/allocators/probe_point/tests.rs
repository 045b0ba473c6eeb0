use super::*;
use crate::allocators::assembled::{Built, library};

const NEWEST: KernelUprobes = KernelUprobes { emulates_long_nops: true, rewrites_nop5: true };

fn place_in(built: &Built, kernel: KernelUprobes) -> Result<Placement, Unplaceable> {
    let module = built.module();
    let (entry, length) = built.symbol("f");
    let far_targets = module.code.far_branch_targets(vec![entry + 1], REACH);
    let site = Site {
        entry,
        length,
        size: Some(Register::RDI),
        arguments: &[Register::RSI],
        returns: false,
        far_targets: &far_targets,
    };
    place(&module.code, site, kernel)
}

fn placed(body: &str) -> Placement {
    place_in(&library(&[("f", body)]), KernelUprobes::default()).expect("f can be probed")
}

#[test]
fn an_emulated_first_instruction_is_the_place() {
    for (body, instruction) in [
        ("push %rbp; ret", "push %rbp"),
        ("push %r15; ret", "push %r15"),
        ("nop; ret", "nop"),
        ("jmp 1f; 1: ret", "jmp"),
        ("je 1f; 1: ret", "je"),
    ] {
        let placement = placed(body);
        assert_eq!((placement.offset, placement.displacement), (0, 0), "{body}");
        assert_eq!(placement.execution, Execution::Emulated, "{body}");
        assert!(placement.instruction.starts_with(instruction), "{body}: {}", placement.instruction);
    }
}

#[test]
fn a_place_behind_the_entry_is_found() {
    for (body, offset) in
        [("endbr64; push %rbp; ret", 4), ("test %rdi,%rdi; je 1f; 1: ret", 3), ("cmpb $0,(%rsp); push %r12; ret", 4)]
    {
        let placement = placed(body);
        assert_eq!((placement.offset, placement.execution, &placement.fallback), (offset, Execution::Emulated, &None));
    }
}

#[test]
fn the_displacement_counts_what_was_pushed() {
    for (body, displacement) in [
        ("endbr64; push %rbp; ret", 0),
        ("sub $0x18,%rsp; je 1f; 1: ret", 0x18),
        ("pushq $1; sub $0x10,%rsp; add $8,%rsp; je 1f; 1: ret", 0x10),
        ("lea -0x20(%rsp),%rsp; je 1f; 1: ret", 0x20),
        ("pushq $1; pop %rax; nop; ret", 0),
    ] {
        let placement = placed(body);
        assert_eq!((placement.displacement, &placement.fallback), (displacement, &None), "{body}");
        assert!(placement.offset > 0, "{body}");
    }
}

#[test]
fn an_unknown_or_odd_stack_pointer_ends_the_search() {
    for body in [
        "mov %rax,%rsp; push %rbp; ret",
        "and $-16,%rsp; push %rbp; ret",
        "sub %rax,%rsp; push %rbp; ret",
        "lea -8(%rsp,%rax),%rsp; push %rbp; ret",
        "sub $4,%rsp; push %rbp; ret",
        "sub $0x1000,%rsp; push %rbp; ret",
        "add $8,%rsp; push %rbp; ret",
    ] {
        let placement = placed(body);
        assert_eq!((placement.offset, placement.execution), (0, Execution::Stepped), "{body}");
        assert_eq!(placement.fallback, Some(Fallback::UnknownStack(0)), "{body}");
    }
}

#[test]
fn arguments_must_be_where_they_were() {
    // RSI must stay; RDI, the size, may be copied. Half a register written is a register written.
    for (body, register) in [
        ("xor %esi,%esi; push %rbp; ret", Register::RSI),
        ("mov $1,%sil; push %rbp; ret", Register::RSI),
        ("mov (%rdi),%rdi; push %rbp; ret", Register::RDI),
        ("mov %rdi,%rbx; xor %edi,%edi; push %rbp; ret", Register::RDI),
    ] {
        let placement = placed(body);
        assert_eq!((placement.offset, placement.execution), (0, Execution::Stepped), "{body}");
        assert!(
            matches!(placement.fallback, Some(Fallback::ArgumentWritten(_, written)) if written == register),
            "{body}: {:?}",
            placement.fallback
        );
    }
}

#[test]
fn a_size_may_be_read_from_its_copy() {
    let placement = placed("mov %rdi,%rdx; mov (%rax),%rdi; push %rbp; ret");
    assert_eq!((placement.offset, placement.size_moved_to), (6, Some(Register::RDX)));
    // A copy of the copy; and the copy is not needed while the original is there.
    let placement = placed("mov %rdi,%rdx; mov %rdx,%rcx; xor %edi,%edi; mov %eax,%edx; push %rbp; ret");
    assert_eq!(placement.size_moved_to, Some(Register::RCX));
    assert_eq!(placed("mov %rdi,%rdx; push %rbp; ret").size_moved_to, None);
    // Half of it is no copy.
    assert_eq!(placed("mov %edi,%edx; xor %edi,%edi; push %rbp; ret").offset, 0);
}

#[test]
fn the_straight_line_must_not_end() {
    for (body, at) in [
        ("test %rdi,%rdi; ret; push %rbp; ret", 3),
        ("test %rdi,%rdi; call *%rax; push %rbp; ret", 3),
        // Emulated, but not chosen.
        ("test %rdi,%rdi; call f; push %rbp; ret", 3),
        ("test %rdi,%rdi; ud2; push %rbp; ret", 3),
    ] {
        let placement = placed(body);
        assert_eq!((placement.offset, placement.execution), (0, Execution::Stepped), "{body}");
        assert_eq!(placement.fallback, Some(Fallback::EndOfLine(at)), "{body}");
    }
}

#[test]
fn a_branch_behind_the_entry_rules_a_place_out() {
    // A loop head; a place before a loop head is still good; a loop to the entry is a new call.
    let head = placed("test %rdi,%rdi; 1: push %rax; pop %rax; dec %rdi; jne 1b; ret");
    assert_eq!((head.offset, head.fallback), (0, Some(Fallback::BranchTarget(3))));
    let before = placed("test %rdi,%rdi; push %rax; 1: pop %rax; dec %rdi; jne 1b; ret");
    assert_eq!((before.offset, before.fallback), (3, None));
    let entry = placed("test %rdi,%rdi; push %rax; pop %rax; je f; ret");
    assert_eq!((entry.offset, entry.fallback), (3, None));
}

#[test]
fn a_branch_from_a_part_that_was_moved_away_counts_too() {
    let hot = "test %rdi,%rdi\nback: push %rbp\nje cold\nret";
    let built = library(&[("f", hot), (".text.unlikely", "cold: pop %rbp\njmp back")]);
    let placement = place_in(&built, KernelUprobes::default()).expect("f can be probed");
    assert_eq!((placement.offset, placement.fallback), (0, Some(Fallback::BranchTarget(3))));
}

#[test]
fn a_jump_through_a_pointer_could_go_anywhere() {
    let table = placed("test %rdi,%rdi; push %rbp; jmp *%rax");
    assert_eq!((table.offset, table.fallback), (0, Some(Fallback::IndirectJump(4))));
    // Through a fixed slot it leaves the function.
    let tail_call = placed("test %rdi,%rdi; push %rbp; pop %rbp; jmp *slot(%rip)\n.local slot\n.comm slot,8");
    assert_eq!((tail_call.offset, tail_call.fallback), (3, None));
}

#[test]
fn a_function_without_size_is_probed_at_its_entry() {
    let built = library(&[("f", "test %rdi,%rdi; push %rbp; ret")]);
    let module = built.module();
    let none = BTreeSet::new();
    let site =
        Site { entry: built.symbol("f").0, length: 0, size: None, arguments: &[], returns: false, far_targets: &none };
    let at = |length| place(&module.code, Site { length, ..site }, KernelUprobes::default()).expect("there is code");
    assert_eq!((at(0).offset, at(0).fallback), (0, Some(Fallback::UnknownSize)));
    assert_eq!(at(1 << 40).fallback, Some(Fallback::TooLarge));
    // A size that reaches out of the code.
    assert_eq!(at(1 << 19).fallback, Some(Fallback::Undecodable));
    assert_eq!(place(&module.code, Site { entry: 1 << 50, ..site }, NEWEST), Err(Unplaceable::NotCode));
}

#[test]
fn long_nops_depend_on_the_kernel() {
    let nop5 = library(&[("f", "test %rdi,%rdi\n.byte 0x0f,0x1f,0x44,0,0\npush %rbp; ret")]);
    let nop4 = library(&[("f", "test %rdi,%rdi\n.byte 0x0f,0x1f,0x40,0\npush %rbp; ret")]);
    let place = |built, kernel| place_in(built, kernel).map(|placement| (placement.offset, placement.execution));
    let emulating = KernelUprobes { emulates_long_nops: true, rewrites_nop5: false };
    assert_eq!(place(&nop5, KernelUprobes::default()), Ok((8, Execution::Emulated)));
    assert_eq!(place(&nop5, emulating), Ok((3, Execution::Emulated)));
    assert_eq!(place(&nop5, NEWEST), Ok((3, Execution::Rewritten)));
    assert_eq!(place(&nop4, NEWEST), Ok((3, Execution::Emulated)));
}

#[test]
fn the_begin_of_a_go_function_is_no_end_of_the_line() {
    let go = "cmp 0x10(%r14),%rsp; jbe 1f; sub $0x28,%rsp; nop; add $0x28,%rsp; ret\n\
              1: mov %rax,8(%rsp); call grow; mov 8(%rsp),%rax; jmp f";
    let built = library(&[("f", go), ("grow", "ret")]);
    let placement = place_in(&built, KernelUprobes::default()).expect("f can be probed");
    assert_eq!((placement.instruction.as_str(), placement.displacement), ("nop", 0x28));
    // The same branch to anything else is a branch like others, and emulated.
    let other = placed("cmp 0x10(%r14),%rsp; jbe 1f; sub $0x28,%rsp; nop; ret\n1: mov %rax,8(%rsp); ret");
    assert_eq!(other.offset, 4);
}

#[test]
fn behind_a_frame_that_is_set_up_the_callers_frame_pointer_is_known_or_the_place_is_not_taken() {
    // As Go has it until 1.20.
    let saved = placed("sub $0x28,%rsp; mov %rbp,0x20(%rsp); lea 0x20(%rsp),%rbp; nop; ret");
    assert_eq!((saved.displacement, saved.frame_pointer_saved, saved.instruction.as_str()), (0x28, true, "nop"));
    let not_yet = placed("sub $0x28,%rsp; mov %rbp,0x20(%rsp); nop; ret");
    assert_eq!((not_yet.displacement, not_yet.frame_pointer_saved), (0x28, false));
    let elsewhere = placed("sub $0x28,%rsp; mov %rbp,0x10(%rsp); lea 0x20(%rsp),%rbp; nop; ret");
    assert_eq!((elsewhere.offset, elsewhere.fallback), (0, Some(Fallback::FramePointer(9))));
    let lost = placed("mov %rdi,%rbp; nop; ret");
    assert_eq!((lost.offset, lost.fallback), (0, Some(Fallback::FramePointer(0))));
}

#[test]
fn prefixes_that_the_kernel_refuses() {
    let refused = library(&[("f", ".byte 0x2e; nop; ret")]);
    assert_eq!(place_in(&refused, KernelUprobes::default()), Err(Unplaceable::Refused));
    // A place behind it is as good.
    let behind = placed("cs nop; push %rbp; ret");
    assert_eq!((behind.offset, behind.fallback), (2, None));
}

#[test]
fn a_place_out_of_reach_is_not_taken() {
    let placement = placed(&format!("{} push %rbp; ret", "test %rdi,%rdi; ".repeat(30)));
    assert_eq!((placement.offset, placement.fallback), (0, Some(Fallback::OutOfReach)));
}
