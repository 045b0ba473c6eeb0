//! What the table of allocator functions consists of. The table itself is in [`super::families`].
//!
//! A row says how one function counts: under which names it appears, where its size argument is, and whether it serves
//! calls itself or hands them on to another function of the table. Handing on is what makes calls count twice or not at
//! all, and it depends on how a library was compiled; so a row states what the source says, and
//! [`super::delegation`] looks it up in the machine code of the library at hand.

use std::collections::HashMap;
use std::sync::LazyLock;

use tracer_ebpf::abi::allocation::{Delegates, SizeFrom};

use super::families;

/// What is counted. A plan holds functions of one layer only: those of two layers would count the same memory twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layer {
    /// Memory that programs ask their allocator for.
    #[default]
    Heap,
    /// Objects of a language's own allocator, which gets its arenas from the heap or from the kernel: Python's.
    Objects,
    /// Mappings asked from the kernel: `mmap`.
    Mappings,
}

/// An allocator, or a layer of one.
#[derive(Debug)]
pub struct Family {
    /// Name, as shown.
    pub name: &'static str,
    /// What its functions count.
    pub layer: Layer,
    /// Whether it claims the names of the C library (`malloc`, `operator new`). In one module one family does, the first
    /// in the table of which a marker is there.
    pub claims: bool,
    /// Symbols that tell this family's build of the claimed names from another's. None: claims what nobody else does.
    pub markers: &'static [&'static str],
    /// Put before each name: builds of jemalloc have a prefix of their choice.
    pub prefixes: &'static [&'static str],
    /// Its functions, in groups.
    pub functions: &'static [&'static [Function]],
}

/// One function.
#[derive(Debug)]
pub struct Function {
    /// Its names; the first is the one to show when several stand for one address.
    pub names: &'static [Name],
    /// What it does.
    pub role: Role,
    /// Where the size is; `None` for functions that release.
    pub size: Option<SizeFrom>,
    /// Where the caller finds the new block.
    pub block: BlockAt,
    /// Index of the argument with the block that the call gives back, for functions that resize or release.
    pub gives_back: Option<u8>,
    /// Calls that it does not serve itself.
    pub hands_on: HandsOn,
    /// Whether an exception may leave it.
    pub throws: bool,
}

/// A name in a symbol table.
#[derive(Clone, Copy, Debug)]
pub enum Name {
    /// Exactly this.
    Exact(&'static str),
    /// This item of Rust's `__rustc` namespace: the plain name in older versions, now mangled with a crate hash
    /// (`_RNvCs..._7___rustc12___rust_alloc`).
    Rust(&'static str),
    /// A size-specialised copy: this, then `SC` or `Size` and digits (`runtime.mallocgcSmallNoScanSC12`).
    GoSized(&'static str),
}

/// What a function does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Hands out a block.
    Allocate,
    /// Takes a block and hands out another or the same one.
    Resize,
    /// Takes a block.
    Release,
}

/// Where the caller finds the block that a call handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockAt {
    /// It is the return value.
    Returned,
    /// Behind the pointer that the first argument was.
    StoredAtArgument0,
    /// Nothing is handed out.
    Nowhere,
}

/// Which calls a function hands on to another allocating function of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandsOn {
    /// None, although the machine code has such paths: they are never taken with its arguments.
    Never,
    /// None. Those that the condition names are not counted at all.
    Uncounted(Delegates),
    /// Those that the condition names. In force when the machine code has such a path for these arguments.
    When(Delegates),
    /// Those that the condition names, through a table of function pointers. In force when the module has another
    /// allocating function of the family.
    WhenPresent(Delegates),
    /// All that succeed, or all that need a new block. Where the machine code has any path to another function of the
    /// table the function is left out; where it has none (inlined), it is probed.
    AnyPath,
    /// None or all, depending on the build. Left out only where every path of the machine code that succeeds goes through
    /// another function of the table.
    EveryPath,
}

/// Exact names. (A macro, because the slices are constants.)
macro_rules! names {
    ($($name:literal),+) => { &[$($crate::allocators::table::Name::Exact($name)),+] };
}
pub(super) use names;

