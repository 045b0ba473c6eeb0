//! Where the names of a module's functions would come from, without looking any up.

use std::path::{Path, PathBuf};

use object::LittleEndian as LE;
use object::elf;
use object::read::elf::SectionHeader;

use super::NameSources;
use super::name_module::find_debug_file;
use crate::target::Module;
use crate::target::elf::{Sections, reader};
use crate::target::filesystem::Root;
use crate::target::module::Missing;

/// The best symbol table of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SymbolTable {
    /// None: stripped, and it exports nothing.
    Absent,
    /// Only exported functions have names (`.dynsym`).
    Exported,
    /// All functions, in a compressed table of its own (`.gnu_debugdata`).
    Embedded,
    /// All functions (`.symtab`), here or in the separate debug file.
    Full,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Available {
    /// Names of functions.
    pub symbols: SymbolTable,
    /// Source lines and inlined functions (DWARF).
    pub lines: bool,
    /// Separate debug file that would be read.
    pub debug_file: Option<PathBuf>,
}

/// Looks at a module of the process that `source` is of.
///
/// # Errors
/// Why its file is not known.
pub fn available(module: &Module, source: &NameSources) -> Result<Available, Missing> {
    let contents = module.unchanged()?;
    let host = Root::host().ok();
    let roots: Vec<&Root> = std::iter::once(&*source.root).chain(&host).collect();
    let debug =
        if contents.facts.has_debug_info { None } else { find_debug_file(contents, Path::new(&module.path), &roots) };
    let (own, own_lines) = tables(&contents.file);
    let (separate, separate_lines) = debug.as_ref().map_or((SymbolTable::Absent, false), |debug| tables(&debug.file));
    Ok(Available {
        symbols: own.max(separate),
        lines: own_lines || separate_lines,
        debug_file: debug.map(|debug| debug.path),
    })
}

/// The best table of one file, and whether it has DWARF.
fn tables(file: &std::fs::File) -> (SymbolTable, bool) {
    let data = reader(file);
    let sections = Sections::read(&data).unwrap_or_default();
    let has = |kind| sections.headers().iter().any(|section| section.sh_type(LE) == kind);
    let symbols = if has(elf::SHT_SYMTAB) {
        SymbolTable::Full
    } else if sections.find(".gnu_debugdata").is_some() {
        SymbolTable::Embedded
    } else if has(elf::SHT_DYNSYM) {
        SymbolTable::Exported
    } else {
        SymbolTable::Absent
    };
    (symbols, sections.find(".debug_info").is_some())
}
