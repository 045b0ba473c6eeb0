//! Names for addresses in messages, from symbol tables alone: good enough to see where two stacks part.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    sync::Arc,
};

use object::{Object as _, ObjectSymbol as _, SymbolKind};

use crate::truth::Place;

/// The functions of every module asked for.
#[derive(Default)]
pub struct Names(HashMap<Arc<Path>, BTreeMap<u64, String>>);

impl Names {
    /// `module+0xaddress (function+0xoffset)`.
    pub fn describe(&mut self, place: &Place) -> String {
        match self.function(place) {
            Some((name, offset)) => format!("{place:?} ({name}+{offset:#x})"),
            None => format!("{place:?}"),
        }
    }

    /// The nearest function that begins at or before an address, and the distance from its begin.
    pub fn function(&mut self, place: &Place) -> Option<(&str, u64)> {
        let module = place.module.as_ref()?;
        let functions = self.0.entry(module.clone()).or_insert_with(|| functions(module));
        let (begin, name) = functions.range(..=place.address).next_back()?;
        Some((name, place.address - begin))
    }
}

fn functions(path: &Path) -> BTreeMap<u64, String> {
    let Ok(bytes) = fs::read(path) else { return BTreeMap::new() };
    let Ok(file) = object::File::parse(bytes.as_slice()) else { return BTreeMap::new() };
    let symbols = file.dynamic_symbols().chain(file.symbols());
    symbols
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition())
        .filter_map(|symbol| Some((symbol.address(), symbol.name().ok()?.to_owned())))
        .collect()
}
