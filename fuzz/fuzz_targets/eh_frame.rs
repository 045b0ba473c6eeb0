//! Any bytes as `.eh_frame` of a sound file: gets to the call frame instructions at once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer::unwind::ModuleTable;

/// Bytes of text; it begins at address 0x1000.
const TEXT: usize = 0x3000;
/// Where `.eh_frame` begins, in the file and in memory.
const EH_FRAME: usize = 0x1000 + TEXT;

/// An ELF file of one executable segment, whose `.eh_frame` is found through a program header, as after stripping.
fn file(eh_frame: &[u8]) -> Vec<u8> {
    let mut file = vec![0; EH_FRAME + eh_frame.len()];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    // Magic, 64-bit, little-endian, version; shared object for x86-64.
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &[3, 0, 62, 0, 1]);
    // Program headers: offset, then (behind the header's size) their size and number.
    put(32, &[64]);
    put(52, &[64, 0, 56, 0, 3]);
    let mut segment = |index: usize, kind: u32, flags: u32, start: usize, size: usize| {
        let at = 64 + 56 * index;
        put(at, &kind.to_le_bytes());
        put(at + 4, &flags.to_le_bytes());
        for offset in [8, 16, 24] {
            put(at + offset, &start.to_le_bytes());
        }
        put(at + 32, &size.to_le_bytes());
        put(at + 40, &size.to_le_bytes());
    };
    segment(0, 1, 5, 0x1000, TEXT);
    segment(1, 1, 4, EH_FRAME, eh_frame.len());
    segment(2, 0x6474_e550, 4, 0x200, 8);
    // .eh_frame_hdr: version; the pointer to .eh_frame as an absolute 4-byte value; no search table.
    put(0x200, &[1, 3, 0xff, 0xff]);
    put(0x204, &(EH_FRAME as u32).to_le_bytes());
    put(EH_FRAME, eh_frame);
    file
}

fuzz_target!(|eh_frame: &[u8]| {
    let Ok(table) = ModuleTable::build(file(eh_frame).as_slice()) else { panic!("the file is sound") };
    assert!(table.rows().len() <= eh_frame.len() + 3 * TEXT / 4096 + 3);
    for address in (0x1000..0x1000 + TEXT as u64).step_by(64) {
        let page = table.pages().get((address / 4096 - table.first_page()) as usize);
        assert_eq!(table.lookup(address).is_some(), page.is_some_and(|page| page.count > 0));
    }
});
