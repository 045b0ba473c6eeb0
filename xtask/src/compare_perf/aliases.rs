//! Functions that have several names: `free` and `cfree` are one in glibc, and the compiler makes functions of equal code one. Each
//! tool has its own favourite.

use std::{collections::HashMap, fs, path::PathBuf};

use object::{Object as _, ObjectSymbol as _, SymbolKind};

use super::Modules;

/// The name that stands for each alias.
#[derive(Debug, Default)]
pub struct Aliases(HashMap<String, String>);

impl Aliases {
    /// Reads the symbols of files, and of their separate debug files; those that cannot be read have no aliases.
    pub fn read(modules: &Modules) -> Self {
        let mut aliases = Self::default();
        for bytes in modules.iter().filter_map(|path| fs::read(path).ok()) {
            let mut by_address: HashMap<u64, Vec<String>> = HashMap::new();
            let debug = debug_file(&bytes).and_then(|path| fs::read(path).ok());
            for file in [Some(&bytes), debug.as_ref()].into_iter().flatten() {
                collect(file, &mut by_address);
            }
            for mut names in by_address.into_values() {
                names.sort_unstable();
                if let Some(first) = names.first().cloned() {
                    aliases.0.extend(names.into_iter().map(|name| (name, first.clone())));
                }
            }
        }
        aliases
    }

    /// The name that stands for this one.
    pub fn name<'a>(&'a self, name: &'a str) -> &'a str {
        let plain = plain(name);
        self.0.get(plain).map_or(plain, String::as_str)
    }
}

/// The names of a file's functions by address, as people write them.
fn collect(bytes: &[u8], by_address: &mut HashMap<u64, Vec<String>>) {
    let Ok(file) = object::File::parse(bytes) else { return };
    let symbols = file.dynamic_symbols().chain(file.symbols());
    let functions = symbols.filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition());
    for symbol in functions {
        if let Ok(name) = symbol.name() {
            let name = format!("{:#}", rustc_demangle::demangle(name));
            by_address.entry(symbol.address()).or_default().push(plain(&name).to_owned());
        }
    }
}

/// Where Debian puts the debug file of a program: by its build id.
fn debug_file(bytes: &[u8]) -> Option<PathBuf> {
    let file = object::File::parse(bytes).ok()?;
    let id: String = file.build_id().ok()??.iter().map(|byte| format!("{byte:02x}")).collect();
    let (directory, name) = id.split_at_checked(2)?;
    Some(format!("/usr/lib/debug/.build-id/{directory}/{name}.debug").into())
}

/// Without the version of a symbol: `malloc@@GLIBC_2.2.5`.
fn plain(name: &str) -> &str {
    if name.contains("::") { name } else { name.split('@').next().unwrap_or(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_address_are_one() {
        let libc = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6"].map(Into::into).to_vec();
        let aliases = Aliases::read(&libc);
        if aliases.0.is_empty() {
            eprintln!("skipped: no glibc here");
            return;
        }
        assert_eq!(aliases.name("free"), aliases.name("cfree@GLIBC_2.2.5"));
        assert_ne!(aliases.name("free"), aliases.name("malloc"));
        assert_eq!(aliases.name("a::b@c"), "a::b@c");
    }
}
