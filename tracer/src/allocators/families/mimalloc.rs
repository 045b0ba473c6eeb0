//! mimalloc: with the C library's names ("override" builds) and with its own (`mi_`), often both at one address.
//!
//! Which function inlines which differs between builds: Debian's library calls through the PLT what a static build (Rust's
//! libmimalloc-sys) inlines. So nearly all rows leave it to the machine code.
//!
//! Left out: `mi_expand` (in place, or the caller allocates anew), `mi_strdup` and its kin, `mi_heap_reallocn` and
//! `mi_heap_recalloc` (no argument, or no two neighbouring ones, give the size).

use tracer_ebpf::abi::allocation::SizeFrom::{Argument0, Argument1, Argument2, Product01, Product12};

use super::super::table::HandsOn::{AnyPath, EveryPath};
use super::super::table::{Family, Function, Layer, allocates, names, releases, resizes};
use super::cpp;

/// With the C library's names.
pub static FAMILY: Family = Family {
    name: "mimalloc",
    layer: Layer::Heap,
    claims: true,
    markers: &["mi_malloc"],
    prefixes: &[""],
    functions: &[CLAIMED, &NEW, cpp::DELETE],
};

/// With its own.
pub static OWN_NAMES: Family = Family {
    name: "mimalloc",
    layer: Layer::Heap,
    claims: false,
    markers: &[],
    prefixes: &[""],
    functions: &[PLAIN, HEAP, ALIGNED, NEW_OWN, RELEASING],
};

static NEW: [Function; 8] = cpp::new(EveryPath);

static CLAIMED: &[Function] = &[
    allocates(names!["malloc", "__libc_malloc"], Argument0),
    allocates(names!["calloc", "__libc_calloc"], Product01),
    resizes(names!["realloc", "__libc_realloc"], Argument1),
    resizes(names!["reallocf"], Argument1),
    resizes(names!["reallocarray"], Product12).hands_on(AnyPath),
    resizes(names!["reallocarr"], Product12).stored().hands_on(AnyPath),
    allocates(names!["memalign", "__libc_memalign"], Argument1).hands_on(AnyPath),
    allocates(names!["aligned_alloc"], Argument1).hands_on(AnyPath),
    allocates(names!["_aligned_malloc"], Argument1).hands_on(AnyPath),
    allocates(names!["posix_memalign", "__posix_memalign"], Argument2).stored().hands_on(AnyPath),
    allocates(names!["valloc", "__libc_valloc"], Argument0).hands_on(AnyPath),
    allocates(names!["pvalloc", "__libc_pvalloc"], Argument0).hands_on(AnyPath),
    releases(names!["free", "cfree", "__libc_free", "__libc_cfree"]),
];

static PLAIN: &[Function] = &[
    allocates(names!["mi_malloc"], Argument0),
    allocates(names!["mi_malloc_small"], Argument0),
    allocates(names!["mi_zalloc"], Argument0),
    allocates(names!["mi_zalloc_small"], Argument0),
    allocates(names!["mi_calloc"], Product01).hands_on(AnyPath),
    allocates(names!["mi_mallocn"], Product01).hands_on(AnyPath),
    resizes(names!["mi_realloc"], Argument1),
    resizes(names!["mi_reallocf"], Argument1),
    resizes(names!["mi_rezalloc"], Argument1),
    resizes(names!["mi_reallocn"], Product12).hands_on(AnyPath),
    resizes(names!["mi_recalloc"], Product12).hands_on(AnyPath),
    resizes(names!["mi_reallocarray"], Product12).hands_on(AnyPath),
    resizes(names!["mi_reallocarr"], Product12).stored().hands_on(AnyPath),
];

