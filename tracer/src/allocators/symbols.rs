//! What a module's ELF file says about allocators: symbols that the table knows, imports, and code.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use object::read::elf::ElfFile64;
use object::read::{File, ReadRef};
use object::{
    Architecture, Endianness, Object, ObjectSegment, ObjectSymbol, ObjectSymbolTable, RelocationFlags,
    RelocationTarget, SegmentFlags, elf,
};

use super::code::{Code, Segment};
use super::families;
use super::table::{Row, rows};

/// Symbols, or relocations, of one table that are looked at, at most.
const MAX_ENTRIES: usize = 8_000_000;
/// Symbols of one module that are kept, at most. mimalloc has about 100, Go 300.
const MAX_KEPT: usize = 1024;
/// Slots of one module that are kept, at most.
const MAX_SLOTS: usize = 1 << 18;

/// Functions that never return. Compilers put nothing meaningful behind a call of them.
const NO_RETURN: &[&str] = &[
    "abort",
    "exit",
    "_exit",
    "__assert_fail",
    "__stack_chk_fail",
    "__chk_fail",
    "__fortify_fail",
    "_Unwind_Resume",
    "__cxa_throw",
    "__cxa_rethrow",
    "__cxa_throw_bad_array_new_length",
    "_ZSt9terminatev",
    "_ZSt17__throw_bad_allocv",
];
/// Imports by which a module asks for the allocator behind its own.
const NEXT_ALLOCATOR: &[&str] = &["dlsym", "dlvsym", "__libc_malloc", "__libc_calloc", "__libc_memalign"];

/// Why a file cannot be searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SymbolsError {
    /// Another object format, byte order or word size.
    #[error("not a 64-bit little-endian ELF file")]
    Format,
    /// Code for another processor.
    #[error("code for {0:?}; only x86-64 is supported")]
    Architecture(Architecture),
}

/// A function's symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionSymbol {
    /// The name, with `@VERSION` where it is a version that newly linked programs do not get.
    pub name: String,
    /// ELF virtual address.
    pub address: u64,
    /// Bytes; 0 for unknown.
    pub size: u64,
    /// Rows of the table that the name matches.
    pub rows: Vec<Row>,
    /// The symbol is not the function but what chooses it at load time (`STT_GNU_IFUNC`).
    pub indirect: bool,
}

/// A module, as far as the search for allocators needs it. Reads nothing later: only the code is borrowed.
#[derive(Clone, Debug)]
pub struct ModuleSymbols<'data> {
    /// Path, for people.
    pub path: String,
    /// Executable code, where there is a function of the table; see [`Self::read_code`].
    pub code: Code<'data>,
    /// Functions that the table knows, by address and name.
    pub functions: Vec<FunctionSymbol>,
    /// Markers of families that the module defines.
    pub markers: BTreeSet<&'static str>,
    /// Slots of the global offset table by the name that the loader looks up for them; only names that matter here.
    pub imports: HashMap<u64, String>,
    /// Slots that the loader fills with an address in this module: those of its other exported functions, and those where
    /// a function of the table is.
    pub local_slots: HashMap<u64, u64>,
    /// It is a program, not a library.
    pub is_program: bool,
    /// It is glibc's dynamic loader, which has a small allocator for itself.
    pub is_loader: bool,
    /// It asks for the allocator behind its own, as a wrapper does.
    pub asks_for_next: bool,
    /// It has no symbol table besides the dynamic one, here or in a debug file.
    pub stripped: bool,
    /// Tables were too long and were not read to the end.
    pub truncated: bool,
}

