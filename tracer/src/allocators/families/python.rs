//! CPython's object allocator (Objects/obmalloc.c): small objects from arenas of its own, more than 512 bytes from
//! `malloc`. The functions' first argument is a context.

use tracer_ebpf::abi::allocation::SizeFrom::{Argument1, Argument2, Product12};

use super::super::table::{Family, Layer, allocates, names, releases, resizes};

/// See the module.
pub static FAMILY: Family = Family {
    name: "Python",
    layer: Layer::Objects,
    claims: false,
    markers: &[],
    prefixes: &[""],
    functions: &[&[
        allocates(names!["_PyObject_Malloc"], Argument1),
        allocates(names!["_PyObject_Calloc"], Product12),
        resizes(names!["_PyObject_Realloc"], Argument2).gives_back(1),
        releases(names!["_PyObject_Free"]).gives_back(1),
    ]],
};
