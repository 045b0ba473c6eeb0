//! A symbol table one can trust: disjoint ranges, each with one name.
//!
//! Symbol tables as found have aliases, nested and overlapping symbols, and symbols without a size. Looking up the nearest
//! symbol below an address then gives wrong names, above all in stripped files, where only exported functions are left and
//! one of them seems to hold everything up to the next.

use std::cmp::Reverse;
use std::ops::Range;

use object::LittleEndian as LE;
use object::elf::{self, Sym64};
use object::read::ReadRef;
use object::read::elf::{SectionHeader, Sym};

use crate::target::elf::Sections;

/// Longer names are left out.
const MAX_NAME: usize = 64 << 10;

/// A function or assembler label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'data> {
    /// First ELF virtual address.
    pub start: u64,
    /// First ELF virtual address behind it.
    pub end: u64,
    /// Mangled name, without symbol version.
    pub name: &'data [u8],
}

/// Symbols as found.
#[derive(Debug, Default)]
pub struct Symbols<'data> {
    sized: Vec<Found<'data>>,
    /// Labels of assembler code. `end` is the start.
    unsized_labels: Vec<Found<'data>>,
    /// Some file had a full symbol table, not only exported functions.
    pub complete: bool,
}

#[derive(Clone, Copy, Debug)]
struct Found<'data> {
    symbol: Symbol<'data>,
    local: bool,
}

impl<'data> Symbols<'data> {
    /// Adds the symbols of one file: the program itself, its separate debug file, its embedded symbol table.
    pub fn add(&mut self, data: impl ReadRef<'data>, sections: Sections<'data>) {
        for section in sections.headers() {
            let kind = section.sh_type(LE);
            if kind != elf::SHT_SYMTAB && kind != elf::SHT_DYNSYM {
                continue;
            }
            let Ok(symbols) = section.data_as_array::<Sym64<LE>, _>(LE, data) else { continue };
            let strings = usize::try_from(section.sh_link(LE)).ok().and_then(|link| sections.headers().get(link));
            let Some(strings) = strings.and_then(|strings| strings.data(LE, data).ok()) else { continue };
            let complete = kind == elf::SHT_SYMTAB;
            self.complete |= complete && symbols.len() > 1;
            symbols.iter().for_each(|symbol| self.add_symbol(symbol, strings, complete));
        }
    }

    fn add_symbol(&mut self, symbol: &Sym64<LE>, strings: &'data [u8], complete: bool) {
        let code = matches!(symbol.st_type(), elf::STT_FUNC | elf::STT_GNU_IFUNC | elf::STT_NOTYPE);
        if !code || symbol.st_shndx(LE) == elf::SHN_UNDEF {
            return;
        }
        let at = usize::try_from(symbol.st_name(LE)).unwrap_or(usize::MAX);
        let Some(name) = strings.get(at..) else { return };
        let Some(length) = name.iter().take(MAX_NAME).position(|&byte| byte == 0 || byte == b'@') else { return };
        let (start, size) = (symbol.st_value(LE), symbol.st_size(LE));
        if length == 0 {
            return;
        }
        let symbol_range = Symbol { start, end: start.saturating_add(size), name: &name[..length] };
        let found = Found { symbol: symbol_range, local: symbol.st_bind() == elf::STB_LOCAL };
        if size > 0 {
            self.sized.push(found);
        } else if complete {
            // Among exported functions alone nothing tells where such a label's code ends.
            self.unsized_labels.push(found);
        }
    }

    /// The disjoint ranges, sorted. `code` are the executable sections, sorted; nothing reaches beyond its section.
    pub fn disjoint(mut self, code: &[Range<u64>]) -> Vec<Symbol<'data>> {
        let section = |start: u64| {
            let at = code.partition_point(|range| range.start <= start).checked_sub(1)?;
            code.get(at).filter(|range| range.contains(&start))
        };
        self.sized.retain_mut(|found| {
            let Some(range) = section(found.symbol.start) else { return false };
            found.symbol.end = found.symbol.end.min(range.end);
            true
        });
        // Outer symbols before inner ones, of aliases the best name first.
        self.sized.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
        self.sized.dedup_by_key(|found| (found.symbol.start, found.symbol.end));
        let sized = flatten(&self.sized);

        self.unsized_labels.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
        self.unsized_labels.dedup_by_key(|found| found.symbol.start);
        let mut all = Vec::with_capacity(sized.len() + self.unsized_labels.len());
        let mut labels = self.unsized_labels.iter().map(|found| found.symbol).peekable();
        let mut covered = 0;
        // A label names what no sized symbol covers, up to the next symbol or label.
        let mut fill = |until: u64, covered: u64, all: &mut Vec<Symbol<'data>>| {
            while let Some(label) = labels.next_if(|label| label.start < until) {
                if let Some(range) = section(label.start).filter(|_| label.start >= covered) {
                    let next = labels.peek().map_or(u64::MAX, |next| next.start);
                    all.push(Symbol { end: until.min(next).min(range.end), ..label });
                }
            }
        };
        for symbol in sized {
            fill(symbol.start, covered, &mut all);
            covered = symbol.end;
            all.push(symbol);
        }
        fill(u64::MAX, covered, &mut all);
        all
    }
}

