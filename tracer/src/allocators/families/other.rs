//! The C library's names in a module that no marker explains: an allocator that is not in the table, or one whose own
//! names were stripped. How its functions use each other is read from the machine code alone, and where that is
//! undecided a function is left out rather than counted twice.

use tracer_ebpf::abi::allocation::SizeFrom::{Argument0, Argument1, Argument2, Product01, Product12};

use super::super::table::{Family, Function, HandsOn, Layer, allocates, names, releases, resizes};

/// See the module.
pub static FAMILY: Family =
    Family { name: "other", layer: Layer::Heap, claims: true, markers: &[], prefixes: &[""], functions: &[FUNCTIONS] };

static FUNCTIONS: &[Function] = &[
    allocates(names!["malloc"], Argument0),
    allocates(names!["calloc"], Product01).hands_on(HandsOn::AnyPath),
    resizes(names!["realloc"], Argument1).hands_on(HandsOn::AnyPath),
    resizes(names!["reallocarray"], Product12).hands_on(HandsOn::AnyPath),
    allocates(names!["aligned_alloc"], Argument1).hands_on(HandsOn::AnyPath),
    allocates(names!["memalign"], Argument1).hands_on(HandsOn::AnyPath),
    allocates(names!["posix_memalign"], Argument2).stored().hands_on(HandsOn::AnyPath),
    allocates(names!["valloc"], Argument0).hands_on(HandsOn::AnyPath),
    allocates(names!["pvalloc"], Argument0).hands_on(HandsOn::AnyPath),
    releases(names!["free"]),
];
