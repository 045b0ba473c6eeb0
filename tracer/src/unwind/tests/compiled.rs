//! Special cases, in files that gcc makes of a few lines of assembly.

use std::io::Write;
use std::process::{Command, Stdio};

use object::{CompressionFormat, Object, ObjectSection, ObjectSymbol};
use tracer_ebpf::abi::process::MappingKind;
use tracer_ebpf::abi::unwind::{PAGE_SIZE, RBP_SAME, RBP_SAVED, Rule, RuleKind};

use crate::unwind::{BuildError, ModuleTable, Registers, Step, step};

/// A linked file and its table.
struct Linked {
    bytes: Vec<u8>,
    table: ModuleTable,
}

impl Linked {
    /// Assembles and links without any library.
    fn library(assembly: &str, arguments: &[&str]) -> Self {
        Self::link(assembly, &[&["-shared", "-nostdlib"], arguments].concat())
    }

    fn program(assembly: &str, arguments: &[&str]) -> Self {
        Self::link(assembly, &[&["-static", "-nostdlib"], arguments].concat())
    }

    fn link(assembly: &str, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("linked");
        let mut gcc = Command::new("gcc")
            .args(arguments)
            .args(["-x", "assembler", "-", "-o"])
            .arg(&output)
            .stdin(Stdio::piped())
            .spawn()
            .expect("this test needs gcc");
        gcc.stdin.take().unwrap().write_all(assembly.as_bytes()).unwrap();
        assert!(gcc.wait().unwrap().success());
        let bytes = std::fs::read(output).unwrap();
        let table = ModuleTable::build(bytes.as_slice()).unwrap();
        Self { bytes, table }
    }

    fn address(&self, symbol: &str) -> u64 {
        let file = object::File::parse(self.bytes.as_slice()).unwrap();
        let found = file.symbols().find(|found| found.name() == Ok(symbol));
        found.unwrap_or_else(|| panic!("no symbol {symbol}")).address()
    }

    fn section(&self, name: &str) -> u64 {
        let file = object::File::parse(self.bytes.as_slice()).unwrap();
        file.section_by_name(name).unwrap_or_else(|| panic!("no section {name}")).address()
    }

    fn rule(&self, symbol: &str) -> Rule {
        self.table.lookup(self.address(symbol)).unwrap()
    }

    fn kind(&self, symbol: &str) -> u8 {
        self.rule(symbol).kind
    }
}

/// A function of 32 bytes with these CFI directives. Aligned, so that functions follow each other without gaps.
fn function(name: &str, directives: &str) -> String {
    format!(
        ".text\n.balign 32\n.globl {name}\n.type {name}, @function\n{name}:\n.cfi_startproc\n{directives}\n.skip 32, 0x90\n\
         .cfi_endproc\n.size {name}, 32\n"
    )
}

const fn rule(kind: RuleKind, rbp: u8, rbp_offset: i16, cfa_offset: i32) -> Rule {
    Rule { kind: kind as u8, rbp, rbp_offset, cfa_offset }
}

const END: u8 = RuleKind::End as u8;
const NO_INFO: u8 = RuleKind::NoInfo as u8;
const UNSUPPORTED: u8 = RuleKind::Unsupported as u8;

#[test]
fn plain_frames() {
    let linked = Linked::library(
        &[
            function("leaf", ""),
            function("pushed", ".cfi_def_cfa_offset 48\n.cfi_offset rbp, -16"),
            function("framed", ".cfi_def_cfa rbp, 16\n.cfi_offset rbp, -16"),
        ]
        .concat(),
        &[],
    );
    assert_eq!(linked.rule("leaf"), rule(RuleKind::Rsp, RBP_SAME, -8, 8));
    assert_eq!(linked.rule("pushed"), rule(RuleKind::Rsp, RBP_SAVED, -16, 48));
    assert_eq!(linked.rule("framed"), rule(RuleKind::Rbp, RBP_SAVED, -16, 16));
}