impl<'data> ModuleSymbols<'data> {
    /// Reads a module's file.
    ///
    /// # Errors
    /// When it is no ELF file for x86-64. Damaged tables are no error: what can be read of them is.
    pub fn read<R: ReadRef<'data>>(path: &str, file: &File<'data, R>) -> Result<Self, SymbolsError> {
        let elf = elf(file)?;
        let mut module = Self {
            path: path.to_owned(),
            code: Code::default(),
            functions: Vec::new(),
            markers: BTreeSet::new(),
            imports: HashMap::new(),
            local_slots: HashMap::new(),
            is_program: is_program(elf),
            is_loader: false,
            asks_for_next: false,
            stripped: true,
            truncated: false,
        };
        let mut kept = BTreeMap::new();
        module.add(elf.dynamic_symbols(), &hidden_versions(elf), &mut kept);
        module.add(elf.symbols(), &HashMap::new(), &mut kept);
        module.functions = kept.into_values().collect();
        module.stripped = elf.symbol_table().is_none();
        module.read_relocations(elf);
        if !module.functions.is_empty() {
            module.read_code(file)?;
        }
        Ok(module)
    }

    /// Reads the code of a module in which no function of the table was found: only for others is it read at once, since a program may
    /// have 100 MiB of it.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn read_code<R: ReadRef<'data>>(&mut self, file: &File<'data, R>) -> Result<(), SymbolsError> {
        if self.code.is_empty() {
            self.code = Code::new(segments(elf(file)?));
        }
        Ok(())
    }

    /// Adds the symbols of the module's separate debug file. The caller has compared the build ids.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn add_debug_file<'debug, R: ReadRef<'debug>>(&mut self, file: &File<'debug, R>) -> Result<(), SymbolsError> {
        let elf = elf(file)?;
        let mut kept = BTreeMap::new();
        for function in self.functions.drain(..) {
            kept.insert((function.address, function.name.clone()), function);
        }
        self.add(elf.symbols(), &HashMap::new(), &mut kept);
        self.functions = kept.into_values().collect();
        self.stripped &= elf.symbol_table().is_none();
        Ok(())
    }

    fn add<'file, S: ObjectSymbol<'file>>(
        &mut self,
        symbols: impl Iterator<Item = S>,
        hidden: &HashMap<usize, String>,
        kept: &mut BTreeMap<(u64, String), FunctionSymbol>,
    ) {
        for (count, symbol) in symbols.enumerate() {
            if count >= MAX_ENTRIES || kept.len() >= MAX_KEPT {
                self.truncated = true;
                return;
            }
            let Ok(full_name) = symbol.name() else { continue };
            // The full table has `name@VERSION` and, for the default version, `name@@VERSION`.
            let (name, version) = full_name.split_once('@').unwrap_or((full_name, ""));
            if symbol.is_undefined() {
                self.asks_for_next |= NEXT_ALLOCATOR.contains(&name);
                continue;
            }
            if let Some(marker) = MARKERS.get(name) {
                self.markers.insert(marker);
            }
            self.is_loader |= name == "_rtld_global";
            let rows: Vec<_> = rows(name).collect();
            let object::SymbolFlags::Elf { st_info, .. } = symbol.flags() else { continue };
            let indirect = st_info.st_type() == elf::STT_GNU_IFUNC;
            if rows.is_empty() || !(indirect || st_info.st_type() == elf::STT_FUNC) {
                continue;
            }
            let shown = match hidden.get(&symbol.index().0) {
                Some(version) => format!("{name}@{version}"),
                None if version.is_empty() || version.starts_with('@') => name.to_owned(),
                None if is_version(version) => full_name.to_owned(),
                None => name.to_owned(),
            };
            let (address, size) = (symbol.address(), symbol.size());
            let entry = kept.entry((address, shown.clone())).or_insert(FunctionSymbol {
                name: shown,
                address,
                size,
                rows,
                indirect,
            });
            entry.size = entry.size.max(size);
        }
    }

    fn read_relocations<R: ReadRef<'data>>(&mut self, elf: &Elf<'data, R>) {
        let interesting = |name: &str| NO_RETURN.contains(&name) || rows(name).next().is_some();
        let addresses: BTreeSet<u64> = self.functions.iter().map(|function| function.address).collect();
        for (count, (slot, relocation)) in elf.dynamic_relocations().into_iter().flatten().enumerate() {
            if count >= MAX_ENTRIES || self.imports.len() + self.local_slots.len() >= MAX_SLOTS {
                self.truncated = true;
                return;
            }
            let RelocationFlags::Elf { r_type } = relocation.flags() else { continue };
            match relocation.target() {
                RelocationTarget::Symbol(index)
                    if matches!(r_type, elf::R_X86_64_GLOB_DAT | elf::R_X86_64_JUMP_SLOT | elf::R_X86_64_64) =>
                {
                    let table = elf.dynamic_symbol_table();
                    let Some(symbol) = table.and_then(|table| table.symbol_by_index(index).ok()) else { continue };
                    match symbol.name() {
                        Ok(name) if interesting(name) => {
                            self.imports.insert(slot, name.to_owned());
                        }
                        _ if symbol.is_definition() => {
                            self.local_slots.insert(slot, symbol.address());
                        }
                        _ => {}
                    }
                }
                _ if r_type == elf::R_X86_64_RELATIVE => {
                    let address = relocation.addend() as u64;
                    if addresses.contains(&address) {
                        self.local_slots.insert(slot, address);
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether a name belongs to a function that never returns.
    pub fn never_returns(name: &str) -> bool {
        NO_RETURN.contains(&name)
    }
}

type Elf<'data, R> = ElfFile64<'data, Endianness, R>;

static MARKERS: LazyLock<HashMap<&'static str, &'static str>> =
    LazyLock::new(|| families::ALL.iter().flat_map(|family| family.markers).map(|marker| (*marker, *marker)).collect());

fn elf<'file, 'data, R: ReadRef<'data>>(file: &'file File<'data, R>) -> Result<&'file Elf<'data, R>, SymbolsError> {
    let File::Elf64(elf) = file else { return Err(SymbolsError::Format) };
    if elf.endian() != Endianness::Little {
        return Err(SymbolsError::Format);
    }
    match elf.architecture() {
        Architecture::X86_64 => Ok(elf),
        other => Err(SymbolsError::Architecture(other)),
    }
}

fn segments<'data, R: ReadRef<'data>>(elf: &Elf<'data, R>) -> Vec<Segment<'data>> {
    let executable = |flags| matches!(flags, SegmentFlags::Elf { p_flags, .. } if p_flags.contains(elf::PF_X));
    elf.segments()
        .filter(|segment| executable(segment.flags()))
        .filter_map(|segment| {
            let bytes = segment.data().ok()?;
            Some(Segment { address: segment.address(), file_offset: segment.file_range().0, bytes })
        })
        .collect()
}

/// Whether the file is a program: at a fixed address, or marked as position-independent executable.
fn is_program<'data, R: ReadRef<'data>>(elf: &Elf<'data, R>) -> bool {
    let pie = || {
        let table = elf.elf_dynamic_table().ok()?;
        table.iter().find(|entry| entry.tag == elf::DT_FLAGS_1).map(|flags| flags.val & elf::DF_1_PIE.0 != 0)
    };
    elf.elf_header().e_type.get(elf.endian()) == elf::ET_EXEC || pie() == Some(true)
}

/// Names of versions are shown: they must be short and printable.
fn is_version(name: &str) -> bool {
    name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Versions of those dynamic symbols that only programs linked long ago get, by symbol index.
fn hidden_versions<'data, R: ReadRef<'data>>(elf: &Elf<'data, R>) -> HashMap<usize, String> {
    let endian = elf.endian();
    let Ok(Some(versions)) = elf.elf_section_table().versions(endian, elf.data()) else { return HashMap::new() };
    let hidden = |symbol: &object::read::elf::ElfSymbol<'data, '_, _, R>| {
        let index = versions.version_index(endian, symbol.index());
        let name = versions.version(index.index()).ok()??.name();
        let name = std::str::from_utf8(name).ok().filter(|name| is_version(name))?;
        index.is_hidden().then(|| (symbol.index().0, name.to_owned()))
    };
    let known = |symbol: &object::read::elf::ElfSymbol<'data, '_, _, R>| {
        !symbol.is_undefined() && symbol.name().is_ok_and(|name| rows(name).next().is_some())
    };
    elf.dynamic_symbols().take(MAX_ENTRIES).filter(known).filter_map(|symbol| hidden(&symbol)).take(MAX_KEPT).collect()
}

#[cfg(test)]
mod tests;