/// Sorts by place, then by how well a name tells people what the function is: `malloc` before `__libc_malloc`.
fn order<'a>(found: &Found<'a>) -> impl Ord + use<'a> {
    let Symbol { start, end, name } = found.symbol;
    let mangled = name.starts_with(b"_Z") || name.starts_with(b"_R");
    let underscores = if mangled { 0 } else { name.iter().take_while(|&&byte| byte == b'_').count() };
    (start, Reverse(end), found.local, underscores, name.len(), name)
}

/// Cuts nested ranges so that each address belongs to the range that begins last before it and still holds it.
fn flatten<'data>(sorted: &[Found<'data>]) -> Vec<Symbol<'data>> {
    let mut flat = Vec::with_capacity(sorted.len());
    let mut open: Vec<Symbol<'data>> = Vec::new();
    let mut at = 0;
    let mut close = |open: &mut Vec<Symbol<'data>>, at: &mut u64, until: u64| {
        while let Some(top) = open.last() {
            let end = top.end.min(until);
            if *at < end {
                flat.push(Symbol { start: *at, end, name: top.name });
                *at = end;
            }
            if top.end > until {
                break;
            }
            open.pop();
        }
    };
    for found in sorted {
        close(&mut open, &mut at, found.symbol.start);
        at = found.symbol.start;
        open.push(found.symbol);
    }
    close(&mut open, &mut at, u64::MAX);
    flat
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(start: u64, end: u64, name: &str) -> Found<'_> {
        Found { symbol: Symbol { start, end, name: name.as_bytes() }, local: false }
    }

    fn disjoint(
        sized: &[(u64, u64, &'static str)],
        labels: &[(u64, &'static str)],
        code: &[(u64, u64)],
    ) -> Vec<(u64, u64, String)> {
        let symbols = Symbols {
            sized: sized.iter().map(|&(start, end, name)| found(start, end, name)).collect(),
            unsized_labels: labels.iter().map(|&(start, name)| found(start, start, name)).collect(),
            complete: true,
        };
        let code: Vec<_> = code.iter().map(|&(start, end)| start..end).collect();
        let text = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
        symbols.disjoint(&code).iter().map(|symbol| (symbol.start, symbol.end, text(symbol.name))).collect()
    }

    fn row(start: u64, end: u64, name: &str) -> (u64, u64, String) {
        (start, end, name.to_owned())
    }

    #[test]
    fn aliases_get_the_plainest_name() {
        let rows = disjoint(&[(8, 16, "__libc_malloc"), (8, 16, "malloc"), (8, 16, "__malloc")], &[], &[(0, 100)]);
        assert_eq!(rows, [row(8, 16, "malloc")]);
    }

    #[test]
    fn a_nested_symbol_takes_its_part_and_no_more() {
        let rows = disjoint(&[(0, 100, "outer"), (10, 20, "inner"), (90, 120, "crossing")], &[], &[(0, 1000)]);
        let expected = [row(0, 10, "outer"), row(10, 20, "inner"), row(20, 90, "outer"), row(90, 120, "crossing")];
        assert_eq!(rows, expected);
    }

    #[test]
    fn nothing_reaches_beyond_its_section() {
        let rows = disjoint(
            &[(0, u64::MAX, "huge"), (200, 210, "elsewhere")],
            &[(50, "_init")],
            &[(0, 40), (48, 60), (64, 100)],
        );
        assert_eq!(rows, [row(0, 40, "huge"), row(50, 60, "_init")]);
    }

    #[test]
    fn labels_fill_gaps_only() {
        let labels = [(5, "inside"), (10, "first"), (12, "second"), (30, "last")];
        let rows = disjoint(&[(0, 10, "f"), (20, 30, "g")], &labels, &[(0, 100)]);
        assert_eq!(
            rows,
            [row(0, 10, "f"), row(10, 12, "first"), row(12, 20, "second"), row(20, 30, "g"), row(30, 100, "last")]
        );
    }

    proptest! {
        #[test]
        fn ranges_never_overlap(
            sized in proptest::collection::vec((0u64..200, 1u64..60), 0..40),
            labels in proptest::collection::vec(0u64..200, 0..10),
        ) {
            let sized: Vec<_> = sized.into_iter().map(|(start, size)| (start, start + size, "s")).collect();
            let labels: Vec<_> = labels.into_iter().map(|start| (start, "l")).collect();
            let rows = disjoint(&sized, &labels, &[(0, 120), (130, 220)]);
            for pair in rows.windows(2) {
                prop_assert!(pair[0].1 <= pair[1].0, "{pair:?}");
            }
            for address in 0..220 {
                let covered = rows.iter().any(|row| row.2 == "s" && (row.0..row.1).contains(&address));
                let expected = sized.iter().any(|&(start, end, _)| {
                    let section = if start < 120 { 0..120 } else { 130..220 };
                    section.contains(&start) && (start..end.min(section.end)).contains(&address)
                });
                prop_assert_eq!(covered, expected, "{}", address);
            }
        }
    }
}