#[test]
fn dereferenced_frames() {
    // 0x0f: DW_CFA_def_cfa_expression; 0x10: DW_CFA_expression; 0x76, 0x77: DW_OP_breg6 (rbp), breg7 (rsp); 6: deref;
    // 0x23: plus_uconst.
    let drap = ".cfi_escape 0x10, 6, 2, 0x76, 0x00\n.cfi_escape 0x0f, 3, 0x76, 0x78, 0x06";
    let linked = Linked::library(
        &[
            function("drap", drap),
            function("deref_rbp", ".cfi_escape 0x0f, 5, 0x76, 0x70, 0x06, 0x23, 0x08"),
            function("deref_rsp", ".cfi_escape 0x0f, 5, 0x77, 0x10, 0x06, 0x23, 0x20"),
        ]
        .concat(),
        &[],
    );
    assert_eq!(linked.rule("drap"), rule(RuleKind::Drap, RBP_SAME, 0, -8));
    assert_eq!(linked.rule("deref_rbp"), rule(RuleKind::DerefRbp, RBP_SAME, -16, 8));
    assert_eq!(linked.rule("deref_rsp"), rule(RuleKind::DerefRsp, RBP_SAME, 16, 32));
    // CFA = *(rbp - 8), caller's rbp = *rbp.
    let frame = Registers { rip: 0, rsp: 0x1000, rbp: 0x2000 };
    let memory = |address| Some(if address == 0x1ff8 { 0x9000 } else { address + 1 });
    assert_eq!(
        step(linked.rule("drap"), frame, memory),
        Step::Caller(Registers { rip: 0x8ff9, rsp: 0x9000, rbp: 0x2001 })
    );
}

#[test]
fn what_the_walk_does_not_know_is_unsupported() {
    let linked = Linked::library(
        &[
            function("other_register", ".cfi_def_cfa rbx, 16"),
            function("return_address_elsewhere", ".cfi_offset rip, -16"),
            function("return_address_in_register", ".cfi_register rip, rax"),
            function("other_stack", ".cfi_escape 0x10, 7, 2, 0x77, 0x08"),
            function("rbp_lost", ".cfi_undefined rbp"),
            function("rbp_far", ".cfi_offset rbp, -40000"),
            function("deref_and_rbp", ".cfi_offset rbp, -24\n.cfi_escape 0x0f, 3, 0x77, 0x10, 0x06"),
            function("long_expression", ".cfi_escape 0x0f, 5, 0x77, 0x10, 0x06, 0x06, 0x96"),
            function("not_an_instruction", ".cfi_escape 0x3f"),
            function("stack_of_states", &".cfi_remember_state\n".repeat(100)),
        ]
        .concat(),
        &[],
    );
    for name in [
        "other_register",
        "return_address_elsewhere",
        "return_address_in_register",
        "other_stack",
        "rbp_lost",
        "rbp_far",
        "deref_and_rbp",
        "long_expression",
        "not_an_instruction",
        "stack_of_states",
    ] {
        assert_eq!(linked.rule(name), rule(RuleKind::Unsupported, RBP_SAME, 0, 0), "{name}");
    }
    let coverage = linked.table.coverage();
    assert_eq!((coverage.text, coverage.unsupported, coverage.with_rule), (320, 320, 0));
}

#[test]
fn unreadable_instructions_spoil_only_what_follows() {
    let linked = Linked::library(
        &function("half", ".skip 16, 0x90\n.cfi_def_cfa_offset 16\n.skip 8, 0x90\n.cfi_escape 0x3f"),
        &[],
    );
    let half = linked.address("half");
    assert_eq!(linked.table.lookup(half), Some(rule(RuleKind::Rsp, RBP_SAME, -8, 8)));
    assert_eq!(linked.table.lookup(half + 16), Some(rule(RuleKind::Rsp, RBP_SAME, -8, 16)));
    assert_eq!(linked.table.lookup(half + 24).unwrap().kind, UNSUPPORTED);
}

#[test]
fn signal_frames() {
    // As glibc's sysdeps/unix/sysv/linux/x86_64/sigaction.c: CFA = *(rsp + 160), rip at rsp + 168, rbp at rsp + 120.
    let cfa = ".cfi_escape 0x0f, 4, 0x77, 0xa0, 0x01, 0x06";
    let rip = ".cfi_escape 0x10, 16, 3, 0x77, 0xa8, 0x01";
    let rbp = ".cfi_escape 0x10, 6, 3, 0x77, 0xf8, 0x00";
    let linked = Linked::library(
        &[
            function("restore", &format!(".cfi_signal_frame\n{cfa}\n{rip}\n{rbp}")),
            function("without_rbp", &format!(".cfi_signal_frame\n{cfa}\n{rip}")),
            function("ordinary", ".cfi_signal_frame"),
        ]
        .concat(),
        &[],
    );
    assert_eq!(linked.rule("restore"), rule(RuleKind::Signal, RBP_SAME, 0, 0));
    assert_eq!([linked.kind("without_rbp"), linked.kind("ordinary")], [UNSUPPORTED; 2]);
    let frame = Registers { rip: 0, rsp: 0x1000, rbp: 0 };
    let interrupted = Registers { rip: 0x10a8, rsp: 0x10a0, rbp: 0x1078 };
    assert_eq!(step(linked.rule("restore"), frame, Some), Step::Interrupted(interrupted));
}

