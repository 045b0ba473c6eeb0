//! Which functions only pass an allocation on: allocators and the containers of the standard libraries; and the kernel, where
//! something else than allocations was sampled.
//!
//! The table of sites names, for each stack, the nearest caller that is none of these. It is a rule over names, nothing
//! more; flame graph and table of functions leave nothing out.

use crate::recording::KERNEL_MARK;

/// Exact names in C: the allocation functions themselves and functions whose purpose is to return fresh memory.
const C: &[&str] = &[
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "memalign",
    "aligned_alloc",
    "posix_memalign",
    "valloc",
    "pvalloc",
    "strdup",
    "strndup",
    "wcsdup",
    "asprintf",
    "vasprintf",
    "getline",
    "getdelim",
    "g_malloc",
    "g_malloc0",
    "g_realloc",
    "g_slice_alloc",
    "g_slice_alloc0",
    "g_strdup",
    "xmalloc",
    "xcalloc",
    "xrealloc",
    "xstrdup",
    "mmap",
    "mmap64",
    "mremap",
    "brk",
    "sbrk",
];

/// Beginnings of names in C: inner functions of glibc, jemalloc, tcmalloc and mimalloc, Rust's allocation symbols, and the
/// wrappers of CPython, PostgreSQL and Redis.
const C_PREFIXES: &[&str] = &[
    "_PyMem_",
    "PyMem_",
    "_PyObject_Malloc",
    "_PyObject_Calloc",
    "_PyObject_Realloc",
    "PyObject_Malloc",
    "PyObject_Calloc",
    "PyObject_Realloc",
    "palloc",
    "repalloc",
    "MemoryContextAlloc",
    "AllocSet",
    "zmalloc",
    "zcalloc",
    "zrealloc",
    "__libc_",
    "__GI___libc_",
    "_int_malloc",
    "_int_realloc",
    "_int_memalign",
    "_mid_memalign",
    "tcache_",
    "sysmalloc",
    "__mmap",
    "__brk",
    "__sbrk",
    "__glibc_morecore",
    "je_",
    "_rjem_",
    "tc_",
    "mi_",
    "_mi_",
    "__rust_alloc",
    "__rust_realloc",
    "__rdl_",
    "__rg_",
];

/// Functions of allocators, beside the [`C`] and [`C_PREFIXES`] that are theirs: those that release, and inner ones.
const ALLOCATOR: &[&str] = &[
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "memalign",
    "aligned_alloc",
    "posix_memalign",
    "valloc",
    "pvalloc",
    "free",
    "cfree",
    "malloc_trim",
    "malloc_consolidate",
    "malloc_usable_size",
    "unlink_chunk",
    "systrim",
    "alloc_perturb",
    "free_perturb",
    "arena_get2",
    "heap_trim",
    "munmap_chunk",
    "runtime.mallocgc",
];

/// Beginnings of such names.
const ALLOCATOR_PREFIXES: &[&str] = &[
    "__libc_malloc",
    "__libc_calloc",
    "__libc_realloc",
    "__libc_memalign",
    "__libc_free",
    "__GI___libc_malloc",
    "__GI___libc_calloc",
    "__GI___libc_realloc",
    "__GI___libc_free",
    "_int_malloc",
    "_int_free",
    "_int_realloc",
    "_int_memalign",
    "_mid_memalign",
    "ptmalloc_",
    "sysmalloc",
    "tcache_",
    "je_",
    "_rjem_",
    "tc_",
    "mi_",
    "_mi_",
    "tcmalloc::",
    "operator new",
    "operator delete",
    "__rust_alloc",
    "__rust_dealloc",
    "__rust_realloc",
    "__rustc::__rust_alloc",
    "__rustc::__rust_dealloc",
    "__rustc::__rust_realloc",
    "__rdl_",
    "__rg_",
    "_PyMem_",
    "PyMem_",
    "_PyObject_Malloc",
    "_PyObject_Free",
    "PyObject_Malloc",
    "PyObject_Calloc",
    "PyObject_Realloc",
    "PyObject_Free",
];

/// Parts of the names of files that hold an allocator and nothing else.
const ALLOCATOR_MODULES: &[&str] = &["libjemalloc", "libmimalloc", "libtcmalloc"];

/// Beginnings of the names of such files.
const C_LIBRARY: &[&str] =
    &["libc.so.", "libc-2.", "libm.so.", "libm-2.", "libpthread", "ld-linux", "ld-2.", "ld-musl", "libc.musl"];

/// Namespaces of Rust and C++.
const NAMESPACES: &[&str] = &["alloc", "core", "std", "hashbrown", "__gnu_cxx", "tcmalloc", "__rustc"];

/// Whether a function, by its demangled name, only passes an allocation on.
pub fn is_plumbing(name: &str) -> bool {
    // Symbol versions and clones: `malloc@@GLIBC_2.2.5`, `realloc.part.0`.
    let plain = name.split(['@', '.']).next().unwrap_or(name);
    if C.contains(&plain)
        || C_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name.starts_with("operator new")
    {
        return true;
    }
    if name.ends_with(KERNEL_MARK) {
        return true;
    }
    let root = namespace(name);
    NAMESPACES.contains(&root)
}

