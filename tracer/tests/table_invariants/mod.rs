//! What holds for every unwind table, whatever bytes it was built from. The fuzz targets ask it too (fuzz/fuzz_targets).

use tracer::unwind::ModuleTable;
use tracer_ebpf::abi::unwind::{MAX_ROWS_PER_PAGE, PAGE_SIZE};

/// Panics where it does not hold. `bytes`: of the file or of its unwind information, whichever bounds the rows.
pub fn check(table: &ModuleTable, bytes: u64) {
    let mut rows_of_pages = 0;
    for page in table.pages() {
        assert!(page.count <= MAX_ROWS_PER_PAGE);
        let rows = &table.rows()[page.first as usize..][..page.count as usize];
        assert!(rows.first().is_none_or(|row| row.offset() == 0));
        assert!(rows.windows(2).all(|pair| pair[0].offset() < pair[1].offset()));
        assert!(rows.iter().all(|row| (row.rule() as usize) < table.rules().len()));
        rows_of_pages += rows.len();
    }
    assert_eq!(rows_of_pages, table.rows().len());
    // A row takes at least a byte of unwind information, or opens a page, or ends a gap.
    assert!(table.rows().len() as u64 <= bytes + 3 * table.pages().len() as u64);
    let coverage = table.coverage();
    let parts = [coverage.with_rule, coverage.unsupported, coverage.frame_pointer, coverage.no_info];
    assert_eq!(parts.iter().sum::<u64>(), coverage.text);

    let all = 0..u64::MAX;
    let pieces = table.pieces(all);
    assert!(pieces.iter().all(|(piece, _)| piece.start < piece.end));
    assert!(pieces.windows(2).all(|pair| pair[0].0.end <= pair[1].0.start));
    let first = table.first_page().wrapping_mul(PAGE_SIZE);
    for address in [0, first.wrapping_sub(1), first, first + 4095, u64::MAX] {
        table.lookup(address);
    }
}
