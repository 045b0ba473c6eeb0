//! The names of the programs in an object.

use anyhow::Context as _;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};

/// `name (section)` of each program: the global functions outside `.text`, which holds the functions they call.
///
/// # Errors
/// When the bytes are no ELF object.
pub fn programs(object: &[u8]) -> anyhow::Result<Vec<String>> {
    let file = object::File::parse(object).context("the linker did not write an ELF object")?;
    let mut programs = Vec::new();
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_global()) {
        let Some(section) = symbol.section_index() else { continue };
        let section = file.section_by_index(section)?.name()?.to_owned();
        if section != ".text" {
            programs.push(format!("{} ({section})", symbol.name()?));
        }
    }
    programs.sort_unstable();
    Ok(programs)
}
