//! The table of allocator functions, one file a family. Data only; [`super::table`] says what the words mean.

mod cpp;
mod glibc;
mod go;
mod jemalloc;
mod mappings;
mod mimalloc;
mod musl;
mod other;
mod python;
mod rust;
mod sanitizers;
mod tcmalloc;

pub use self::python::is_inlined as python_is_inlined;
use super::table::Family;

/// All families. Of those that claim the C library's names the more specific come first: allocators that replace glibc's
/// define its internal names (`__libc_memalign`) as well.
pub static ALL: &[&Family] = &[
    &sanitizers::FAMILY,
    &mimalloc::FAMILY,
    &tcmalloc::FAMILY,
    &jemalloc::FAMILY,
    &glibc::FAMILY,
    &musl::FAMILY,
    &other::FAMILY,
    &mimalloc::OWN_NAMES,
    &jemalloc::PREFIXED,
    &cpp::FAMILY,
    &rust::FAMILY,
    &go::FAMILY,
    &python::FAMILY,
    &mappings::FAMILY,
];

/// The family of claimed names when no marker tells which it is.
pub static OTHER: &Family = &other::FAMILY;
