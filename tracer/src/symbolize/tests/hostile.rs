//! Files made to harm their reader.

use object::LittleEndian as LE;
use object::read::elf::SectionHeader;
use proptest::prelude::*;

use super::*;
use crate::target::elf::{Sections, reader};

const SOURCE: &str = "
    static inline __attribute__((always_inline)) int inner(int x) { return x * 3; }
    __attribute__((noinline)) int outer(int x) { return inner(x) + 1; }
    int main(int argc, char **argv) { return outer(argc); }
";

fn compile(workshop: &Workshop) -> (PathBuf, u64) {
    workshop.write("a.c", SOURCE);
    workshop.run("gcc -O2 -g a.c -o a");
    (workshop.path("a"), workshop.function("a", "outer").0)
}

/// File offset and size of a section.
fn section(path: &Path, name: &str) -> (usize, usize) {
    let file = fs::File::open(path).unwrap();
    let data = reader(&file);
    let (offset, size) = Sections::read(&data).unwrap().find(name).unwrap().file_range(LE).unwrap();
    (offset as usize, size as usize)
}

#[test]
fn nesting_that_exhausts_the_stack_costs_the_lines_only() {
    let workshop = Workshop::new();
    // One entry of one byte opens an inlined function with children; three million of them nest.
    let source = "
        .text
        .globl _start, victim
        .type victim, @function
        victim: nop; nop; nop; ret
        .size victim, . - victim
        end_of_text:
        .type _start, @function
        _start: ret
        .size _start, . - _start
        .section .debug_abbrev, \"\", @progbits
        .uleb128 1, 0x11
        .byte 1
        .uleb128 0x11, 0x01, 0x12, 0x01, 0x10, 0x17, 0, 0
        .uleb128 2, 0x2e
        .byte 1
        .uleb128 0x03, 0x08, 0x11, 0x01, 0x12, 0x01, 0, 0
        .uleb128 3, 0x1d
        .byte 1
        .uleb128 0, 0
        .byte 0
        .section .debug_info, \"\", @progbits
        .long info_end - info_begin
        info_begin:
        .short 4
        .long 0
        .byte 8
        .uleb128 1
        .quad victim, end_of_text
        .long line_begin
        .uleb128 2
        .asciz \"victim\"
        .quad victim, end_of_text
        .fill 3000000, 1, 3
        info_end:
        .section .debug_line, \"\", @progbits
        line_begin:
        .long line_end - line_version
        line_version:
        .short 2
        .long program - header
        header:
        .byte 1, 1, 1, 1, 4
        .byte 0, 1, 1
        .byte 0
        .asciz \"victim.c\"
        .byte 0, 0, 0
        .byte 0
        program:
        .byte 0, 9, 2
        .quad victim
        .byte 1
        .byte 2, 4
        .byte 0, 1, 1
        line_end:
    ";
    workshop.write("a.s", source);
    workshop.run("gcc -nostdlib -static a.s -o a");
    let (victim, _) = workshop.function("a", "victim");
    let named = name(&workshop.path("a"), &[victim + 1]);
    assert_eq!(named.names(0), ["victim"]);
    assert_eq!(named.module_reports[0].debug_info, DebugInfo::Failed(Failure::Crashed));
    // Without inlined functions nothing nests.
    let shallow = Settings { inlined: false, ..Settings::default() };
    assert_eq!(name_with(&workshop.path("a"), &[victim + 1], shallow).lines(0), ["victim victim.c:1"]);
}

