//! Names and lines for the addresses of one module. Runs confined, see [`super::confine`].

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{CodeInfo, Input, Sym, Symbolized, Symbolizer};
use serde::{Deserialize, Serialize};

use super::demangle::demangle;
use super::image::Image;
use super::unresolved::Failure;
use crate::target::identity::printable;

/// What the reader of one module found out.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Functions that `addresses` refers to.
    pub functions: Vec<Named>,
    /// For each address asked for its functions and lines, innermost inlined one first; none for an address that no symbol
    /// covers.
    pub addresses: Vec<Vec<(u32, u32)>>,
    /// The file has symbols of all functions, not only of exported ones.
    pub complete: bool,
    /// Where the lines come from.
    pub debug_info: DebugInfo,
}

/// A function's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Named {
    /// Demangled.
    pub name: String,
    /// As the symbol table has it.
    pub system_name: String,
    /// Source file; empty where unknown.
    pub file: String,
}

/// Whether a module's debug information was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DebugInfo {
    /// There is none, or none was wanted: names only.
    #[default]
    Absent,
    /// Used; reading it failed for this many addresses, which have their names only.
    Used {
        /// See the variant.
        failed: u64,
    },
    /// It cannot be used.
    Failed(Failure),
}

/// Which parts of the debug information are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Lines, and names of functions without symbol.
    pub debug_info: bool,
    /// Inlined functions.
    pub inlined: bool,
}

/// Looks up ELF virtual addresses in an image.
pub fn look_up(image: &Image, addresses: &[u64], wanted: Wanted) -> Answer {
    let reader = Reader::new(image, wanted);
    let mut functions = Functions::default();
    let mut failed = 0;
    let lines = addresses
        .iter()
        .map(|&address| {
            let (symbol, debug) = (reader.symbol(address), reader.debug_info(address));
            failed += u64::from(debug.is_err());
            functions.lines(symbol, debug.unwrap_or_default())
        })
        .collect();
    Answer {
        functions: functions.all,
        addresses: lines,
        complete: image.complete,
        debug_info: match (image.debug_info, reader.debug_info_is_usable) {
            (Err(failure), _) => DebugInfo::Failed(failure),
            (Ok(true), false) => DebugInfo::Failed(Failure::Malformed),
            (Ok(true), true) => DebugInfo::Used { failed },
            (Ok(false), _) => DebugInfo::Absent,
        },
    }
}

/// blazesym over an image.
struct Reader {
    symbolizer: Symbolizer,
    symbols: Source<'static>,
    debug_info: Source<'static>,
    debug_info_is_usable: bool,
}

impl Reader {
    fn new(image: &Image, wanted: Wanted) -> Self {
        let symbolizer = Symbolizer::builder()
            // The image never changes; and it names no files to look for.
            .enable_auto_reload(false)
            .set_debug_dirs(Some(std::iter::empty::<PathBuf>()))
            .enable_demangling(false)
            .enable_code_info(true)
            .enable_inlined_fns(wanted.inlined)
            .build();
        let source = |debug_syms| {
            let mut elf = Elf::new(image.path());
            elf.debug_syms = debug_syms;
            Source::Elf(elf)
        };
        let (symbols, debug_info) = (source(false), source(true));
        // Asking for nothing reads the tables that all questions share. Where that fails it would fail, as slowly, for
        // each address.
        let read = || symbolizer.symbolize(&debug_info, Input::VirtOffset(&[])).is_ok();
        let usable =
            wanted.debug_info && image.debug_info == Ok(true) && catch_unwind(AssertUnwindSafe(read)).unwrap_or(false);
        Self { symbolizer, symbols, debug_info, debug_info_is_usable: usable }
    }

    fn symbol(&self, address: u64) -> Option<Sym<'_>> {
        self.symbolizer.symbolize_single(&self.symbols, Input::VirtOffset(address)).ok()?.into_sym()
    }

    /// Malformed DWARF gives an error, or a panic inside the library; both concern this address only.
    fn debug_info(&self, address: u64) -> Result<Option<Sym<'_>>, Failure> {
        if !self.debug_info_is_usable {
            return Ok(None);
        }
        let read = || self.symbolizer.symbolize_single(&self.debug_info, Input::VirtOffset(address));
        match catch_unwind(AssertUnwindSafe(read)) {
            Ok(Ok(found)) => Ok(Symbolized::into_sym(found)),
            Ok(Err(_)) | Err(_) => Err(Failure::Malformed),
        }
    }
}

/// Distinct functions.
#[derive(Default)]
struct Functions {
    all: Vec<Named>,
    index: HashMap<(String, String), u32>,
}

impl Functions {
    /// The lines of one address out of what the symbol table and the debug information say.
    fn lines(&mut self, symbol: Option<Sym<'_>>, debug: Option<Sym<'_>>) -> Vec<(u32, u32)> {
        let Some(debug) = debug else {
            return symbol.map(|symbol| (self.function(symbol.name.into_owned(), None), 0)).into_iter().collect();
        };
        let name = better(symbol.as_ref(), &debug).to_owned();
        let outer = (!name.is_empty()).then_some((name, debug.code_info.as_deref()));
        let inlined = debug.inlined.iter().filter(|inlined| !inlined.name.is_empty());
        let inlined = inlined.map(|inlined| (inlined.name.to_string(), inlined.code_info.as_ref()));
        let frames: Vec<_> = outer.into_iter().chain(inlined).collect();
        let line = |code: Option<&CodeInfo<'_>>| code.and_then(|code| code.line).unwrap_or(0);
        frames.into_iter().rev().map(|(name, code)| (self.function(name, code), line(code))).collect()
    }

    fn function(&mut self, system_name: String, code: Option<&CodeInfo<'_>>) -> u32 {
        let file = code.map(|code| printable(code.to_path().as_os_str().as_encoded_bytes())).unwrap_or_default();
        let next = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let key = (system_name, file);
        if let Some(&known) = self.index.get(&key) {
            return known;
        }
        let (system_name, file) = key.clone();
        let name = demangle(&system_name).unwrap_or_else(|| system_name.clone());
        self.index.insert(key, next);
        self.all.push(Named { name, system_name, file });
        next
    }
}

/// The name to use for a function that is not inlined, as the symbol table or as the debug information has it.
///
/// Where both mean the same function the symbol table has its plainest alias: glibc's debug information calls `malloc`
/// `__GI___libc_malloc`. Compilers leave the mangled name of some local functions out of the debug information; then the
/// symbol table knows more. But what they call `f.constprop.0` or `f.cold` there is `f`.
fn better<'a>(symbol: Option<&'a Sym<'_>>, debug: &'a Sym<'_>) -> &'a str {
    let mangled = |name: &str| name.starts_with("_Z") || name.starts_with("_R");
    match symbol {
        Some(symbol) if debug.name.is_empty() || mangled(&symbol.name) && !mangled(&debug.name) => &symbol.name,
        Some(symbol) if symbol.addr == debug.addr && !symbol.name.contains('.') => &symbol.name,
        _ => &debug.name,
    }
}
