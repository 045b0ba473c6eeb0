//! Any file as a module. Real libraries make a good corpus.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer::unwind::ModuleTable;

fuzz_target!(|file: &[u8]| {
    if let Ok(table) = ModuleTable::build(file) {
        for page in 0..table.pages().len() as u64 {
            table.lookup((table.first_page() + page) * 4096 + 2048);
        }
        table.pieces(0..u64::MAX);
    }
});
