use proptest::prelude::*;
use tracer_ebpf::abi::allocation::SizeFrom;

use super::*;
use crate::allocators::assembled::{Built, build, installed};
use crate::allocators::plan::Skipped;

mod installed_libraries;

/// A shared object from C, optimised a little, with calls between its exported functions going straight or, as by default,
/// through the PLT.
fn shared(source: &str, options: &[&str]) -> Built {
    build("source.c", source, &[&["-shared", "-fPIC", "-O1", "-nostdlib", "-fno-builtin"], options].concat())
}

/// An allocator that serves every call itself.
const ALLOCATOR: &str = "
    char heap[1 << 20]; unsigned long used;
    void *malloc(unsigned long n) { used += n; return heap + used; }
    void free(void *p) {}";

fn plan(built: &[&Built]) -> Result<Plan, NoAllocator> {
    let modules: Vec<_> = built.iter().map(|built| built.module()).collect();
    discover(&modules, Options::default())
}

/// `module:name` of every probe.
fn probed(plan: &Plan) -> Vec<String> {
    plan.probes.iter().map(|probe| format!("{}:{}", probe.module, probe.function)).collect()
}

fn reason<'a>(skipped: &'a [Skipped], function: &str) -> &'a SkipReason {
    &skipped.iter().find(|skipped| skipped.function == function).expect("it is skipped").reason
}

#[test]
fn an_unknown_allocator_is_read_from_its_machine_code() {
    let built = shared(
        "
        char heap[1 << 20]; unsigned long used;
        void *malloc(unsigned long n) { used += n; return heap + used; }
        void *calloc(unsigned long n, unsigned long size) { return malloc(n * size); }
        void *realloc(void *p, unsigned long n) { if (p) return p; return malloc(n); }
        void *memalign(unsigned long a, unsigned long n) { used = (used + a) & -a; used += n; return heap + used; }",
        &[],
    );
    let plan = plan(&[&built]).expect("there is an allocator");
    assert_eq!(probed(&plan), ["0:malloc", "0:memalign"]);
    assert!(plan.probes.iter().all(|probe| probe.family == "other"));
    assert_eq!(reason(&plan.skipped, "calloc"), &SkipReason::HandsOn { to: "malloc".to_owned(), all: true });
    assert_eq!(reason(&plan.skipped, "realloc"), &SkipReason::HandsOn { to: "malloc".to_owned(), all: false });
}

#[test]
fn of_functions_that_hand_on_in_a_circle_one_is_kept() {
    let built = shared(
        "
        void *malloc(unsigned long n); void *memalign(unsigned long a, unsigned long n);
        void *valloc(unsigned long n) { return memalign(4096, n); }
        void *pvalloc(unsigned long n) { return valloc(n); }
        void *memalign(unsigned long a, unsigned long n) { if (a == 1) return valloc(n); return (void *)n; }",
        &[],
    );
    let plan = plan(&[&built]).expect("one function is kept");
    assert_eq!(probed(&plan).len(), 1, "{plan}");
    assert_eq!(plan.skipped.len(), 2, "{plan}");
}

#[test]
fn operators_that_call_malloc_are_left_to_it() {
    let allocator = shared(ALLOCATOR, &[]);
    let calling = shared("void *malloc(unsigned long); void *_Znwm(unsigned long n) { return malloc(n); }", &[]);
    let plan_of_calling = plan(&[&calling, &allocator]).expect("malloc is there");
    assert_eq!(probed(&plan_of_calling), ["1:malloc"]);
    let own = shared("char heap[9999]; long used; void *_Znwm(unsigned long n) { return heap + (used += n); }", &[]);
    let plan_of_own = plan(&[&own, &allocator]).expect("malloc is there");
    assert_eq!(probed(&plan_of_own), ["0:_Znwm", "1:malloc"]);
}

#[test]
fn rust_is_probed_only_over_an_unknown_allocator() {
    let allocator = shared(ALLOCATOR, &[]);
    let rust = |body: &str| {
        let name = "_RNvCsfLfy6EI15iL_7___rustc12___rust_alloc";
        let source = format!(".globl {name}\n.type {name},@function\n{name}: {body}\n.size {name},.-{name}");
        build("source.S", &source, &["-shared", "-nostdlib"])
    };
    let over_malloc = rust("jmp 1f; 1: jmp *malloc@GOTPCREL(%rip)");
    assert_eq!(probed(&plan(&[&over_malloc, &allocator]).expect("malloc is there")), ["1:malloc"]);
    let over_unknown = rust("jmp 1f; 1: lea 8(%rdi),%rax; ret");
    let plan = plan(&[&over_unknown, &allocator]).expect("malloc is there");
    assert_eq!(probed(&plan), ["0:_RNvCsfLfy6EI15iL_7___rustc12___rust_alloc", "1:malloc"]);
}