#[test]
fn a_section_that_claims_to_unpack_to_exabytes_is_not_believed() {
    let workshop = Workshop::new();
    workshop.write("a.c", SOURCE);
    workshop.run("gcc -O2 -g -gz=zlib a.c -o a");
    let path = workshop.path("a");
    let (outer, _) = workshop.function("a", "outer");
    let (offset, _) = section(&path, ".debug_info");
    let mut bytes = fs::read(&path).unwrap();
    for size in [u64::MAX, 1 << 60, 1 << 40] {
        bytes[offset + 8..offset + 16].copy_from_slice(&size.to_le_bytes());
        fs::write(&path, &bytes).unwrap();
        let named = name(&path, &[outer]);
        assert_eq!(named.names(0), ["outer"]);
        assert_eq!(named.module_reports[0].debug_info, DebugInfo::Failed(Failure::TooLarge));
    }
    // Less than what comes out.
    bytes[offset + 8..offset + 16].copy_from_slice(&7_u64.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    assert_eq!(name(&path, &[outer]).module_reports[0].debug_info, DebugInfo::Failed(Failure::Malformed));
}

#[test]
fn a_line_program_that_names_a_file_out_of_range_costs_that_line() {
    let workshop = Workshop::new();
    let (path, outer) = compile(&workshop);
    let (offset, size) = section(&path, ".debug_line");
    let clean = fs::read(&path).unwrap();
    let mut failed = 0;
    // Somewhere in the program DW_LNS_set_file can be made of another opcode; the library panics on the index.
    for at in offset..offset + size - 1 {
        let mut bytes = clean.clone();
        bytes[at..at + 2].copy_from_slice(&[4, 0x7f]);
        fs::write(&path, &bytes).unwrap();
        let named = name(&path, &[outer]);
        assert_eq!(named.names(0).last(), Some(&"outer"));
        failed += usize::from(named.module_reports[0].debug_info == DebugInfo::Used { failed: 1 });
    }
    assert!(failed > 0);
}

#[test]
fn links_to_pipes_do_not_block() {
    let workshop = Workshop::new();
    let (_, outer) = compile(&workshop);
    workshop.run("objcopy --only-keep-debug a a.debug");
    workshop.run("objcopy --strip-all --add-gnu-debuglink=a.debug a stripped");
    fs::remove_file(workshop.path("a.debug")).unwrap();
    workshop.run("mkfifo a.debug");
    let named = name(&workshop.path("stripped"), &[outer]);
    assert_eq!(named.module_reports[0].reason, Some(Unresolved::Stripped));

    let mut link = workshop.path("a.debug").into_os_string().into_encoded_bytes();
    link.push(0);
    link.extend_from_slice(&[7; 20]);
    fs::write(workshop.path("link"), link).unwrap();
    workshop.run("objcopy --add-section .gnu_debugaltlink=link a linked");
    assert_eq!(name(&workshop.path("linked"), &[outer]).names(0).last(), Some(&"outer"));
}

#[test]
fn a_reader_that_takes_too_long_is_ended() {
    let workshop = Workshop::new();
    let (path, outer) = compile(&workshop);
    let limits = Limits { time: Duration::ZERO, ..Settings::default().limits };
    let named = name_with(&path, &[outer], Settings { limits, ..Settings::default() });
    assert_eq!(named.names(0), [format!("a+{outer:#x}")]);
    assert_eq!(named.module_reports[0].reason, Some(Unresolved::Reading(Failure::TimedOut)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever the bytes are, there is an answer, and it has a name for each address.
    #[test]
    fn random_damage_is_survived(damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..30)) {
        thread_local! {
            static CLEAN: (Workshop, Vec<u8>, Vec<u64>) = {
                let workshop = Workshop::new();
                let (path, outer) = compile(&workshop);
                let bytes = fs::read(path).unwrap();
                (workshop, bytes, (outer..outer + 8).collect())
            };
        }
        CLEAN.with(|(workshop, clean, addresses)| {
            let mut bytes = clean.clone();
            // Behind the file header and the program headers, so that the file stays one that could have been loaded.
            for (at, value) in &damage {
                let at = 0x400 + at.index(bytes.len() - 0x400);
                bytes[at] = *value;
            }
            let path = workshop.path("damaged");
            fs::write(&path, bytes).unwrap();
            let named = name(&path, addresses);
            for index in 0..addresses.len() {
                assert!(!named.names(index).is_empty());
                assert!(named.names(index).iter().all(|name| !name.is_empty()));
            }
        });
    }
}
