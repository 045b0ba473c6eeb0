//! Any file as a module. Real libraries make a good corpus, without compressed sections: those may hold more rows than
//! the file has bytes.
#![no_main]

#[path = "../../tracer/tests/table_invariants/mod.rs"]
mod table_invariants;

use libfuzzer_sys::fuzz_target;
use tracer::unwind::ModuleTable;

fuzz_target!(|file: &[u8]| {
    if let Ok(table) = ModuleTable::build(file) {
        table_invariants::check(&table, file.len() as u64);
        for page in 0..table.pages().len() as u64 {
            table.lookup((table.first_page() + page) * 4096 + 2048);
        }
    }
});
