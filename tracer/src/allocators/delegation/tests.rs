use super::*;
use crate::allocators::assembled::library;

/// Looks at `f`; `target` is the function that is counted.
fn found(functions: &[(&str, &str)], arguments: Registers, failure: Failure) -> Evidence {
    let built = library(functions);
    let mut landmarks = Landmarks::default();
    landmarks.entries.insert(built.symbol("target").0, "target".to_owned());
    landmarks.entries.insert(built.symbol("f").0, "f".to_owned());
    evidence(&built.module().code, &landmarks, Question { entry: built.symbol("f").0, arguments, failure })
}

fn of_body(body: &str) -> Evidence {
    found(&[("f", body), ("target", "ret"), ("other", "ret")], Registers::default(), Failure::Null)
}

fn some() -> Evidence {
    Evidence::SomePath("target".to_owned())
}

fn every() -> Evidence {
    Evidence::EveryPath("target".to_owned())
}

#[test]
fn calls_and_tail_calls_are_paths() {
    assert_eq!(of_body("call target; ret"), every());
    assert_eq!(of_body("test %rdi,%rdi; je 1f; jmp target; 1: call target; ret"), every());
    assert_eq!(of_body("test %rdi,%rdi; je target; ret"), some());
    assert_eq!(of_body("call other; ret"), Evidence::NoPath);
    // Not reached: behind a return, behind a trap.
    assert_eq!(of_body("ret; jmp target"), Evidence::NoPath);
    assert_eq!(of_body("test %rdi,%rdi; je 1f; ret; 1: ud2; jmp target"), Evidence::NoPath);
}

#[test]
fn failing_returns_do_not_count() {
    let checked = "test %rdi,%rdi; js 1f; jmp target; 1: xor %eax,%eax; ret";
    assert_eq!(of_body(checked), every());
    // The number 0 is success.
    let functions = [("f", checked), ("target", "ret")];
    assert_eq!(found(&functions, Registers::default(), Failure::Number), some());
    let numbered = [("f", "test %rdi,%rdi; js 1f; jmp target; 1: mov $22,%eax; ret"), ("target", "ret")];
    assert_eq!(found(&numbered, Registers::default(), Failure::Number), every());
    assert_eq!(found(&numbered, Registers::default(), Failure::Null), some());
}

#[test]
fn arguments_decide_which_path_is_taken() {
    let functions =
        [("f", "mov %rdi,%rbx; call init; cmp $16,%rbx; jbe target; ret"), ("target", "ret"), ("init", "ret")];
    for (argument, expected) in [(16, every()), (17, Evidence::NoPath)] {
        assert_eq!(found(&functions, Registers::with(Register::RDI, argument), Failure::Null), expected);
    }
    assert_eq!(found(&functions, Registers::default(), Failure::Null), some());
}

#[test]
fn called_functions_are_followed_to_a_depth() {
    let depth = |bodies: &[(&'static str, &'static str)]| {
        let mut functions = vec![("target", "ret")];
        functions.extend(bodies);
        found(&functions, Registers::default(), Failure::Null)
    };
    assert_eq!(depth(&[("f", "call a; ret"), ("a", "jmp target")]), every());
    assert_eq!(
        depth(&[("f", "call a; ret"), ("a", "call b; ret"), ("b", "call c; ret"), ("c", "call target; ret")]),
        every()
    );
    // Tail calls add no depth.
    assert_eq!(depth(&[("f", "jmp a"), ("a", "jmp b"), ("b", "jmp c"), ("c", "jmp d"), ("d", "jmp target")]), every());
    assert_eq!(
        depth(&[
            ("f", "call a; ret"),
            ("a", "call b; ret"),
            ("b", "call c; ret"),
            ("c", "call d; ret"),
            ("d", "call target; ret"),
        ]),
        Evidence::NoPath
    );
}

#[test]
fn what_does_not_return_ends_a_path() {
    // `stop` never returns, and `target` lies behind the call of it; so does a path that falls into `target`.
    let falls = [("f", "test %rdi,%rdi; jne 1f; ret; 1: call stop"), ("target", "ret"), ("stop", "1: jmp 1b")];
    assert_eq!(found(&falls, Registers::default(), Failure::Null), Evidence::NoPath);
    let handled = [("f", "test %rdi,%rdi; jne target; call stop; ret"), ("target", "ret"), ("stop", "1: jmp 1b")];
    assert_eq!(found(&handled, Registers::default(), Failure::Null), every());
}

#[test]
fn loops_and_recursion_end() {
    assert_eq!(of_body("1: dec %rdi; jne 1b; jmp target"), every());
    assert_eq!(of_body("test %rdi,%rdi; je target; call f; ret"), some());
    // A counter makes every round a new state.
    assert_eq!(of_body("xor %eax,%eax; 1: add $1,%rax; cmp $-1,%rax; jne 1b; jmp target"), Evidence::NoPath);
}

#[test]
fn slots_are_recognised() {
    let source = [("f", "jmp *slot(%rip)"), ("target", "ret"), ("stop", "call *slot(%rip); jmp target")];
    let built = library(&[source[0], source[1], source[2], (".bss", "slot: .skip 8")]);
    let module = built.module();
    let (slot, _) = built.symbol("slot");
    let look = |name, landmarks: &Landmarks| {
        let question =
            Question { entry: built.symbol(name).0, arguments: Registers::default(), failure: Failure::Null };
        evidence(&module.code, landmarks, question)
    };
    let mut landmarks = Landmarks::default();
    landmarks.entries.insert(built.symbol("target").0, "target".to_owned());
    assert_eq!(look("f", &landmarks), Evidence::NoPath);
    landmarks.local_slots.insert(slot, built.symbol("target").0);
    assert_eq!(look("f", &landmarks), every());
    landmarks.local_slots.clear();
    landmarks.slots.insert(slot, "elsewhere".to_owned());
    assert_eq!(look("f", &landmarks), Evidence::EveryPath("elsewhere".to_owned()));
    landmarks.slots.clear();
    landmarks.no_return.insert(slot);
    assert_eq!(look("stop", &landmarks), Evidence::NoPath);
}
