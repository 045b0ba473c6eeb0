//! Libraries of Debian 12, with what was verified of them: the places by disassembly, and that each call is counted once
//! by probing them in a program that calls every function a known number of times.

use tracer_ebpf::abi::allocation::SizeFrom;

use super::*;

fn plan_of(libraries: &[(&str, &str)]) -> Option<Plan> {
    let mut files = Vec::new();
    for (path, build_id) in libraries {
        files.push(installed(path, build_id)?);
    }
    let parsed: Vec<_> =
        files.iter().map(|bytes| object::File::parse(bytes.as_slice()).expect("libraries are ELF")).collect();
    let modules: Vec<_> = parsed
        .iter()
        .zip(libraries)
        .map(|(file, (path, _))| ModuleSymbols::read(path, file).expect("it is for this machine"))
        .collect();
    Some(discover(&modules, Options::default()).expect("they hold allocators"))
}

/// `name+offset` of every probe, sorted.
fn places(plan: &Plan) -> Vec<String> {
    let place = |probe: &ProbePoint| format!("{}+{}", probe.function, probe.placement.offset);
    let mut places: Vec<_> = plan.probes.iter().map(place).collect();
    places.sort_unstable();
    places
}

fn probe<'a>(plan: &'a Plan, function: &str) -> &'a ProbePoint {
    plan.probes.iter().find(|probe| probe.function == function).expect("it is probed")
}

const GLIBC: (&str, &str) = ("/usr/lib/x86_64-linux-gnu/libc.so.6", "93ac61ec5a8eb1396f9fbd350e3169a558528a40");
const LIBSTDCXX: (&str, &str) =
    ("/usr/lib/x86_64-linux-gnu/libstdc++.so.6", "289ee39f8c07bd4fa48102dfeeb7e6f9c76158b4");
const JEMALLOC: (&str, &str) =
    ("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", "1d5163c246dc9cd2b4d339f2ac42efd95c6e0ae1");
const TCMALLOC: (&str, &str) =
    ("/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4", "39dfd4a5855703fa6c2469749282f75b18a1aa66");
const MIMALLOC: (&str, &str) =
    ("/usr/lib/x86_64-linux-gnu/libmimalloc.so.2", "d07f4e7dc9a039fcbe7747f416476bd65cb48e8b");
const MUSL: (&str, &str) = ("/usr/lib/x86_64-linux-musl/libc.so", "54d00df44fce62f541ca62b56bdef5bf31ff077c");

#[test]
fn glibc() {
    let Some(plan) = plan_of(&[GLIBC, LIBSTDCXX]) else { return };
    assert_eq!(
        places(&plan),
        ["calloc+0", "malloc+0", "memalign+7", "posix_memalign+7", "pvalloc+7", "realloc+0", "valloc+7"]
    );
    for (function, delegates) in [
        ("malloc", Delegates::Never),
        ("calloc", Delegates::Never),
        ("realloc", Delegates::NullArgument0),
        ("memalign", Delegates::SmallArgument0),
        ("posix_memalign", Delegates::SmallArgument1),
        ("valloc", Delegates::Never),
        ("pvalloc", Delegates::Never),
    ] {
        assert_eq!(probe(&plan, function).delegates, delegates, "{function}");
    }
    let memalign = probe(&plan, "memalign");
    assert_eq!(memalign.aliases, ["__libc_memalign", "aligned_alloc"]);
    assert_eq!((memalign.elf_address, memalign.file_offset), (0x99610, 0x99617));
    assert_eq!(reason(&plan.skipped, "reallocarray"), &SkipReason::HandsOn { to: "realloc".to_owned(), all: true });
    assert_eq!(reason(&plan.skipped, "_Znwm"), &SkipReason::HandsOn { to: "malloc".to_owned(), all: true });
    assert!(plan.probes.iter().all(|probe| probe.placement.fallback.is_none()), "{plan}");
    let text = plan.to_string();
    for line in [
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
        "  probe malloc (glibc): +0 push %r12, emulated; also called __libc_malloc",
        "  probe realloc (glibc): +0 push %r15, emulated; calls with a null pointer are counted in malloc; \
         also called __libc_realloc",
        "  skip  reallocarray (glibc): every call goes on to realloc, which counts it",
        "  skip  mmap (mmap): mappings, not asked for",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}

#[test]
fn jemalloc() {
    let Some(plan) = plan_of(&[JEMALLOC]) else { return };
    assert_eq!(
        places(&plan),
        [
            "_Znwm+7",
            "_ZnwmRKSt9nothrow_t+7",
            "aligned_alloc+0",
            "calloc+0",
            "malloc+7",
            "mallocx+0",
            "memalign+0",
            "posix_memalign+0",
            "rallocx+2",
            "realloc+0",
            "valloc+0"
        ]
    );
    assert!(plan.probes.iter().all(|probe| probe.delegates == Delegates::Never));
    // malloc is called again where memory has run out.
    assert_eq!(probe(&plan, "_Znwm").calls, Calls::Sometimes("malloc".to_owned()));
}

#[test]
fn tcmalloc() {
    let Some(plan) = plan_of(&[TCMALLOC]) else { return };
    assert_eq!(
        places(&plan),
        [
            "_Znwm+10",
            "_ZnwmRKSt9nothrow_t+10",
            "_ZnwmSt11align_val_t+13",
            "_ZnwmSt11align_val_tRKSt9nothrow_t+13",
            "calloc+0",
            "malloc+10",
            "memalign+10",
            "realloc+0",
            "tc_malloc_skip_new_handler+0"
        ]
    );
}

#[test]
fn mimalloc() {
    let Some(plan) = plan_of(&[MIMALLOC]) else { return };
    // The size is in the second argument register by then: the first holds the thread's heap.
    let malloc = probe(&plan, "malloc");
    assert_eq!((malloc.placement.offset, malloc.size), (21, Some(SizeFrom::Argument1)));
    for left_out in ["realloc", "posix_memalign", "_ZnwmRKSt9nothrow_t", "mi_reallocn", "mi_heap_malloc_aligned"] {
        assert!(matches!(reason(&plan.skipped, left_out), SkipReason::HandsOn { .. }), "{left_out}");
    }
}

#[test]
fn musl() {
    let Some(plan) = plan_of(&[MUSL]) else { return };
    assert_eq!(places(&plan), ["aligned_alloc+0", "malloc+0", "realloc+0"]);
    assert!(plan.probes.iter().all(|probe| probe.family == "musl"));
}