/// A function that hands out blocks.
pub const fn allocates(names: &'static [Name], size: SizeFrom) -> Function {
    Function {
        names,
        role: Role::Allocate,
        size: Some(size),
        block: BlockAt::Returned,
        gives_back: None,
        hands_on: HandsOn::EveryPath,
        throws: false,
    }
}

/// A function that resizes the block its first argument points to.
pub const fn resizes(names: &'static [Name], size: SizeFrom) -> Function {
    Function { role: Role::Resize, gives_back: Some(0), ..allocates(names, size) }
}

/// A function that releases the block its first argument points to.
pub const fn releases(names: &'static [Name]) -> Function {
    Function {
        names,
        role: Role::Release,
        size: None,
        block: BlockAt::Nowhere,
        gives_back: Some(0),
        hands_on: HandsOn::EveryPath,
        throws: false,
    }
}

impl Function {
    /// Hands calls on in another way than [`HandsOn::EveryPath`].
    pub const fn hands_on(self, hands_on: HandsOn) -> Self {
        Self { hands_on, ..self }
    }

    /// The new block is stored behind the first argument.
    pub const fn stored(self) -> Self {
        Self { block: BlockAt::StoredAtArgument0, ..self }
    }

    /// An exception leaves it where it fails.
    pub const fn throws(self) -> Self {
        Self { throws: true, ..self }
    }

    /// The old block is in this argument.
    pub const fn gives_back(self, argument: u8) -> Self {
        Self { gives_back: Some(argument), ..self }
    }
}

/// A row of the table: indices of the family and of the function in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    /// Index into [`families::ALL`].
    pub family: u8,
    /// Index among the family's functions.
    pub function: u8,
    /// Which of the function's names matched.
    pub name: u8,
}

impl Row {
    /// The family.
    pub fn family(self) -> &'static Family {
        families::ALL[usize::from(self.family)]
    }

    /// The function.
    pub fn function(self) -> Option<&'static Function> {
        self.family().functions.iter().copied().flatten().nth(usize::from(self.function))
    }
}

struct Index {
    exact: HashMap<String, Vec<Row>>,
    /// Bytes of the longest of these names.
    longest: usize,
    rust: HashMap<&'static str, Row>,
    go: Vec<(&'static str, Row)>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index { exact: HashMap::new(), longest: 0, rust: HashMap::new(), go: Vec::new() };
    for (family_index, family) in families::ALL.iter().enumerate() {
        for (function_index, function) in family.functions.iter().copied().flatten().enumerate() {
            for (name_index, name) in function.names.iter().enumerate() {
                let row = Row { family: family_index as u8, function: function_index as u8, name: name_index as u8 };
                match name {
                    Name::Exact(name) => {
                        for prefix in family.prefixes {
                            index.exact.entry(format!("{prefix}{name}")).or_default().push(row);
                        }
                    }
                    Name::Rust(name) => {
                        index.exact.entry((*name).to_owned()).or_default().push(row);
                        index.rust.insert(name, row);
                    }
                    Name::GoSized(stem) => index.go.push((stem, row)),
                }
            }
        }
    }
    index.longest = index.exact.keys().map(String::len).max().unwrap_or(0);
    index
});

/// The rows that a symbol name matches, in the order of the table. Nearly all names match none: the cost is a hash, or nothing for
/// most of C++, whose names are longer than any here.
pub fn rows(name: &str) -> impl Iterator<Item = Row> {
    let exact = Some(name).filter(|name| name.len() <= INDEX.longest).and_then(|name| INDEX.exact.get(name));
    let exact = exact.map(Vec::as_slice).unwrap_or_default();
    let rust = rust_item(name).and_then(|item| INDEX.rust.get(item)).copied();
    let go = INDEX.go.iter().find(|(stem, _)| name.strip_prefix(stem).is_some_and(is_size_class)).map(|(_, row)| *row);
    exact.iter().copied().chain(rust).chain(go)
}

/// `__rust_alloc` of `_RNvCsfLfy6EI15iL_7___rustc12___rust_alloc`: crate root with disambiguator, then two identifiers,
/// each after its length (Rust RFC 2603, v0 mangling).
fn rust_item(name: &str) -> Option<&str> {
    let (hash, rest) = name.strip_prefix("_RNvCs")?.split_once('_')?;
    if hash.len() > 16 || !hash.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let rest = rest.strip_prefix("7___rustc")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (length, item) = rest.split_at(digits);
    // An underscore separates the length from an identifier that begins with a digit or an underscore.
    let item = item.strip_prefix('_')?;
    (length.parse() == Ok(item.len())).then_some(item)
}