#[test]
fn linkage_table() {
    let call = ".text\n.globl caller\ncaller:\n.cfi_startproc\ncall elsewhere@PLT\nret\n.cfi_endproc\n";
    let linked = Linked::library(call, &["-Wl,-z,lazy"]);
    let plt = linked.section(".plt");
    let at = |offset| linked.table.lookup(plt + offset).unwrap();
    assert_eq!(at(16), rule(RuleKind::Plt, RBP_SAME, 0, 11));
    assert_eq!(at(31), at(16));
    // The stub's second instruction, 6 bytes in, pushes; the third begins at 11.
    let caller = |rip| step(at(16), Registers { rip, rsp: 0x1000, rbp: 7 }, Some);
    assert_eq!(caller(plt + 16 + 6), Step::Caller(Registers { rip: 0x1000, rsp: 0x1008, rbp: 7 }));
    assert_eq!(caller(plt + 16 + 11), Step::Caller(Registers { rip: 0x1008, rsp: 0x1010, rbp: 7 }));
}

#[test]
fn gaps_are_ends_when_narrow_and_unknown_when_wide() {
    let gap = |bytes| format!(".skip {bytes}, 0x90\n");
    let plain = |name: &str| format!(".globl {name}\n{name}:\n.cfi_startproc\n.skip 8, 0x90\n.cfi_endproc\n");
    let source = [".text\n", &plain("a"), &gap(15), &plain("b"), &gap(16), &plain("c"), &plain("d")].concat();
    let linked = Linked::library(&source, &[]);
    let kinds = |symbol: &str, offsets: [u64; 3]| {
        offsets.map(|offset| linked.table.lookup(linked.address(symbol) + offset).unwrap().kind)
    };
    let known = RuleKind::Rsp as u8;
    assert_eq!(kinds("a", [7, 8, 22]), [known, END, END]);
    assert_eq!(kinds("b", [0, 7, 8]), [known, known, NO_INFO]);
    assert_eq!(kinds("c", [0, 7, 8]), [known; 3]);
    assert_eq!(linked.table.lookup(linked.address("c") - 1).unwrap().kind, NO_INFO);
    assert_eq!(linked.table.coverage().no_info, 16);
}

#[test]
fn ends_of_stacks() {
    let linked = Linked::library(&function("thread_start", ".cfi_undefined rip"), &[]);
    assert_eq!(linked.rule("thread_start"), rule(RuleKind::End, RBP_SAME, 0, 0));
}

/// Functions without unwind information, each 32 bytes, behind one with it.
fn bare(names: &[&str]) -> String {
    let bare = |name: &&str| {
        format!(".balign 32\n.globl {name}\n.type {name}, @function\n{name}:\n.skip 32, 0x90\n.size {name}, 32\n")
    };
    function("described", "") + &names.iter().map(bare).collect::<String>()
}

#[test]
fn outermost_functions_without_information() {
    let names = ["_start", "_start_c", "other", "__libc_start_main", "main", "another"];
    let program = Linked::program(&bare(&names), &[]);
    assert_eq!(names.map(|name| program.kind(name)), [END, END, NO_INFO, END, END, NO_INFO]);
    assert_eq!(program.table.lookup(program.address("_start_c") + 31).unwrap().kind, END);

    let library = Linked::library(&bare(&names), &[]);
    assert_eq!(names.map(|name| library.kind(name)), [END, END, NO_INFO, END, NO_INFO, NO_INFO]);

    // Without symbols there is still the entry point.
    let stripped = Linked::program(&bare(&names), &["-s"]);
    let start = program.address("_start");
    let kinds = [0, 21, 22, 32].map(|offset| stripped.table.lookup(start + offset).unwrap().kind);
    assert_eq!(kinds, [END, END, NO_INFO, NO_INFO]);
}

