//! Which functions to count: `--layer`, `--symbol`, `--offset`.

use super::wrong_usage;
use crate::{
    allocators::{Layer, NamedFunction, by_hand::MAX_NAMED},
    record::discover::Wanted,
};

/// See the module.
#[derive(Clone, Debug, clap::Args)]
pub struct Functions {
    /// Which layer to count; several would count the same memory more than once
    #[arg(long, value_name = "LAYER", default_value = "heap")]
    layer: LayerName,
    /// Count the calls of this function too, which is not found by itself. Its first argument is the size; `:1` when
    /// argument 1 is (they count from 0), `:0*1` a product, `:realloc`, or `:go` for Go's registers; with --live,
    /// `:free` releases. May be given more than once
    #[arg(long, value_name = "NAME[:SIZE]", value_parser = NamedFunction::symbol)]
    symbol: Vec<NamedFunction>,
    /// The same for a function without a name: the file that it is in, and its address there as `objdump -d` shows it
    #[arg(long, value_name = "FILE+0xADDRESS[:SIZE]", value_parser = NamedFunction::offset)]
    offset: Vec<NamedFunction>,
}

/// A layer of the table of allocators.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LayerName {
    /// What programs ask of their allocator
    Heap,
    /// What Python asks of its object allocator
    Objects,
    /// Anonymous memory asked of the kernel by mmap
    Mappings,
}

impl Functions {
    /// Gives the arguments their meaning.
    ///
    /// # Errors
    /// More functions than there are counters for.
    pub fn wanted(&self) -> anyhow::Result<Wanted> {
        let layer = match self.layer {
            LayerName::Heap => Layer::Heap,
            LayerName::Objects => Layer::Objects,
            LayerName::Mappings => Layer::Mappings,
        };
        let named: Vec<_> = self.symbol.iter().chain(&self.offset).cloned().collect();
        if named.len() > MAX_NAMED {
            let number = named.len();
            return Err(wrong_usage(format_args!(
                "--symbol and --offset can name {MAX_NAMED} functions, not {number}"
            )));
        }
        Ok(Wanted { layer, named, releases: false })
    }
}
