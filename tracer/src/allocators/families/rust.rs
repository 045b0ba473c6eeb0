//! Rust's allocation functions, which every `Box` and `Vec` calls, and behind which the program's global allocator stands:
//! `malloc`, `_rjem_malloc`, `mi_malloc_aligned`, or something that is not in the table. Probed only where nothing of the
//! table stands behind them.

use tracer_ebpf::abi::allocation::SizeFrom::{Argument0, Argument3};

use super::super::table::{Family, HandsOn, Layer, Name, allocates, releases, resizes};

/// See the module.
pub static FAMILY: Family = Family {
    name: "Rust",
    layer: Layer::Heap,
    claims: false,
    markers: &[],
    prefixes: &[""],
    functions: &[&[
        allocates(&[Name::Rust("__rust_alloc")], Argument0).hands_on(HandsOn::AnyPath),
        allocates(&[Name::Rust("__rust_alloc_zeroed")], Argument0).hands_on(HandsOn::AnyPath),
        resizes(&[Name::Rust("__rust_realloc")], Argument3).hands_on(HandsOn::AnyPath),
        releases(&[Name::Rust("__rust_dealloc")]).hands_on(HandsOn::AnyPath),
    ]],
};
