//! `operator new` and `operator delete`, as mangled by the Itanium C++ ABI (section 5.1.5): `_Znw` new, `_Zna` new[],
//! `_Zdl` delete, `_Zda` delete[]; `m` a size, `St11align_val_t` an alignment, `RKSt9nothrow_t` not throwing.

use tracer_ebpf::abi::allocation::SizeFrom::Argument0;

use super::super::table::{Family, Function, HandsOn, Layer, allocates, names, releases};

/// The operators of a C++ library (libstdc++, libc++) or of the program itself. Both libraries call `malloc` or
/// `aligned_alloc`, and one form of `new` another.
pub static FAMILY: Family = Family {
    name: "C++",
    layer: Layer::Heap,
    claims: false,
    markers: &[],
    prefixes: &[""],
    functions: &[&NEW, DELETE],
};

static NEW: [Function; 8] = new(HandsOn::AnyPath);

/// The allocating operators.
pub const fn new(hands_on: HandsOn) -> [Function; 8] {
    [
        allocates(names!["_Znwm", "tc_new"], Argument0).throws().hands_on(hands_on),
        allocates(names!["_Znam", "tc_newarray"], Argument0).throws().hands_on(hands_on),
        allocates(names!["_ZnwmRKSt9nothrow_t", "tc_new_nothrow"], Argument0).hands_on(hands_on),
        allocates(names!["_ZnamRKSt9nothrow_t", "tc_newarray_nothrow"], Argument0).hands_on(hands_on),
        allocates(names!["_ZnwmSt11align_val_t", "tc_new_aligned"], Argument0).throws().hands_on(hands_on),
        allocates(names!["_ZnamSt11align_val_t", "tc_newarray_aligned"], Argument0).throws().hands_on(hands_on),
        allocates(names!["_ZnwmSt11align_val_tRKSt9nothrow_t", "tc_new_aligned_nothrow"], Argument0).hands_on(hands_on),
        allocates(names!["_ZnamSt11align_val_tRKSt9nothrow_t", "tc_newarray_aligned_nothrow"], Argument0)
            .hands_on(hands_on),
    ]
}

/// The releasing operators.
pub static DELETE: &[Function] = &[
    releases(names!["_ZdlPv", "tc_delete"]).hands_on(HandsOn::AnyPath),
    releases(names!["_ZdaPv", "tc_deletearray"]).hands_on(HandsOn::AnyPath),
    releases(names!["_ZdlPvm", "tc_delete_sized"]).hands_on(HandsOn::AnyPath),
    releases(names!["_ZdaPvm", "tc_deletearray_sized"]).hands_on(HandsOn::AnyPath),
    releases(names!["_ZdlPvRKSt9nothrow_t", "tc_delete_nothrow"]).hands_on(HandsOn::AnyPath),
    releases(names!["_ZdaPvRKSt9nothrow_t", "tc_deletearray_nothrow"]).hands_on(HandsOn::AnyPath),
    releases(names!["_ZdlPvSt11align_val_t", "tc_delete_aligned"]).hands_on(HandsOn::AnyPath),
    releases(names!["_ZdaPvSt11align_val_t", "tc_deletearray_aligned"]).hands_on(HandsOn::AnyPath),
    releases(names!["_ZdlPvmSt11align_val_t", "tc_delete_sized_aligned"]).hands_on(HandsOn::AnyPath),
    releases(names!["_ZdaPvmSt11align_val_t", "tc_deletearray_sized_aligned"]).hands_on(HandsOn::AnyPath),
    releases(names!["_ZdlPvSt11align_val_tRKSt9nothrow_t", "tc_delete_aligned_nothrow"]).hands_on(HandsOn::AnyPath),
    releases(names!["_ZdaPvSt11align_val_tRKSt9nothrow_t", "tc_deletearray_aligned_nothrow"])
        .hands_on(HandsOn::AnyPath),
];