#[test]
fn outermost_functions_of_musl() {
    let threads = bare(&["__clone", "other", "start"]);
    // Assembly gives no size: the function goes on to the next one.
    let unsized_clone = threads.replace(".size __clone, 32\n", "");
    assert_ne!(threads, unsized_clone);
    for source in [threads.clone(), unsized_clone] {
        let linked = Linked::library(&source, &[]);
        let kinds =
            |symbol: &str| [0, 31].map(|offset| linked.table.lookup(linked.address(symbol) + offset).unwrap().kind);
        assert_eq!([kinds("__clone"), kinds("other"), kinds("start")], [[END; 2], [NO_INFO; 2], [END; 2]]);
    }
    // Its .debug_frame describes __clone, wrongly.
    let described = function("__clone", ".cfi_def_cfa_offset 0") + &function("start", "");
    let linked = Linked::library(&format!(".cfi_sections .debug_frame\n{described}"), &[]);
    assert_eq!([linked.kind("__clone"), linked.kind("start")], [END, RuleKind::Rsp as u8]);

    let elsewhere = Linked::library(&threads.replace("__clone", "clone2"), &[]);
    assert_eq!(elsewhere.kind("start"), NO_INFO);
}

/// The return address is that of the first instruction, and is looked up as that of a call before it.
#[test]
fn the_return_from_a_signal_handler_is_known_by_name_and_bytes() {
    let returns = |code: &str| {
        let bare = bare(&["other"]);
        let ends = ".size __restore_rt, .-__restore_rt\n.skip 32, 0x90\n";
        let source =
            format!("{bare}nop\n.globl __restore_rt\n.type __restore_rt, @function\n__restore_rt:\n{code}\n{ends}");
        let linked = Linked::library(&source, &[]);
        let start = linked.address("__restore_rt");
        [start - 2, start - 1, start, start + 8, start + 9].map(|address| linked.table.lookup(address).unwrap().kind)
    };
    const SIGNAL: u8 = RuleKind::Signal as u8;
    assert_eq!(returns("mov $15, %rax\nsyscall"), [NO_INFO, SIGNAL, SIGNAL, SIGNAL, NO_INFO]);
    assert_eq!(returns("mov $14, %rax\nsyscall"), [NO_INFO; 5]);
}

#[test]
fn debug_frame_alone_and_beside_eh_frame() {
    // Many, so that the linker finds compression worth while.
    let many: String =
        (0..64).map(|n| function(&format!("f{n}"), &format!(".cfi_def_cfa_offset {}", 16 * n))).collect();
    let expected = Linked::library(&many, &[]).table;
    let debug = format!(".cfi_sections .debug_frame\n{many}");
    for compression in ["none", "zlib"] {
        let linked = Linked::library(&debug, &[&format!("-Wl,--compress-debug-sections={compression}")]);
        let file = object::File::parse(linked.bytes.as_slice()).unwrap();
        assert_eq!(file.section_by_name(".eh_frame").map_or(0, |section| section.size()), 0);
        let section = file.section_by_name(".debug_frame").unwrap();
        assert_eq!(section.compressed_file_range().unwrap().format != CompressionFormat::None, compression != "none");
        assert_eq!(linked.rule("f2"), rule(RuleKind::Rsp, RBP_SAME, -8, 32));
        assert_eq!(linked.table.rules(), expected.rules());
        assert_eq!(linked.table.coverage(), expected.coverage());
    }

    let both = Linked::library(&format!(".cfi_sections .eh_frame, .debug_frame\n{many}"), &[]);
    assert_eq!(both.table.coverage(), expected.coverage());
    assert_eq!(both.table.rules(), expected.rules());
}

#[test]
fn section_headers_are_not_needed() {
    let mut linked = Linked::library(&(function("one", "") + &function("two", ".cfi_def_cfa rbp, 16")), &[]);
    let file = object::File::parse(linked.bytes.as_slice()).unwrap();
    assert!(file.section_by_name(".eh_frame_hdr").is_some());
    // e_shoff, then e_shnum and e_shstrndx.
    linked.bytes[0x28..0x30].fill(0);
    linked.bytes[0x3c..0x40].fill(0);
    let table = ModuleTable::build(linked.bytes.as_slice()).unwrap();
    assert_eq!(
        (table.pages(), table.rows(), table.rules()),
        (linked.table.pages(), linked.table.rows(), linked.table.rules())
    );
}

