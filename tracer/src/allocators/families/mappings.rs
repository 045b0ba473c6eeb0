//! Mappings asked from the kernel through the C library. The allocators' own calls do not all pass here (glibc has calls
//! of its internal `__mmap`, which is the same address).

use tracer_ebpf::abi::allocation::SizeFrom::{Argument1, Argument2};

use super::super::table::{Family, Layer, allocates, names, releases, resizes};

/// See the module.
pub static FAMILY: Family = Family {
    name: "mmap",
    layer: Layer::Mappings,
    claims: false,
    markers: &[],
    prefixes: &[""],
    functions: &[&[
        allocates(names!["mmap", "mmap64", "__mmap"], Argument1),
        resizes(names!["mremap", "__mremap"], Argument2),
        releases(names!["munmap", "__munmap"]),
    ]],
};
