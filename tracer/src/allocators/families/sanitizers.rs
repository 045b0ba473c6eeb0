//! The sanitizers' run-time libraries (AddressSanitizer and its kin): allocators of their own.

use tracer_ebpf::abi::allocation::SizeFrom::{Argument0, Argument1, Argument2, Product01, Product12};

use super::super::table::{Family, Function, HandsOn, Layer, allocates, names, releases, resizes};
use super::cpp;

/// See the module.
pub static FAMILY: Family = Family {
    name: "sanitizer",
    layer: Layer::Heap,
    claims: true,
    markers: &["__asan_init", "__hwasan_init", "__lsan_init", "__msan_init", "__tsan_init"],
    prefixes: &[""],
    functions: &[FUNCTIONS, &NEW, cpp::DELETE],
};

static NEW: [Function; 8] = cpp::new(HandsOn::EveryPath);

static FUNCTIONS: &[Function] = &[
    allocates(names!["malloc", "__interceptor_malloc"], Argument0),
    allocates(names!["calloc", "__interceptor_calloc"], Product01),
    resizes(names!["realloc", "__interceptor_realloc"], Argument1),
    resizes(names!["reallocarray", "__interceptor_reallocarray"], Product12),
    allocates(names!["aligned_alloc", "__interceptor_aligned_alloc"], Argument1),
    allocates(names!["memalign", "__interceptor_memalign"], Argument1),
    allocates(names!["posix_memalign", "__interceptor_posix_memalign"], Argument2).stored(),
    allocates(names!["valloc", "__interceptor_valloc"], Argument0),
    allocates(names!["pvalloc", "__interceptor_pvalloc"], Argument0),
    releases(names!["free", "__interceptor_free"]),
];