#[test]
fn go_leaves_small_objects_to_its_sized_functions() {
    let function =
        |name: &str| format!(".globl {name}\n.type {name},@function\n{name}: push %rbp\nret\n.size {name},.-{name}\n");
    let old = build("source.S", &function("runtime.mallocgc"), &["-shared", "-nostdlib"]);
    let old_plan = plan(&[&old]).expect("mallocgc is there");
    assert_eq!((old_plan.probes[0].delegates, old_plan.probes.len()), (Delegates::Never, 1));
    assert_eq!(old_plan.probes[0].size, Some(SizeFrom::GoArgument0));

    let sized: String = (0..300).map(|class| function(&format!("runtime.mallocgcSmallNoScanSC{class}"))).collect();
    let new = build("source.S", &(function("runtime.mallocgc") + &sized), &["-shared", "-nostdlib"]);
    let new_plan = plan(&[&new]).expect("mallocgc is there");
    assert_eq!(new_plan.probes[0].delegates, Delegates::SmallGoArgument0);
    // There are fewer counters than functions.
    assert_eq!((new_plan.probes.len(), new_plan.skipped.len()), (255, 46));
    assert!(new_plan.skipped.iter().all(|skipped| skipped.reason == SkipReason::NoCounterLeft));
}

#[test]
fn all_of_several_allocators_are_probed() {
    let (first, second) = (shared(ALLOCATOR, &[]), shared(ALLOCATOR, &[]));
    let plan = plan(&[&first, &second]).expect("there are two");
    assert_eq!(probed(&plan), ["0:malloc", "1:malloc"]);
    assert_eq!(plan.remarks, [Remark::Interposed { first: 0, behind: vec![1] }]);
    assert!(plan.to_string().contains("calls by name reach the allocator of built"), "{plan}");
}

