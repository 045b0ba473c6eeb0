//! tcmalloc: of gperftools, and Google's. The functions that programs call most, C++ operators among them, have a fast path
//! each and do not call another; `posix_memalign`, `valloc` and `pvalloc` call `tc_memalign` (machine code of Debian's
//! gperftools 2.10).

use tracer_ebpf::abi::allocation::SizeFrom::{Argument0, Argument1, Argument2, Product01, Product12};

use super::super::table::{Family, Function, HandsOn, Layer, allocates, names, releases, resizes};
use super::cpp;

/// See the module.
pub static FAMILY: Family = Family {
    name: "tcmalloc",
    layer: Layer::Heap,
    claims: true,
    markers: &["tc_malloc", "TCMallocInternalMalloc", "MallocExtension_Internal_GetNumericProperty"],
    prefixes: &[""],
    functions: &[FUNCTIONS, &NEW, cpp::DELETE],
};

static NEW: [Function; 8] = cpp::new(HandsOn::EveryPath);

static FUNCTIONS: &[Function] = &[
    allocates(names!["malloc", "tc_malloc", "__libc_malloc", "TCMallocInternalMalloc"], Argument0),
    allocates(names!["calloc", "tc_calloc", "__libc_calloc", "TCMallocInternalCalloc"], Product01),
    resizes(names!["realloc", "tc_realloc", "__libc_realloc", "TCMallocInternalRealloc"], Argument1),
    resizes(names!["reallocarray", "TCMallocInternalReallocArray"], Product12).hands_on(HandsOn::AnyPath),
    allocates(names!["memalign", "tc_memalign", "__libc_memalign", "TCMallocInternalMemalign"], Argument1),
    allocates(names!["aligned_alloc", "TCMallocInternalAlignedAlloc"], Argument1),
    allocates(
        names!["posix_memalign", "tc_posix_memalign", "__posix_memalign", "TCMallocInternalPosixMemalign"],
        Argument2,
    )
    .stored(),
    allocates(names!["valloc", "tc_valloc", "__libc_valloc", "TCMallocInternalValloc"], Argument0),
    allocates(names!["pvalloc", "tc_pvalloc", "__libc_pvalloc", "TCMallocInternalPvalloc"], Argument0),
    allocates(names!["tc_malloc_skip_new_handler"], Argument0),
    // Return the size as well, in a second register.
    allocates(names!["__size_returning_new", "tcmalloc_size_returning_operator_new"], Argument0).throws(),
    allocates(names!["__size_returning_new_aligned", "tcmalloc_size_returning_operator_new_aligned"], Argument0)
        .throws(),
    allocates(names!["__size_returning_new_hot_cold"], Argument0).throws(),
    allocates(names!["__size_returning_new_aligned_hot_cold"], Argument0).throws(),
    // operator new(size, hot_cold).
    allocates(names!["_Znwm12__hot_cold_t"], Argument0).throws(),
    allocates(names!["_Znam12__hot_cold_t"], Argument0).throws(),
    releases(names!["free", "tc_free", "cfree", "tc_cfree", "__libc_free", "__libc_cfree", "TCMallocInternalFree"]),
    releases(names!["tc_free_sized", "free_sized", "TCMallocInternalFreeSized", "sdallocx"]),
];
