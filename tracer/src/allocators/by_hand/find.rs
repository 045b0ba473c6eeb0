//! Finds the functions that the user names in the modules of a process.

use std::collections::BTreeSet;
use std::ops::Range;

use object::read::{File, ReadRef};
use object::{Object, ObjectSymbol, SymbolFlags, elf};

use super::{Form, NamedFunction, Place};
use crate::allocators::code::Code;
use crate::allocators::plan::SkipReason;

/// Symbols of one module that are looked at, at most.
const MAX_SYMBOLS: usize = 8_000_000;
/// Functions of one name in one module, at most: static functions may share a name.
const MAX_OF_ONE_NAME: usize = 32;
/// Names that an error offers, and how long a name may be to be offered.
const OFFERED: usize = 6;
const LONGEST_OFFER: usize = 60;
/// Longer names are not shown: they are the target's.
const LONGEST_NAME: usize = 512;

/// A function that was named, and found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Index of what the user said.
    pub named: usize,
    /// How it is called.
    pub form: Form,
    /// Where it is.
    pub entry: Entry,
}

/// Where a function is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Index of the module.
    pub module: u16,
    /// Its name, or `module+0xaddress`.
    pub name: String,
    /// ELF virtual address.
    pub address: u64,
    /// Length in bytes; 0 for unknown.
    pub length: u64,
}

/// A function that was named, and cannot be probed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{function}: {reason}")]
pub struct Missed {
    /// The function, as the user wrote it.
    pub function: String,
    /// Why not.
    pub reason: Reason,
}

/// Why a named function cannot be probed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No symbol table has the name.
    #[error(
        "no function has this name{}. Names are those that `nm -D FILE` and `nm FILE` show; where a file has none, give the \
         address: --offset {module}+0x4011d6",
        offer(similar)
    )]
    NoSymbol {
        /// Those that may be meant.
        similar: Vec<String>,
        /// File name of the program.
        module: String,
    },
    /// The process maps no such file.
    #[error("the process maps no file of this name; it maps {}", modules.join(", "))]
    NoModule {
        /// File names of those that it maps.
        modules: Vec<String>,
    },
    /// It maps several.
    #[error("several files have this name; give the path of one: {}", paths.join(", "))]
    Ambiguous {
        /// Their paths.
        paths: Vec<String>,
    },
    /// No code is there.
    #[error(
        "there is no code at this address; the code of this file is at {}. Addresses are those that `objdump -d` shows",
        ranges(code)
    )]
    NoCode {
        /// Where there is.
        code: Vec<Range<u64>>,
    },
    /// The bytes there are no instruction.
    #[error("the bytes at this address are no instruction")]
    NoInstruction,
    /// It is no function's begin.
    #[error(
        "this address is inside a function; its first instruction is at {0:#x}, and only there its arguments are known"
    )]
    Inside(u64),
    /// The symbol names what chooses a function when the program is loaded.
    #[error("this symbol is a resolver that chooses among functions (`i` in `nm`); name the chosen one")]
    Resolver,
    /// Nothing is done with blocks that are given back.
    #[error("it releases memory, which is followed with --live only; add that, or leave this out")]
    Releases,
    /// See there.
    #[error("{0}")]
    Skipped(SkipReason),
}

impl Reason {
    /// Whether it may yet come: with a library, or with another program.
    pub fn may_come(&self) -> bool {
        matches!(self, Self::NoSymbol { .. } | Self::NoModule { .. })
    }
}

fn offer(similar: &[String]) -> String {
    match similar {
        [] => String::new(),
        names => format!("; there are {}", names.join(", ")),
    }
}

fn ranges(code: &[Range<u64>]) -> String {
    let shown: Vec<_> =
        code.iter().take(4).map(|range| format!("{:#x} to {:#x}", range.start, range.end - 1)).collect();
    shown.join(", ")
}

/// A module to look into.
pub struct Module<'m, 'data, R: ReadRef<'data>> {
    /// Path.
    pub path: &'m str,
    /// Its file.
    pub file: &'m File<'data, R>,
    /// Its separate debug file, whose build id is the same.
    pub debug: Option<&'m File<'data, R>>,
    /// Its code.
    pub code: &'m Code<'data>,
    /// Extents of its functions, as far as unwind information tells them; see [`crate::unwind::function_extents`].
    pub extents: &'m dyn Fn() -> Vec<Range<u64>>,
}

/// Finds the functions that the user names in modules given in link order: the program first. `releases`: whether functions
/// that release are wanted.
pub fn find<'data, R: ReadRef<'data>>(
    modules: &[Module<'_, 'data, R>],
    named: &[NamedFunction],
    releases: bool,
) -> (Vec<Found>, Vec<Missed>) {
    let (mut found, mut missed) = (Vec::new(), Vec::new());
    for (index, function) in named.iter().enumerate() {
        let result = match &function.place {
            _ if function.releases() && !releases => Err(Reason::Releases),
            Place::Symbol(name) => of_name(modules, name),
            Place::Address { module, address } => at_address(modules, module, *address).map(|entry| vec![entry]),
        };
        match result {
            Ok(entries) => {
                found.extend(entries.into_iter().map(|entry| Found { named: index, form: function.form, entry }))
            }
            Err(reason) => missed.push(Missed { function: function.to_string(), reason }),
        }
    }
    (found, missed)
}