#[test]
fn without_information_all_text_goes_by_frame_pointer() {
    let linked = Linked::library(".text\n.globl f\nf: .skip 5000, 0x90\n", &[]);
    let text = linked.section(".text");
    assert_eq!(linked.table.lookup(text), None);
    let mapping = text & !(PAGE_SIZE - 1)..(text & !(PAGE_SIZE - 1)) + 2 * PAGE_SIZE;
    assert_eq!(linked.table.pieces(mapping.clone()), [(mapping, MappingKind::FramePointer)]);
    assert_eq!((linked.table.coverage().text, linked.table.coverage().frame_pointer), (5000, 5000));
}

#[test]
fn run_times_that_keep_frame_pointers() {
    let code = [
        &function("before", ""),
        ".globl runtime\nruntime: .skip 8160, 0x90\n",
        &function("between", ""),
        ".globl bare\nbare: .skip 96, 0x90\n",
        &function("after", ""),
    ]
    .concat();
    let go = Linked::library(&format!("{code}\n.section .go.buildinfo, \"aw\"\n.quad 1\n"), &[]);
    let v8 = "\n.globl Builtins_Abort\n.type Builtins_Abort, @function\n.set Builtins_Abort, runtime + 64\n.size Builtins_Abort, 64\n";
    let v8 = Linked::library(&(code.clone() + v8), &[]);
    for (linked, kind) in [(go, MappingKind::Go), (v8, MappingKind::FramePointer)] {
        let [runtime, between, after] = ["runtime", "between", "after"].map(|symbol| linked.address(symbol));
        let start = linked.address("before") & !(PAGE_SIZE - 1);
        let (end, table_end) = (start + 16 * PAGE_SIZE, (after & !(PAGE_SIZE - 1)) + PAGE_SIZE);
        let expected =
            [(start..runtime, MappingKind::Table), (runtime..between, kind), (between..table_end, MappingKind::Table)];
        assert_eq!(linked.table.pieces(start..end), expected);
        assert_eq!(linked.table.pieces(runtime + 1..runtime + 9), [(runtime + 1..runtime + 9, kind)]);
        assert_eq!(linked.table.pieces(end..end + PAGE_SIZE), []);
        assert_eq!(linked.kind("bare"), NO_INFO);
        let coverage = linked.table.coverage();
        assert_eq!((coverage.frame_pointer, coverage.no_info), (8160, 96));
    }
    let c = Linked::library(&code, &[]);
    assert_eq!(c.table.frame_pointer_text(), []);
}

/// A stripped node has no names for V8's builtins, but V8's functions are exported.
#[test]
fn builtins_of_a_stripped_v8_are_the_widest_gap() {
    let build = |bytes: u32, export: &str| {
        let export = function(export, "");
        let gap = format!(".globl gap\ngap: .skip {bytes}, 0x90\n");
        Linked::library(&[&function("before", ""), gap.as_str(), &function("after", ""), &export].concat(), &[])
    };
    const V8: &str = "_ZNK2v88internal7Isolate18embedded_blob_codeEv";
    let linked = build(1 << 20, V8);
    let gap = linked.address("gap")..linked.address("after");
    assert_eq!(linked.table.frame_pointer_text(), std::slice::from_ref(&gap));
    assert_eq!(build(1 << 18, V8).table.frame_pointer_text(), []);
    assert_eq!(build(1 << 20, "other").table.frame_pointer_text(), []);
}

#[test]
fn what_is_no_program_for_this_processor_is_an_error() {
    let linked = Linked::library(&function("f", ""), &[]);
    let build = |change: fn(&mut Vec<u8>)| {
        let mut bytes = linked.bytes.clone();
        change(&mut bytes);
        ModuleTable::build(bytes.as_slice())
    };
    assert!(matches!(build(|bytes| bytes.clear()), Err(BuildError::Elf(_))));
    assert!(matches!(build(|bytes| bytes[4] = 1), Err(BuildError::Elf(_))));
    assert!(matches!(build(|bytes| bytes[0x12] = 183), Err(BuildError::Machine(183))));
    assert!(build(|_| ()).is_ok());
}
