//! CPython's allocator for objects and their parts (Objects/obmalloc.c): up to 512 bytes from arenas of its own, more from
//! `malloc`. Its functions call what stands in a table of pointers, `_PyObject_Malloc` and its kin, which compilers guess and
//! inline; so the functions before the table are the ones that every call passes. They do not call each other.
//!
//! `PyMem_RawMalloc` and its kin are left out: they are `malloc`.

use tracer_ebpf::abi::allocation::SizeFrom::{Argument0, Argument1, Product01};

use super::super::table::{Family, HandsOn, Layer, allocates, names, releases, resizes};

/// See the module.
pub static FAMILY: Family = Family {
    name: "Python",
    layer: Layer::Objects,
    claims: false,
    markers: &[],
    prefixes: &[""],
    functions: &[&[
        allocates(names!["PyObject_Malloc"], Argument0).hands_on(HandsOn::Never),
        allocates(names!["PyObject_Calloc"], Product01).hands_on(HandsOn::Never),
        resizes(names!["PyObject_Realloc"], Argument1).hands_on(HandsOn::Never),
        releases(names!["PyObject_Free"]).hands_on(HandsOn::Never),
        allocates(names!["PyMem_Malloc"], Argument0).hands_on(HandsOn::Never),
        allocates(names!["PyMem_Calloc"], Product01).hands_on(HandsOn::Never),
        resizes(names!["PyMem_Realloc"], Argument1).hands_on(HandsOn::Never),
        releases(names!["PyMem_Free"]).hands_on(HandsOn::Never),
    ]],
};

/// Whether an interpreter with these functions, given by name and length, has them inlined into their callers too. By itself
/// a function before the table only calls what stands there, in 27 to 67 bytes (3.6 to 3.13). Where profile-guided and link-time
/// optimisation put the allocator itself into it (Debian's `python3.11`: 247 bytes), they did so elsewhere as well. Python 2,
/// which has no `calloc`, has no table either.
pub fn is_inlined<'a>(mut functions: impl Iterator<Item = (&'a str, u64)> + Clone) -> bool {
    const LONGEST_CALL: u64 = 100;
    let is_long = |(name, length): (&str, u64)| name == "PyObject_Malloc" && length > LONGEST_CALL;
    functions.clone().any(is_long) && functions.any(|(name, _)| name == "PyObject_Calloc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inlined_allocator_shows_in_the_length_of_its_functions() {
        let inlined = |functions: &[(&str, u64)]| is_inlined(functions.iter().copied());
        assert!(inlined(&[("PyObject_Calloc", 48), ("PyObject_Malloc", 247)]));
        assert!(!inlined(&[("PyObject_Calloc", 51), ("PyObject_Malloc", 27)]));
        assert!(!inlined(&[("PyObject_Malloc", 919), ("PyMem_Malloc", 27)]));
        assert!(!inlined(&[]));
    }
}
