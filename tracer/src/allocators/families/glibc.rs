//! The GNU C library. Facts: malloc/malloc.c and malloc/reallocarray.c of 2.31 to 2.42 (the functions named here hand on
//! alike in all of them), and the machine code of Debian's 2.36.

use tracer_ebpf::abi::allocation::{
    Delegates,
    SizeFrom::{Argument0, Argument1, Argument2, Product01, Product12},
};

use super::super::table::{Family, Function, HandsOn, Layer, allocates, names, releases, resizes};

/// See the module.
pub static FAMILY: Family = Family {
    name: "glibc",
    layer: Layer::Heap,
    claims: true,
    markers: &["gnu_get_libc_version", "__libc_memalign", "_int_malloc"],
    prefixes: &[""],
    functions: &[FUNCTIONS],
};

static FUNCTIONS: &[Function] = &[
    allocates(names!["malloc", "__libc_malloc", "__malloc"], Argument0),
    // Its own path to _int_malloc (2.42: __libc_calloc2); never through malloc.
    allocates(names!["calloc", "__libc_calloc", "__calloc"], Product01),
    // realloc(NULL, n) jumps to malloc. Two more calls of malloc in it serve calls that it has counted already: when
    // mremap refuses to grow a mapped block, and when the block's arena is exhausted. Both are rare (address space or
    // memory is short), and count twice.
    resizes(names!["realloc", "__libc_realloc", "__realloc"], Argument1)
        .hands_on(HandsOn::When(Delegates::NullArgument0)),
    // Multiplies and jumps to realloc through the PLT, that is to the first realloc in link order.
    resizes(names!["reallocarray", "__libc_reallocarray"], Product12).hands_on(HandsOn::AnyPath),
    // These meet in _mid_memalign, which jumps to malloc when the alignment is at most MALLOC_ALIGNMENT (16). One function
    // until 2.37, two since 2.38.
    allocates(names!["memalign", "__libc_memalign", "__memalign"], Argument1)
        .hands_on(HandsOn::When(Delegates::SmallArgument0)),
    allocates(names!["aligned_alloc"], Argument1).hands_on(HandsOn::When(Delegates::SmallArgument0)),
    allocates(names!["posix_memalign", "__posix_memalign"], Argument2)
        .stored()
        .hands_on(HandsOn::When(Delegates::SmallArgument1)),
    // _mid_memalign with the page size.
    allocates(names!["valloc", "__libc_valloc", "__valloc"], Argument0).hands_on(HandsOn::Never),
    allocates(names!["pvalloc", "__libc_pvalloc", "__pvalloc"], Argument0).hands_on(HandsOn::Never),
    releases(names!["free", "__libc_free", "cfree", "__free"]),
];