/// All functions of a name.
fn of_name<'data, R: ReadRef<'data>>(modules: &[Module<'_, 'data, R>], name: &str) -> Result<Vec<Entry>, Reason> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut resolver = false;
    for (module, number) in modules.iter().zip(0..=u16::MAX) {
        let before = entries.len();
        each_symbol(module, |symbol| {
            if symbol.plain() != name && symbol.name != name {
                return;
            }
            resolver |= symbol.is_resolver;
            let known = entries[before..].iter().any(|entry| entry.address == symbol.address);
            let is_code = module.code.instruction(symbol.address).is_some();
            if !symbol.is_resolver && is_code && !known && entries.len() - before < MAX_OF_ONE_NAME {
                entries.push(symbol.entry(number));
            }
        });
    }
    if !entries.is_empty() {
        return Ok(entries);
    }
    if resolver {
        return Err(Reason::Resolver);
    }
    let module = modules.first().map_or("FILE", |program| file_name(program.path)).to_owned();
    Err(Reason::NoSymbol { similar: similar(modules, name), module })
}

/// The function that begins at an address of a module.
fn at_address<'data, R: ReadRef<'data>>(
    modules: &[Module<'_, 'data, R>],
    name: &str,
    address: u64,
) -> Result<Entry, Reason> {
    let is_meant = |module: &Module<'_, 'data, R>| module.path == name || file_name(module.path) == name;
    let meant: Vec<_> = (0..=u16::MAX).zip(modules).filter(|(_, module)| is_meant(module)).collect();
    let (number, module) = match meant.as_slice() {
        [one] => *one,
        [] => {
            let modules = modules.iter().take(OFFERED).map(|module| file_name(module.path).to_owned()).collect();
            return Err(Reason::NoModule { modules });
        }
        several => {
            return Err(Reason::Ambiguous {
                paths: several.iter().map(|(_, module)| module.path.to_owned()).collect(),
            });
        }
    };
    if module.code.file_offset(address).is_none() {
        return Err(Reason::NoCode { code: module.code.ranges().collect() });
    }
    if module.code.instruction(address).is_none() {
        return Err(Reason::NoInstruction);
    }
    let described = (module.extents)().into_iter().find(|extent| extent.contains(&address));
    let length = described.as_ref().map_or(0, |extent| extent.end - address);
    let (mut begins, mut goes_on) = (None, None);
    each_symbol(module, |symbol| {
        if symbol.address == address {
            begins.get_or_insert(symbol.entry(number));
        } else if symbol.address < address && address - symbol.address < symbol.length {
            goes_on = Some(symbol.address);
        }
    });
    // Symbols are the better witnesses: assembly may describe several functions as one.
    match (begins, goes_on, described) {
        (Some(entry), _, _) if entry.length == 0 => Ok(Entry { length, ..entry }),
        (Some(entry), _, _) => Ok(entry),
        (None, Some(start), _) => Err(Reason::Inside(start)),
        (None, None, Some(extent)) if extent.start != address => Err(Reason::Inside(extent.start)),
        _ => {
            let name = format!("{}+{address:#x}", file_name(module.path));
            Ok(Entry { module: number, name, address, length })
        }
    }
}

/// A symbol that may be a function's.
struct Symbol<'n> {
    /// With its version, where it has one.
    name: &'n str,
    address: u64,
    /// 0 for unknown.
    length: u64,
    is_resolver: bool,
}

impl Symbol<'_> {
    fn plain(&self) -> &str {
        self.name.split_once('@').map_or(self.name, |(plain, _)| plain)
    }

    fn entry(&self, module: u16) -> Entry {
        let name = self.name.chars().take(LONGEST_NAME).collect();
        Entry { module, name, address: self.address, length: self.length }
    }
}

/// Visits all symbols of a module that may be functions.
fn each_symbol<'data, R: ReadRef<'data>>(module: &Module<'_, 'data, R>, mut visit: impl FnMut(&Symbol<'_>)) {
    for file in std::iter::once(module.file).chain(module.debug) {
        for symbol in file.dynamic_symbols().chain(file.symbols()).take(MAX_SYMBOLS) {
            let SymbolFlags::Elf { st_info, .. } = symbol.flags() else { continue };
            let kind = st_info.st_type();
            // Assembly need not say that a label is a function.
            if !matches!(kind, elf::STT_FUNC | elf::STT_NOTYPE | elf::STT_GNU_IFUNC) || symbol.is_undefined() {
                continue;
            }
            if let Some(name) = symbol.name().ok().filter(|name| !name.is_empty()) {
                let (address, length) = (symbol.address(), symbol.size());
                visit(&Symbol { name, address, length, is_resolver: kind == elf::STT_GNU_IFUNC });
            }
        }
    }
}

/// Functions whose names hold the name, or are held by it.
fn similar<'data, R: ReadRef<'data>>(modules: &[Module<'_, 'data, R>], name: &str) -> Vec<String> {
    let wanted = name.to_lowercase();
    let mut similar = BTreeSet::new();
    for module in modules {
        each_symbol(module, |symbol| {
            let plain = symbol.plain();
            let is_text = plain.len() <= LONGEST_OFFER && plain.bytes().all(|byte| byte.is_ascii_graphic());
            if similar.len() == OFFERED || !is_text {
                return;
            }
            let other = plain.to_lowercase();
            let is_similar = wanted.len() > 2 && other.contains(&wanted) || other.len() > 4 && wanted.contains(&other);
            if is_similar && module.code.file_offset(symbol.address).is_some() {
                similar.insert(plain.to_owned());
            }
        });
    }
    similar.into_iter().collect()
}

/// The last part of a path.
pub fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