fn is_size_class(suffix: &str) -> bool {
    let digits = suffix.strip_prefix("SC").or_else(|| suffix.strip_prefix("Size"));
    digits.is_some_and(|digits| {
        !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn families_of(name: &str) -> Vec<&'static str> {
        rows(name).map(|row| row.family().name).collect()
    }

    #[test]
    fn plain_names_belong_to_every_family_that_claims_them() {
        let families = families_of("malloc");
        for family in ["glibc", "musl", "jemalloc", "mimalloc", "tcmalloc", "other"] {
            assert!(families.contains(&family), "{family} in {families:?}");
        }
        assert_eq!(families_of("mallocation"), [""; 0]);
        assert_eq!(families_of(""), [""; 0]);
    }

    #[test]
    fn prefixed_names_belong_to_the_prefixed_family() {
        assert_eq!(families_of("_rjem_mallocx"), ["jemalloc"]);
        assert_eq!(families_of("je_realloc"), ["jemalloc"]);
        assert_eq!(families_of("_rjem_je_malloc_default"), [""; 0]);
        assert_eq!(families_of("_rjem__Znwm"), [""; 0]);
    }

    #[test]
    fn rust_names_match_plain_and_mangled() {
        assert_eq!(families_of("__rust_alloc"), ["Rust"]);
        assert_eq!(families_of("_RNvCsfLfy6EI15iL_7___rustc12___rust_alloc"), ["Rust"]);
        assert_eq!(families_of("_RNvCsfLfy6EI15iL_7___rustc14___rust_realloc"), ["Rust"]);
        assert_eq!(families_of("_RNvCsfLfy6EI15iL_7___rustc19___rust_alloc_zeroed"), ["Rust"]);
        // Another item of the namespace, a wrong length, another crate, text behind the name.
        assert_eq!(families_of("_RNvCsfLfy6EI15iL_7___rustc11___rdl_alloc"), [""; 0]);
        assert_eq!(families_of("_RNvCsfLfy6EI15iL_7___rustc13___rust_alloc"), [""; 0]);
        assert_eq!(families_of("_RNvCsfLfy6EI15iL_5_other12___rust_alloc"), [""; 0]);
        assert_eq!(families_of("_RNvCsfLfy6EI15iL_7___rustc12___rust_alloc.llvm.1"), [""; 0]);
    }

    #[test]
    fn go_names_match_the_function_and_its_sized_copies() {
        assert_eq!(families_of("runtime.mallocgc"), ["Go"]);
        assert_eq!(families_of("runtime.mallocgcSmallNoScanSC12"), ["Go"]);
        assert_eq!(families_of("runtime.mallocgcTinySize7"), ["Go"]);
        // Called by mallocgc in every version that has them.
        for inner in ["runtime.mallocgcTiny", "runtime.mallocgcSmallNoscan", "runtime.mallocgcLarge"] {
            assert_eq!(families_of(inner), [""; 0], "{inner}");
        }
    }

    #[test]
    fn indices_fit_and_rows_are_whole() {
        assert!(families::ALL.len() <= usize::from(u8::MAX));
        for family in families::ALL {
            let functions: Vec<_> = family.functions.iter().copied().flatten().collect();
            assert!(functions.len() <= usize::from(u8::MAX), "{}", family.name);
            assert!(!family.prefixes.is_empty(), "{}", family.name);
            for function in functions {
                assert!(!function.names.is_empty());
                assert_eq!(function.size.is_none(), function.role == Role::Release, "{:?}", function.names);
                assert_eq!(function.gives_back.is_none(), function.role == Role::Allocate, "{:?}", function.names);
            }
        }
    }

    #[test]
    fn no_family_has_a_name_twice() {
        for rows in INDEX.exact.values() {
            let mut families: Vec<_> = rows.iter().map(|row| row.family).collect();
            families.dedup();
            assert_eq!(families.len(), rows.len(), "{rows:?}");
        }
    }
}