static HEAP: &[Function] = &[
    allocates(names!["mi_heap_malloc"], Argument1),
    allocates(names!["mi_heap_malloc_small"], Argument1),
    allocates(names!["mi_heap_zalloc"], Argument1),
    allocates(names!["mi_heap_calloc"], Product12).hands_on(AnyPath),
    allocates(names!["mi_heap_mallocn"], Product12).hands_on(AnyPath),
    resizes(names!["mi_heap_realloc"], Argument2).gives_back(1),
    resizes(names!["mi_heap_reallocf"], Argument2).gives_back(1),
    resizes(names!["mi_heap_rezalloc"], Argument2).gives_back(1),
    allocates(names!["mi_heap_alloc_new"], Argument1).throws(),
    allocates(names!["mi_heap_alloc_new_n"], Product12).throws().hands_on(AnyPath),
];

static ALIGNED: &[Function] = &[
    allocates(names!["mi_malloc_aligned"], Argument0),
    allocates(names!["mi_malloc_aligned_at"], Argument0),
    allocates(names!["mi_zalloc_aligned"], Argument0),
    allocates(names!["mi_zalloc_aligned_at"], Argument0),
    allocates(names!["mi_calloc_aligned"], Product01).hands_on(AnyPath),
    allocates(names!["mi_calloc_aligned_at"], Product01).hands_on(AnyPath),
    allocates(names!["mi_heap_malloc_aligned"], Argument1),
    allocates(names!["mi_heap_malloc_aligned_at"], Argument1),
    allocates(names!["mi_heap_zalloc_aligned"], Argument1),
    allocates(names!["mi_heap_zalloc_aligned_at"], Argument1),
    allocates(names!["mi_heap_calloc_aligned"], Product12).hands_on(AnyPath),
    allocates(names!["mi_heap_calloc_aligned_at"], Product12).hands_on(AnyPath),
    // An alignment of at most 8 is served like realloc. A larger one, when the block must move, calls
    // mi_heap_malloc_aligned_at and counts twice.
    resizes(names!["mi_realloc_aligned"], Argument1),
    resizes(names!["mi_realloc_aligned_at"], Argument1),
    resizes(names!["mi_rezalloc_aligned"], Argument1),
    resizes(names!["mi_rezalloc_aligned_at"], Argument1),
    resizes(names!["mi_recalloc_aligned"], Product12).hands_on(AnyPath),
    resizes(names!["mi_recalloc_aligned_at"], Product12).hands_on(AnyPath),
    resizes(names!["mi_heap_realloc_aligned"], Argument2).gives_back(1),
    resizes(names!["mi_heap_realloc_aligned_at"], Argument2).gives_back(1),
    resizes(names!["mi_heap_rezalloc_aligned"], Argument2).gives_back(1),
    resizes(names!["mi_heap_rezalloc_aligned_at"], Argument2).gives_back(1),
    allocates(names!["mi_posix_memalign"], Argument2).stored().hands_on(AnyPath),
    allocates(names!["mi_memalign"], Argument1).hands_on(AnyPath),
    allocates(names!["mi_aligned_alloc"], Argument1).hands_on(AnyPath),
    allocates(names!["mi_valloc"], Argument0).hands_on(AnyPath),
    allocates(names!["mi_pvalloc"], Argument0).hands_on(AnyPath),
];

static NEW_OWN: &[Function] = &[
    allocates(names!["mi_new"], Argument0).throws(),
    allocates(names!["mi_new_n"], Product01).throws(),
    allocates(names!["mi_new_nothrow"], Argument0),
    allocates(names!["mi_new_aligned"], Argument0).throws(),
    allocates(names!["mi_new_aligned_nothrow"], Argument0),
    resizes(names!["mi_new_realloc"], Argument1).throws(),
    resizes(names!["mi_new_reallocn"], Product12).throws().hands_on(AnyPath),
];

static RELEASING: &[Function] = &[
    releases(names!["mi_free"]),
    releases(names!["mi_cfree"]).hands_on(AnyPath),
    releases(names!["mi_free_size"]).hands_on(AnyPath),
    releases(names!["mi_free_size_aligned"]).hands_on(AnyPath),
    releases(names!["mi_free_aligned"]).hands_on(AnyPath),
];