#[test]
fn a_wrapper_is_left_out_for_what_it_wraps() {
    let wrapper = shared(
        "void *dlsym(void *, const char *);
        void *malloc(unsigned long n) { return ((void *(*)(unsigned long))dlsym((void *)-1, \"malloc\"))(n); }",
        &[],
    );
    let allocator = shared(ALLOCATOR, &[]);
    let plan_of_both = plan(&[&wrapper, &allocator]).expect("there is an allocator behind");
    assert_eq!(probed(&plan_of_both), ["1:malloc"]);
    assert_eq!(reason(&plan_of_both.skipped, "malloc"), &SkipReason::Wrapper { of: "built".to_owned() });
    // Alone it is all there is.
    assert_eq!(probed(&plan(&[&wrapper]).expect("it may be one itself")), ["0:malloc"]);
}

#[test]
fn the_loader_and_resolvers_are_left_out() {
    let loader = shared(&format!("int _rtld_global; {ALLOCATOR}"), &[]);
    let error = plan(&[&loader]).expect_err("the loader's does not count");
    assert_eq!(reason(&error.skipped, "malloc"), &SkipReason::Loader);

    let resolver = shared(
        "static void *own(unsigned long n) { return (void *)n; }
        static void *choose(void) { return own; }
        void *malloc(unsigned long) __attribute__((ifunc(\"choose\")));",
        &[],
    );
    let error = plan(&[&resolver]).expect_err("the function has no name");
    assert_eq!(reason(&error.skipped, "malloc"), &SkipReason::IndirectFunction);
}

#[test]
fn names_at_one_address_are_one_function() {
    let source = format!(
        "{ALLOCATOR}
        void *__libc_malloc(unsigned long n) __attribute__((alias(\"malloc\")));
        int gnu_get_libc_version;"
    );
    let plan = plan(&[&shared(&source, &[])]).expect("there is an allocator");
    assert_eq!(probed(&plan), ["0:malloc"]);
    assert_eq!(
        (plan.probes[0].aliases.as_slice(), plan.probes[0].family),
        (["__libc_malloc".to_owned()].as_slice(), "glibc")
    );
}

#[test]
fn old_versions_of_a_function_are_functions_too() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let map = directory.path().join("map");
    std::fs::write(&map, "V1 { malloc; };\nV2 { malloc; } V1;").expect("the map is written");
    let option = format!("-Wl,--version-script={}", map.display());
    let built = shared(
        "void *new(unsigned long n) { return (void *)n; }
        void *old(unsigned long n) { return (void *)(n + 1); }
        __asm__(\".symver new,malloc@@V2\\n.symver old,malloc@V1\");",
        &[&option],
    );
    let mut names = probed(&plan(&[&built]).expect("there is an allocator"));
    names.sort_unstable();
    assert_eq!(names, ["0:malloc", "0:malloc@V1"]);
}

#[test]
fn only_the_layer_asked_for_is_probed() {
    let built = shared(&format!("{ALLOCATOR} void *mmap(void *p, unsigned long n) {{ return p; }}"), &[]);
    let module = [built.module()];
    let of = |layer| discover(&module, Options { layer, ..Options::default() }).expect("both layers are there");
    let heap = of(Layer::Heap);
    assert_eq!(probed(&heap), ["0:malloc"]);
    assert_eq!(reason(&heap.skipped, "mmap"), &SkipReason::OtherLayer(Layer::Mappings));
    assert_eq!(probed(&of(Layer::Mappings)), ["0:mmap"]);
    assert!(discover(&module, Options { layer: Layer::Objects, ..Options::default() }).is_err());
}

#[test]
fn functions_that_release_are_there_on_request() {
    let built = shared(ALLOCATOR, &[]);
    let plan = discover(&[built.module()], Options { releases: true, ..Options::default() }).expect("both are there");
    assert_eq!(probed(&plan), ["0:malloc", "0:free"]);
    assert_eq!((plan.probes[1].role, plan.probes[1].gives_back), (Role::Release, Some(0)));
    assert_eq!(plan.probes[1].cookie(3), None);
    assert_eq!(
        plan.probes[0].cookie(3),
        Some(tracer_ebpf::abi::allocation::Cookie::new(
            3,
            SizeFrom::Argument0,
            Delegates::Never,
            plan.probes[0].placement.displacement
        ))
    );
}

const PROGRAM: &str = "#include <stdlib.h>\nint main(int n, char **v) { return realloc(malloc(n), 8) == 0; }";

#[test]
fn a_static_program_has_its_allocator_inside() {
    let built = build("program.c", PROGRAM, &["-static"]);
    let plan = plan(&[&built]).expect("it holds glibc's");
    assert!(plan.probes.iter().all(|probe| probe.family == "glibc"), "{plan}");
    assert_eq!(plan.probes.iter().filter(|probe| probe.function == "malloc").count(), 1, "{plan}");
    let realloc = plan.probes.iter().find(|probe| probe.function == "realloc").expect("it is linked");
    assert_eq!((realloc.delegates, &realloc.calls), (Delegates::NullArgument0, &Calls::HandsOn("malloc".to_owned())));
}

#[test]
fn a_stripped_static_program_has_none_until_its_debug_file_is_there() {
    let whole = build("program.c", PROGRAM, &["-static"]);
    let stripped = build("program.c", PROGRAM, &["-static", "-s"]);
    let error = plan(&[&stripped]).expect_err("nothing has a name");
    assert_eq!((error.modules, error.stripped.as_slice()), (1, ["built".to_owned()].as_slice()));
    let text = error.to_string();
    for part in [
        "built is stripped",
        "glibc",
        "jemalloc",
        "`--symbol my_alloc`",
        "`--offset built+0x4011d6`",
        "install the program's separate debug file",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }

    let mut module = stripped.module();
    module.add_debug_file(&whole.file()).expect("the whole file has the symbols");
    let with_debug_file = discover(&[module], Options::default()).expect("now there are names");
    assert_eq!(with_debug_file.probes, plan(&[&whole]).expect("it has names").probes);
}

/// A program may have 100 MiB of it.
#[test]
fn code_is_read_only_where_there_is_something_to_probe() {
    let read = |source: &str| {
        let built = shared(source, &[]);
        let file = built.file();
        let mut module = ModuleSymbols::read("built", &file).expect("gcc writes ELF");
        let had = !module.code.is_empty();
        module.read_code(&file).expect("it was read before");
        (had, module.code.is_empty())
    };
    assert_eq!(read(ALLOCATOR), (true, false));
    assert_eq!(read("int f(int n) { return n + 1; }"), (false, false));
}

#[test]
fn other_files_are_refused() {
    let object = |bytes: &[u8]| object::File::parse(bytes).map(|file| ModuleSymbols::read("x", &file).map(drop));
    let mut bytes = shared(ALLOCATOR, &[]).bytes;
    // e_machine: AArch64.
    bytes[18] = 183;
    assert!(matches!(object(&bytes), Ok(Err(crate::allocators::SymbolsError::Architecture(_)))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The target controls its files: whatever is in them, there is an answer.
    #[test]
    fn damaged_files_do_no_harm(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
        static WHOLE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
            let source = format!("
                {ALLOCATOR}
                void *realloc(void *p, unsigned long n) {{ if (p) return p; return malloc(n); }}
                void *calloc(unsigned long n, unsigned long m) {{ return malloc(n * m); }}");
            shared(&source, &[]).bytes
        });
        let mut bytes = WHOLE.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(file) = object::File::parse(bytes.as_slice())
            && let Ok(module) = ModuleSymbols::read("damaged", &file)
        {
            let plan = discover(&[module], Options { releases: true, ..Options::default() });
            if let Ok(plan) = plan {
                prop_assert!(!plan.to_string().is_empty());
            }
        }
    }
}
