use super::*;
use crate::allocators::assembled::{Built, build, installed, library};

/// Offsets of the exits of `f` from the begin of the functions that they are in.
fn of(built: &Built, functions: &[&str]) -> Option<Vec<(String, u64)>> {
    let exits = exits(&built.module(), built.symbol("f").0)?;
    let place = |exit: u64| {
        let within = |name: &&&str| {
            let (address, size) = built.symbol(name);
            (address..address + size).contains(&exit)
        };
        let name = functions.iter().find(within).expect("exits are in functions");
        ((*name).to_owned(), exit - built.symbol(name).0)
    };
    Some(exits.into_iter().map(place).collect())
}

fn of_body(body: &str) -> Option<Vec<u64>> {
    let built = library(&[("f", body), ("other", "ret")]);
    Some(of(&built, &["f"])?.into_iter().map(|(_, offset)| offset).collect())
}

#[test]
fn every_return_is_an_exit() {
    assert_eq!(of_body("ret"), Some(vec![0]));
    assert_eq!(of_body("test %rdi,%rdi; je 1f; ret; 1: push %rbx; call other; pop %rbx; ret"), Some(vec![5, 13]));
    // A loop; what is not reached is not looked at.
    assert_eq!(of_body("1: dec %edi; jne 1b; ret; .byte 0xc3"), Some(vec![4]));
    assert_eq!(of_body("ud2; ret"), None);
    assert_eq!(of_body("1: jmp 1b"), None);
}

#[test]
fn functions_that_it_ends_with_are_followed() {
    let built = library(&[("f", "test %rdi,%rdi; je g; jmp h"), ("g", "push %rbx; pop %rbx; ret"), ("h", "ret")]);
    assert_eq!(of(&built, &["f", "g", "h"]), Some(vec![("g".to_owned(), 2), ("h".to_owned(), 0)]));
    // A call is not the end.
    let built = library(&[("f", "push %rbx; call g; pop %rbx; ret"), ("g", "ret")]);
    assert_eq!(of(&built, &["f", "g"]), Some(vec![("f".to_owned(), 7)]));
}

#[test]
fn jumps_through_pointers_are_not_followed() {
    assert_eq!(of_body("test %rdi,%rdi; je 1f; jmp *%rax; 1: ret"), Some(vec![7]));
    assert_eq!(of_body("jmp *%rax"), None);
}

/// What the compiler puts behind such a call is of another function.
#[test]
fn nothing_follows_a_call_that_does_not_return() {
    let source = "extern void abort(void); extern void g(void);
        void *f(long n) { if (n < 0) abort(); g(); return (void *)n; }
        __attribute__((naked)) void data(void) { __asm__(\".byte 0xc3, 0xc3, 0xc3\"); }";
    let built = build("source.c", source, &["-O2", "-shared", "-fPIC", "-fno-asynchronous-unwind-tables"]);
    let found = of(&built, &["f"]).expect("it returns");
    assert_eq!(found.len(), 1, "{found:?}");
}

/// Debian's gperftools: `operator new` returns in its fast path, in the function that fetches from the central cache, and in
/// the one for large blocks.
#[test]
fn exits_of_an_installed_library() {
    const BUILD_ID: &str = "39dfd4a5855703fa6c2469749282f75b18a1aa66";
    let Some(bytes) = installed("/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4", BUILD_ID) else { return };
    let built = Built { bytes };
    let module = built.module();
    let entry = module.functions.iter().find(|function| function.name == "_Znwm").expect("operator new").address;
    let exits = exits(&module, entry).expect("it returns");
    assert!(exits.contains(&(entry + 0x71)), "{exits:x?}");
    for exit in &exits {
        let instruction = module.code.instruction(*exit).expect("an instruction");
        assert_eq!(instruction.flow_control(), FlowControl::Return);
    }
    assert!((3..20).contains(&exits.len()), "{exits:x?}");
}
