use super::{
    find::{Found, Missed, Module, Reason, find},
    *,
};
use crate::{
    allocators::{
        Layer, ModuleSymbols, Options, Plan, SkipReason,
        assembled::{Built, build},
        discover,
    },
    unwind::function_extents,
};

#[test]
fn forms_say_where_the_size_is() {
    let form = |text: &str| {
        let NamedFunction { place, form } = NamedFunction::symbol(text).unwrap();
        (place, form.role, form.size, form.gives_back)
    };
    let named = |name: &str, role, size, gives_back| (Place::Symbol(name.to_owned()), role, size, gives_back);
    let allocates = |name, size| named(name, Role::Allocate, Some(size), None);
    for (text, expected) in [
        ("my_alloc", allocates("my_alloc", SizeFrom::Argument0)),
        ("my_alloc:0", allocates("my_alloc", SizeFrom::Argument0)),
        ("my_alloc:3", allocates("my_alloc", SizeFrom::Argument3)),
        ("my_calloc:0*1", allocates("my_calloc", SizeFrom::Product01)),
        ("pool::calloc:1*2", allocates("pool::calloc", SizeFrom::Product12)),
        ("pool::alloc", allocates("pool::alloc", SizeFrom::Argument0)),
        ("runtime.mallocgc:go", allocates("runtime.mallocgc", SizeFrom::GoArgument0)),
        ("my_realloc:realloc", named("my_realloc", Role::Resize, Some(SizeFrom::Argument1), Some(0))),
        ("my_free:free", named("my_free", Role::Release, None, Some(0))),
    ] {
        assert_eq!(form(text), expected, "{text}");
    }
}

#[test]
fn offsets_are_a_file_and_an_address() {
    for (text, module, address, size) in [
        ("server+0x4011d6", "server", 0x4011d6, SizeFrom::Argument0),
        ("/opt/a+0xb/libstdc++.so.6+0xAB:1", "/opt/a+0xb/libstdc++.so.6", 0xab, SizeFrom::Argument1),
    ] {
        let NamedFunction { place, form } = NamedFunction::offset(text).unwrap();
        assert_eq!(place, Place::Address { module: module.to_owned(), address });
        assert_eq!(form.size, Some(size));
    }
}

#[test]
fn what_cannot_be_meant_is_told_with_what_can() {
    for text in ["", ":1"] {
        assert_eq!(NamedFunction::symbol(text), Err(ParseError::NoName), "{text}");
    }
    for text in ["", "server", "server+4011d6", "+0x10", "server+0x", "server+0x1g", "server+0x10000000000000000"] {
        assert_eq!(NamedFunction::offset(text), Err(ParseError::NoOffset), "{text}");
    }
    for text in ["f:4", "f:", "f:1*0", "f:0*2", "f:malloc"] {
        let error = NamedFunction::symbol(text).unwrap_err();
        assert!(error.to_string().contains("`:0*1`"), "{text}: {error}");
    }
}

/// A program without a known allocator. The second argument is a size, and the first instruction is single-stepped.
const SOURCE: &str = "
    char heap[1 << 20]; unsigned long used;
    __attribute__((noinline)) void *pool_take(void *pool, unsigned long n) { used += n; return heap + used + (pool != 0); }
    static __attribute__((noinline)) void helper(void) { used++; }
    void (*other)(void) = helper;
    int main(int n, char **v) { return pool_take(v, n) != 0; }";

fn program(options: &[&str]) -> Built {
    build("source.c", SOURCE, &[&["-O1", "-no-pie"], options].concat())
}

/// What the user names, in modules called `/bin/program`, `/lib/1/library`, `/lib/2/library`, …
fn look(built: &[&Built], debug: Option<&Built>, named: &[&str]) -> (Vec<Found>, Vec<Missed>, Vec<String>) {
    let parse = |text: &&str| {
        if text.contains("+0x") { NamedFunction::offset(text).unwrap() } else { NamedFunction::symbol(text).unwrap() }
    };
    let named: Vec<NamedFunction> = named.iter().map(parse).collect();
    let path = |index: usize| if index == 0 { "/bin/program".to_owned() } else { format!("/lib/{index}/library") };
    let paths: Vec<String> = (0..built.len()).map(path).collect();
    let files: Vec<_> = built.iter().map(|built| built.file()).collect();
    let debug = debug.map(Built::file);
    let mut symbols: Vec<_> =
        files.iter().zip(&paths).map(|(file, path)| ModuleSymbols::read(path, file).unwrap()).collect();
    for (symbols, file) in symbols.iter_mut().zip(&files) {
        symbols.read_code(file).unwrap();
    }
    let extents: Vec<_> = built.iter().map(|built| || function_extents(built.bytes.as_slice()).unwrap()).collect();
    let modules: Vec<_> = (0..built.len())
        .map(|index| Module {
            path: &paths[index],
            file: &files[index],
            debug: debug.as_ref(),
            code: &symbols[index].code,
            extents: &extents[index],
        })
        .collect();
    let (found, missed) = find(&modules, &named, false);
    (found, missed, paths)
}

/// The plan for one program with what the user names.
fn plan(built: &Built, found: &[Found]) -> Plan {
    discover(&[built.module()], Options { by_hand: found, ..Options::default() }).expect("something is named")
}

