//! Names for addresses in messages, from symbol tables alone: good enough to see where two stacks part.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    sync::Arc,
};

use object::{Object as _, ObjectSymbol as _, SymbolKind};

use tracer::record::{raw::RawRecording, stacks::RawStack};

use crate::truth::{Place, real_path};

/// The functions of every module asked for.
#[derive(Default)]
pub struct Names(HashMap<Arc<Path>, Functions>);

/// Ends and names by first address.
type Functions = BTreeMap<u64, (u64, String)>;

impl Names {
    /// `module+0xaddress (function+0xoffset)`.
    pub fn describe(&mut self, place: &Place) -> String {
        match self.function(place) {
            Some((name, offset)) => format!("{place:?} ({name}+{offset:#x})"),
            None => format!("{place:?}"),
        }
    }

    /// The function that holds an address, and the distance from its begin.
    pub fn function(&mut self, place: &Place) -> Option<(&str, u64)> {
        let module = place.module.as_ref()?;
        let functions = self.0.entry(module.clone()).or_insert_with(|| functions(module));
        let (begin, (end, name)) = functions.range(..=place.address).next_back()?;
        (place.address < *end).then(|| (name.as_str(), place.address - begin))
    }
}

/// Names of the functions of one module in the stacks of a recording.
pub struct ProgramNames {
    module: u16,
    path: Arc<Path>,
    names: Names,
}

impl ProgramNames {
    /// Of the program at `path`.
    pub fn new(recording: &RawRecording, path: &Path) -> Self {
        let path = real_path(path);
        let module = recording.modules.iter().find(|module| Path::new(&module.path) == &*path);
        let module = module.unwrap_or_else(|| panic!("{} is no module of the recording", path.display()));
        Self { module: module.number, path, names: Names::default() }
    }

    /// Of a stack's frames in the module, leaf first, without the endings that compilers give to clones.
    pub fn of_stack(&mut self, stack: &RawStack) -> impl Iterator<Item = String> {
        stack.frames.iter().filter(|frame| frame.module() == self.module).map(|frame| {
            let place = Place { module: Some(self.path.clone()), address: frame.address() };
            let name = self.names.function(&place).map_or("?", |(name, _)| name);
            name.split('.').next().unwrap_or_default().to_owned()
        })
    }
}

fn functions(path: &Path) -> Functions {
    let Ok(bytes) = fs::read(path) else { return Functions::new() };
    let Ok(file) = object::File::parse(bytes.as_slice()) else { return Functions::new() };
    let symbols = file.dynamic_symbols().chain(file.symbols());
    symbols
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition())
        .filter_map(|symbol| {
            // What assembly defines may have no size.
            let end = symbol.address() + symbol.size().max(1);
            Some((symbol.address(), (end, symbol.name().ok()?.to_owned())))
        })
        .collect()
}