/// Whether a function is an allocator's: time below it is spent for whoever calls it.
pub fn is_allocator(name: &str) -> bool {
    let plain = name.split(['@', '.']).next().unwrap_or(name);
    ALLOCATOR.contains(&plain)
        || ALLOCATOR.contains(&name)
        || ALLOCATOR_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether everything in the module at a path is an allocator's.
pub fn is_allocator_module(path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    ALLOCATOR_MODULES.iter().any(|name| file.starts_with(name))
}

/// Whether the module at a path is the C library, the dynamic loader, or what the kernel maps in their place: time in `memcpy` or
/// `recv` is spent for whoever calls it.
pub fn is_c_library(path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    C_LIBRARY.iter().any(|name| file.starts_with(name)) || path == "[vdso]"
}

/// The outermost namespace of a qualified name, of a Rust impl's self type (`<alloc::vec::Vec<T> as Clone>::clone`), or
/// of a C++ function behind its return type; empty where there is none.
fn namespace(name: &str) -> &str {
    if let Some(inner) = name.strip_prefix('<') {
        let mut inner = inner;
        while let Some(rest) =
            ["&", "mut ", "dyn ", "*const ", "[", "<", "("].iter().find_map(|p| inner.strip_prefix(p))
        {
            inner = rest;
        }
        let (own, after) = inner.split_at(inner.find([' ', '<', '>', ',', ']', ')', ';']).unwrap_or(inner.len()));
        // `<T as alloc::slice::hack::ConvertVec>::to_vec` and `<u8 as ...>`: a type without a path is as good as its
        // trait.
        return match (own.split_once("::"), after.split_once(" as ")) {
            (Some((root, _)), _) => root,
            (None, Some((_, of_trait))) => of_trait.split_once("::").map_or("", |(root, _)| root),
            (None, None) => "",
        };
    }
    // The last blank outside brackets before the arguments parts a C++ return type from the name.
    let (mut depth, mut start, mut end) = (0u32, 0, name.len());
    for (i, byte) in name.bytes().enumerate() {
        match byte {
            b'<' => depth += 1,
            b'>' => depth = depth.saturating_sub(1),
            b' ' if depth == 0 => start = i + 1,
            b'(' if depth == 0 => {
                end = i;
                break;
            }
            _ => {}
        }
    }
    name.get(start..end).and_then(|own| own.split_once("::")).map_or("", |(root, _)| root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocators_and_containers_are_plumbing() {
        for name in [
            "malloc",
            "realloc.part.0",
            "sysmalloc_mmap.isra.0",
            "do_syscall_64_[k]",
            "malloc@@GLIBC_2.2.5",
            "__libc_malloc",
            "operator new(unsigned long)",
            "operator new[](unsigned long, std::nothrow_t const&)",
            "__rust_alloc",
            "__rustc::__rust_alloc",
            "alloc::raw_vec::RawVec<T,A>::grow_one",
            "<alloc::vec::Vec<T> as core::clone::Clone>::clone",
            "<T as alloc::slice::hack::ConvertVec>::to_vec",
            "<&mut alloc::string::String as core::fmt::Write>::write_str",
            "hashbrown::raw::RawTable<T,A>::reserve_rehash",
            "std::vector<Enemy, std::allocator<Enemy> >::reserve(unsigned long)",
            "void std::vector<int>::_M_realloc_insert<int const&>(int const&)",
            "__gnu_cxx::new_allocator<char>::allocate(unsigned long, void const*)",
        ] {
            assert!(is_plumbing(name), "{name}");
        }
    }

    #[test]
    fn allocators_are_told_from_those_who_call_them() {
        for name in [
            "malloc",
            "cfree@GLIBC_2.2.5",
            "_int_free",
            "operator delete(void*, unsigned long)",
            "__rustc::__rust_dealloc",
            "runtime.mallocgc",
            "sysmalloc.part.0",
        ] {
            assert!(is_allocator(name), "{name}");
        }
        for name in ["freeze", "alloc::vec::Vec<T>::push", "strdup", "main", "runtime.mallocgcX", ""] {
            assert!(!is_allocator(name), "{name}");
        }
        assert!(is_allocator_module("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"));
        assert!(!is_allocator_module("/usr/lib/libjemalloc/libc.so.6"));
        assert!(is_c_library("/usr/lib/libjemalloc/libc.so.6") && is_c_library("[vdso]"));
        assert!(!is_c_library("/usr/lib/libcrypto.so.3") && !is_c_library("/opt/libcurl.so.4"));
    }

    #[test]
    fn everything_else_is_a_site() {
        for name in [
            "main",
            "mallocate",
            "World::spawn",
            "game::World::spawn::<std::string::String>",
            "<game::World as core::clone::Clone>::clone",
            "<&game::World as core::fmt::Display>::fmt",
            "std::vector<Enemy> Game::enemies<Near>(Vec3 const&)",
            "std_thing",
            "libfoo.so+0x1234",
            "<<<<",
            "",
            "<",
            "a(b",
            "é é::é",
        ] {
            assert!(!is_plumbing(name), "{name}");
        }
    }
}