#[test]
fn a_function_is_found_by_name_and_by_address() {
    let (whole, stripped) = (program(&[]), program(&["-s"]));
    let (address, length) = whole.symbol("pool_take");
    let by_address = format!("program+{address:#x}:1");
    let mut plans = Vec::new();
    for (built, named, name) in [
        (&whole, "pool_take:1", "pool_take"),
        (&whole, by_address.as_str(), "pool_take"),
        (&stripped, by_address.as_str(), by_address.trim_end_matches(":1")),
    ] {
        let (found, missed, _) = look(&[built], None, &[named]);
        assert_eq!((found.len(), missed.as_slice()), (1, &[][..]), "{named}");
        let entry = &found[0].entry;
        assert_eq!((entry.name.as_str(), entry.address, entry.length), (name, address, length), "{named}");
        let plan = plan(built, &found);
        let [probe] = plan.probes.as_slice() else { panic!("{plan}") };
        assert_eq!((probe.family, probe.size, probe.elf_address), (FAMILY, Some(SizeFrom::Argument1), address));
        plans.push((probe.placement.clone(), probe.file_offset));
    }
    // The extent of a function without a symbol is known from its unwind information: the probe goes where it is cheap.
    assert!(plans.iter().all(|plan| *plan == plans[0]), "{plans:?}");
    // The debug file's names are as good as the program's.
    let (found, missed, _) = look(&[&stripped], Some(&whole), &["pool_take:1"]);
    assert_eq!((found[0].entry.address, missed.as_slice()), (address, &[][..]));
}

#[test]
fn what_is_missed_has_a_reason_and_a_next_step() {
    let (whole, stripped) = (program(&[]), program(&["-s"]));
    let (address, _) = whole.symbol("pool_take");
    let (data, _) = whole.symbol("heap");
    let inside = format!("program+{:#x}", address + 1);
    let in_data = format!("program+{data:#x}");
    let reason = |built: &[&Built], named: &str| {
        let (found, missed, _) = look(built, None, &[named]);
        assert_eq!(found, [], "{named}");
        missed[0].clone()
    };
    for built in [&whole, &stripped] {
        assert_eq!(reason(&[built], &inside).reason, Reason::Inside(address));
        assert!(matches!(reason(&[built], &in_data).reason, Reason::NoCode { .. }));
    }
    let missed = reason(&[&whole], "pool_tak").to_string();
    assert!(missed.starts_with("pool_tak: no function has this name; there are pool_take. "), "{missed}");
    assert!(missed.contains("--offset program+0x4011d6"), "{missed}");
    let missed = reason(&[&stripped], "pool_take");
    assert!(missed.reason.may_come() && missed.to_string().contains("--offset program+0x"), "{missed}");
    assert!(reason(&[&whole], "helper:free").to_string().contains("add that, or leave this out"));
    let library = build("library.c", "void f(void) {}", &["-shared"]);
    let modules = [&whole, &library, &library];
    let missed = reason(&modules, "other+0x10");
    assert_eq!(
        (missed.reason.may_come(), missed.to_string().as_str()),
        (true, "other+0x10: the process maps no file of this name; it maps program, library, library")
    );
    let missed = reason(&modules, "library+0x10").to_string();
    assert!(missed.ends_with("give the path of one: /lib/1/library, /lib/2/library"), "{missed}");
    let (in_library, _) = library.symbol("f");
    let (found, missed, paths) = look(&modules, None, &[&format!("/lib/2/library+{in_library:#x}"), "f"]);
    assert_eq!(missed, []);
    let at: Vec<_> = found.iter().map(|found| (found.named, paths[usize::from(found.entry.module)].as_str())).collect();
    assert_eq!(at, [(0, "/lib/2/library"), (1, "/lib/1/library"), (1, "/lib/2/library")]);
}

#[test]
fn resolvers_and_bytes_that_are_no_instruction_are_told_apart() {
    let source = "
        static void *own(unsigned long n) { return (void *)n; }
        static void *choose(void) { return own; }
        void *chosen(unsigned long) __attribute__((ifunc(\"choose\")));
        __asm__(\".globl broken\\nbroken: .byte 0x06, 0x06\");";
    let built = build("source.c", source, &["-shared", "-fPIC"]);
    let (_, missed, _) = look(&[&built], None, &["chosen"]);
    assert_eq!(missed[0].reason, Reason::Resolver);
    let (_, missed, _) = look(&[&built], None, &[&format!("program+{:#x}", built.symbol("broken").0)]);
    assert_eq!(missed[0].reason, Reason::NoInstruction);
}

#[test]
fn what_is_named_stands_beside_what_is_found() {
    let source = "
        char heap[1 << 20]; unsigned long used;
        void *malloc(unsigned long n) { used += n; return heap + used; }
        void *pool_take(unsigned long n) { return malloc(n); }";
    let built = build("source.c", source, &["-shared", "-fPIC", "-O1", "-nostdlib", "-fno-builtin"]);
    let (found, ..) = look(&[&built], None, &["pool_take", "malloc"]);
    let plan = plan(&built, &found);
    let probed: Vec<_> = plan.probes.iter().map(|probe| (probe.function.as_str(), probe.family)).collect();
    assert_eq!(probed, [("malloc", "other"), ("pool_take", FAMILY)]);
    assert_eq!(plan.skipped.len(), 1);
    assert_eq!(plan.skipped[0].reason, SkipReason::ProbedAnyway);
    assert!(plan.to_string().contains("probe pool_take (named by hand)"), "{plan}");
    // Of another layer it is alone.
    let plan = discover(&[built.module()], Options { by_hand: &found, layer: Layer::Mappings, ..Options::default() });
    assert_eq!(plan.expect("two are named").probes.len(), 2);
}
