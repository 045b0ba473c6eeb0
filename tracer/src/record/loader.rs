//! The dynamic loader of a program that is being started: when it has mapped all libraries and not yet run any of their code.
//!
//! Loaders call an empty function at such moments, for debuggers: `_dl_debug_state`, and say in `_r_debug` what the moment is
//! (`<link.h>`; glibc's elf/rtld.c, musl's ldso/dynlink.c). glibc calls it once before it maps libraries and once when they
//! are mapped and relocated; musl only then, and has no `_r_debug`.

use object::{Object as _, ObjectSymbol as _};

use crate::target::{Module, Scan};

/// Offset of `r_state` in `struct r_debug`.
const R_STATE: u64 = 24;
/// `RT_CONSISTENT`.
pub const CONSISTENT: u32 = 0;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loader {
    /// Its module number.
    pub module: u16,
    /// File offset of `_dl_debug_state`.
    pub debug_state: u64,
    /// Process address of `r_state`; `None` where the loader has no `_r_debug`.
    pub state: Option<u64>,
}

impl Loader {
    /// Finds the loader's symbols; `None` where the module is no loader that debuggers know.
    pub fn find(module: &Module, scan: &Scan) -> Option<Self> {
        let bias = scan.mappings.iter().find(|mapping| mapping.module == module.number)?.bias;
        let reader = module.elf().ok()?;
        let file = object::File::parse(&reader).ok()?;
        let address = |name: &str| {
            let mut symbols = file.dynamic_symbols().chain(file.symbols());
            symbols.find(|symbol| symbol.name() == Ok(name) && symbol.is_definition()).map(|symbol| symbol.address())
        };
        let function = address("_dl_debug_state")?;
        let segments = &module.facts().ok()?.segments;
        let segment = segments
            .iter()
            .find(|segment| (segment.address..segment.address.saturating_add(segment.file_size)).contains(&function))?;
        Some(Self {
            module: module.number,
            debug_state: function - segment.address + segment.file_offset,
            state: address("_r_debug").map(|address| address.wrapping_add(bias).wrapping_add(R_STATE)),
        })
    }
}
