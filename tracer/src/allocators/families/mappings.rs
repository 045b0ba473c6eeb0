//! Anonymous memory asked from the kernel through the C library, its own allocator's calls included: glibc's `__mmap`, which it
//! calls inside, is the same address.

use tracer_ebpf::abi::allocation::{
    Delegates,
    SizeFrom::{Argument1, Argument2},
};

use super::super::table::{Family, HandsOn, Layer, allocates, names, releases, resizes};

/// See the module.
pub static FAMILY: Family = Family {
    name: "mmap",
    layer: Layer::Mappings,
    claims: false,
    markers: &[],
    prefixes: &[""],
    functions: &[&[
        allocates(names!["mmap", "mmap64", "__mmap"], Argument1)
            .hands_on(HandsOn::Uncounted(Delegates::WithoutMapAnonymous)),
        resizes(names!["mremap", "__mremap"], Argument2).hands_on(HandsOn::Never),
        releases(names!["munmap", "__munmap"]).hands_on(HandsOn::Never),
    ]],
};
