//! jemalloc, with the C library's names or with a prefix (`_rjem_`: Rust's tikv-jemalloc-sys; `je_`: a common
//! choice). Its C functions do not call each other (machine code of Debian's 5.3.0).
//!
//! `xallocx` is left out: it resizes a block in place and hands none out; its caller allocates anew where that fails, and that
//! counts.

use tracer_ebpf::abi::allocation::SizeFrom::{Argument0, Argument1, Argument2, Product01, Product12};

use super::super::table::{Family, Function, HandsOn, Layer, allocates, names, releases, resizes};
use super::cpp;

/// With the C library's names.
pub static FAMILY: Family = Family {
    name: "jemalloc",
    layer: Layer::Heap,
    claims: true,
    markers: &["mallocx", "mallctl"],
    prefixes: &[""],
    functions: &[FUNCTIONS, &NEW, cpp::DELETE],
};

/// With a prefix.
pub static PREFIXED: Family = Family {
    name: "jemalloc",
    layer: Layer::Heap,
    claims: false,
    markers: &[],
    prefixes: &["_rjem_", "je_", "rjem_"],
    functions: &[FUNCTIONS],
};

/// Until 5.2 `operator new` calls `malloc`. Since 5.3 it has malloc's fast path inlined and calls `malloc` only to try
/// again after running out of memory; the aligned forms call `aligned_alloc`.
static NEW: [Function; 8] = cpp::new(HandsOn::EveryPath);

static FUNCTIONS: &[Function] = &[
    allocates(names!["malloc"], Argument0),
    allocates(names!["calloc"], Product01),
    // realloc(NULL, n) is served by an inlined copy of malloc.
    resizes(names!["realloc"], Argument1),
    resizes(names!["reallocarray"], Product12).hands_on(HandsOn::AnyPath),
    allocates(names!["aligned_alloc"], Argument1),
    allocates(names!["memalign"], Argument1),
    allocates(names!["posix_memalign"], Argument2).stored(),
    allocates(names!["valloc"], Argument0),
    allocates(names!["pvalloc"], Argument0),
    allocates(names!["mallocx"], Argument0),
    resizes(names!["rallocx"], Argument1),
    releases(names!["free", "cfree"]),
    releases(names!["free_sized"]),
    releases(names!["free_aligned_sized"]),
    releases(names!["dallocx"]),
    releases(names!["sdallocx"]),
];
