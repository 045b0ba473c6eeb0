use std::collections::hash_map::Entry;

use proptest::prelude::*;
use tracer_ebpf::abi::unwind::{PAGE_SIZE, RBP_SAME, RuleKind};

use super::*;
use crate::target::FileState;

/// What the kernel has: only what was uploaded.
#[derive(Default)]
struct Kernel {
    shards: HashMap<u32, Vec<u32>>,
    rules: Vec<Rule>,
}

impl Kernel {
    fn upload(&mut self, placements: &mut Placements) {
        let (first, new) = placements.take_new_rules();
        assert_eq!(first as usize, self.rules.len());
        self.rules.extend(new);
        for DirtyShard { shard, words, changed } in placements.take_dirty() {
            let copy = self.shards.entry(shard).or_insert_with(|| vec![0; SHARD_WORDS as usize]);
            copy[changed.clone()].copy_from_slice(&words[changed]);
        }
        assert!(placements.take_dirty().next().is_none());
    }

    /// As the walk looks a rule up.
    fn lookup(&self, page_table: u32, address: u64) -> Option<Rule> {
        let word = |at: u32| self.shards[&(at / SHARD_WORDS)][(at % SHARD_WORDS) as usize];
        let entry = page_table.wrapping_add(((address / PAGE_SIZE) as u32).wrapping_mul(2));
        assert_eq!(entry / SHARD_WORDS, (entry + 1) / SHARD_WORDS, "an entry straddles shards");
        let (first, count) = (word(entry), word(entry + 1));
        if count == 0 {
            return None;
        }
        assert_eq!(first / SHARD_WORDS, (first + count - 1) / SHARD_WORDS, "a page's rows straddle shards");
        let rows = &self.shards[&(first / SHARD_WORDS)][(first % SHARD_WORDS) as usize..][..count as usize];
        let before = rows.partition_point(|&row| Row(row).offset() <= (address % PAGE_SIZE) as u32);
        Some(self.rules[Row(rows[before - 1]).rule() as usize])
    }
}

fn identity(inode: u64) -> FileState {
    FileState { device: 1, inode, size: 0, changed_ns: 0 }
}

/// A table with so many rows in each page.
fn table(first_page: u64, rows_of_pages: &[u32], seed: i32) -> ModuleTable {
    let rule = |cfa_offset| Rule { kind: RuleKind::Rsp as u8, rbp: RBP_SAME, rbp_offset: -8, cfa_offset };
    let mut table = ModuleTable { first_page, rules: (0..7).map(|n| rule(seed + n)).collect(), ..Default::default() };
    for &count in rows_of_pages {
        table.pages.push(Page { first: table.rows.len() as u32, count });
        let spread = (PAGE_SIZE as u32 / count.max(1)).max(1);
        table.rows.extend((0..count).map(|n| Row::new((n * spread) as u16, (n ^ seed as u32) % 7)));
    }
    table
}

fn check(kernel: &Kernel, page_table: u32, table: &ModuleTable) {
    for page in 0..table.pages().len() as u64 {
        for offset in [0, 700, 4095] {
            let address = (table.first_page() + page) * PAGE_SIZE + offset;
            assert_eq!(kernel.lookup(page_table, address), table.lookup(address), "{address:#x}");
        }
    }
}

fn pages() -> impl Strategy<Value = Vec<u32>> {
    let count = prop_oneof![4 => Just(0_u32), 20 => 1..300_u32, 1 => Just(4096)];
    prop_oneof![proptest::collection::vec(count.clone(), 1..40), proptest::collection::vec(count, 900..1100)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_placed_is_what_is_looked_up(
        steps in proptest::collection::vec((0..12_u64, 0..1_u64 << 51, pages()), 1..20),
    ) {
        let mut placements = Placements::new(3 << 20);
        let mut kernel = Kernel::default();
        let mut placed: HashMap<u64, (u32, ModuleTable)> = HashMap::new();
        for (module, first_page, pages) in steps {
            if let Entry::Vacant(vacant) = placed.entry(module) {
                let table = table(first_page, &pages, module as i32 * 3);
                let free = placements.free.count();
                match placements.place(identity(module), &table) {
                    Ok(page_table) => drop(vacant.insert((page_table, table))),
                    Err(error) => prop_assert_eq!((placements.free.count(), error.free), (free, 4 * u64::from(free))),
                }
            }
            kernel.upload(&mut placements);
            for (page_table, table) in placed.values() {
                check(&kernel, *page_table, table);
            }
        }
    }
}

#[test]
fn a_placed_table_is_not_written_again() {
    let mut placements = Placements::new(1 << 20);
    let table = table(5, &[10, 20], 0);
    let first = placements.place(identity(1), &table).unwrap();
    assert_eq!(placements.take_dirty().map(|dirty| dirty.changed).collect::<Vec<_>>(), vec![0..34]);
    assert_eq!(placements.place(identity(1), &table), Ok(first));
    assert_eq!(placements.take_dirty().next(), None);
    assert_eq!(placements.bytes(), 1 << 20);
}

#[test]
fn the_limit_binds() {
    let mut placements = Placements::new(1 << 20);
    let big = table(0, &[4000; 50], 0);
    placements.place(identity(1), &big).unwrap();
    let error = placements.place(identity(2), &big).unwrap_err();
    assert_eq!(error, TableMemoryError { needed: big.bytes(), free: (1 << 20) - big.bytes(), limit: 1 << 20 });
    // What is smaller still fits.
    placements.place(identity(3), &table(0, &[4000], 0)).unwrap();
}

#[test]
fn a_module_without_pages_takes_nothing() {
    let mut placements = Placements::new(1 << 20);
    placements.place(identity(1), &ModuleTable::default()).unwrap();
    assert_eq!((placements.bytes(), placements.take_dirty().next()), (0, None));
}
