//! Go's heap, which does not pass through the C library. Every allocation of Go code goes to `runtime.mallocgc` in
//! registers (since Go 1.17; src/runtime/malloc.go). Since 1.26 a runtime built with `sizespecializedmalloc` has functions
//! for single size classes besides, which compiled code calls directly and `mallocgc` through tables for up to 512 bytes;
//! a runtime built without it does not contain them. The functions named after their kind alone (`mallocgcTiny`,
//! `mallocgcSmallNoscan`, `mallocgcLarge`: 1.24) are parts of `mallocgc`.
//!
//! The collector releases; there is no function to probe for that.

use tracer_ebpf::abi::allocation::{Delegates, SizeFrom::GoArgument0};

use super::super::table::{Family, HandsOn, Layer, Name, allocates, names};

/// See the module.
pub static FAMILY: Family = Family {
    name: "Go",
    layer: Layer::Heap,
    claims: false,
    markers: &[],
    prefixes: &[""],
    functions: &[&[
        allocates(names!["runtime.mallocgc"], GoArgument0).hands_on(HandsOn::WhenPresent(Delegates::SmallGoArgument0)),
        allocates(
            &[
                Name::GoSized("runtime.mallocgcTiny"),
                Name::GoSized("runtime.mallocgcSmallNoScan"),
                Name::GoSized("runtime.mallocgcSmallScanNoHeader"),
            ],
            GoArgument0,
        ),
    ]],
};
