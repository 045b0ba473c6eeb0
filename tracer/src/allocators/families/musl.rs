//! musl. Both of its allocators: the old one (until 1.2.0), whose `realloc` and `aligned_alloc` call `malloc` for a new
//! block, and mallocng, whose call an internal function. Which it is shows in the machine code.

use tracer_ebpf::abi::allocation::SizeFrom::{Argument0, Argument1, Argument2, Product01, Product12};

use super::super::table::{Family, Function, HandsOn, Layer, allocates, names, releases, resizes};

/// See the module.
pub static FAMILY: Family = Family {
    name: "musl",
    layer: Layer::Heap,
    claims: true,
    // The dynamic linker's stage, mallocng's and the old allocator's own functions.
    markers: &["__dls3", "__libc_malloc_impl", "__malloc_donate", "__expand_heap"],
    prefixes: &[""],
    functions: &[FUNCTIONS],
};

static FUNCTIONS: &[Function] = &[
    allocates(names!["malloc"], Argument0),
    allocates(names!["calloc"], Product01).hands_on(HandsOn::AnyPath),
    resizes(names!["realloc"], Argument1).hands_on(HandsOn::AnyPath),
    resizes(names!["reallocarray"], Product12).hands_on(HandsOn::AnyPath),
    allocates(names!["aligned_alloc"], Argument1).hands_on(HandsOn::AnyPath),
    allocates(names!["memalign", "__memalign"], Argument1).hands_on(HandsOn::AnyPath),
    allocates(names!["posix_memalign"], Argument2).stored().hands_on(HandsOn::AnyPath),
    allocates(names!["valloc"], Argument0).hands_on(HandsOn::AnyPath),
    releases(names!["free"]),
];
