//! How each module is unwound: its table, in kernel memory, or why there is none.

use std::{collections::HashMap, sync::Arc};

use tracer_ebpf::abi::process::{Mapping, MappingKind};

use super::without_table::WithoutTable;
use crate::{
    probe::{
        programs::Maps,
        tables::{UploadError, Uploaded},
    },
    recording::about::Losses,
    target::{self, ExecutableMapping, FileState, Modules, Scan},
    unwind::{self, ModuleTable, Placements},
};

/// See the module.
#[derive(Debug)]
pub struct ModuleTables {
    placements: Placements,
    uploaded: Uploaded,
    /// By the module's number.
    unwinding: HashMap<u16, Unwinding>,
    /// Tables for which there was no room.
    without_room: u64,
}

/// How a module is unwound.
#[derive(Clone, Debug)]
enum Unwinding {
    /// By its table, which begins there.
    Table(Arc<ModuleTable>, u32),
    /// It is not.
    Without(WithoutTable),
}

/// Tables that are built at once. Those for which the kernel has no room are not kept: a program may map any number of files.
const TOGETHER: usize = 64;

impl ModuleTables {
    /// `bytes`: kernel memory for tables at most.
    pub fn new(bytes: u64) -> Self {
        Self {
            placements: Placements::new(bytes),
            uploaded: Uploaded::default(),
            unwinding: HashMap::new(),
            without_room: 0,
        }
    }

    /// Builds the tables of modules that have none. False where a file changed meanwhile: its mappings are to be read again.
    pub fn build(&mut self, modules: &Modules, scan: &Scan) -> bool {
        let mut new: Vec<u16> = scan.mappings.iter().map(|mapping| mapping.module).collect();
        new.sort_unstable();
        new.dedup();
        new.retain(|number| !self.unwinding.contains_key(number));
        let mut unchanged = true;
        for new in new.chunks(TOGETHER) {
            let opened = |&number: &u16| {
                let module = modules.get(number)?;
                Some((number, (module.state()?, module.file()?)))
            };
            let (numbers, files): (Vec<u16>, Vec<_>) = new.iter().filter_map(opened).unzip();
            let tables = unwind::build(&files);
            for (number, (state, file)) in numbers.into_iter().zip(&files) {
                let unwinding = match tables.get(state) {
                    // The table may be that of contents which came after those that the module stands for.
                    _ if !FileState::of(file).is_ok_and(|now| now == *state) => {
                        unchanged = false;
                        Unwinding::Without(WithoutTable::Changed)
                    }
                    Some(Ok(table)) => match self.placements.place(*state, table) {
                        Ok(page_table) => Unwinding::Table(Arc::clone(table), page_table),
                        Err(error) => {
                            self.without_room += 1;
                            Unwinding::Without(WithoutTable::NoRoom(error))
                        }
                    },
                    Some(Err(error)) => Unwinding::Without(WithoutTable::NotBuilt(Arc::clone(error))),
                    None => continue,
                };
                self.unwinding.insert(number, unwinding);
            }
        }
        unchanged
    }

    /// Hands what was built since the last call to the kernel.
    ///
    /// # Errors
    /// What the kernel's maps say.
    pub fn upload(&mut self, maps: &mut Maps) -> Result<(), UploadError> {
        self.uploaded.upload(maps, &mut self.placements)
    }

    /// A mapping, cut where the way of unwinding changes.
    pub fn pieces(&self, mapping: &ExecutableMapping) -> Vec<Mapping> {
        let whole = Mapping {
            start: mapping.start,
            end: mapping.end,
            bias: mapping.bias,
            page_table: 0,
            module: mapping.module,
            kind: MappingKind::NoTable as u8,
            padding: 0,
        };
        match (mapping.kind, self.unwinding.get(&mapping.module)) {
            // The kernel's trampoline for return probes: the walk knows it by being in no mapping.
            (target::MappingKind::Uprobes, _) => Vec::new(),
            (target::MappingKind::Anonymous, _) => {
                vec![Mapping { kind: MappingKind::FramePointer as u8, ..whole }]
            }
            (_, Some(Unwinding::Table(table, page_table))) => {
                let elf = mapping.start.wrapping_sub(mapping.bias)..mapping.end.wrapping_sub(mapping.bias);
                let piece = |(range, kind): (std::ops::Range<u64>, MappingKind)| Mapping {
                    start: range.start.wrapping_add(mapping.bias),
                    end: range.end.wrapping_add(mapping.bias),
                    page_table: *page_table,
                    kind: kind as u8,
                    ..whole
                };
                table.pieces(elf).into_iter().map(piece).collect()
            }
            _ => vec![whole],
        }
    }

    /// The modules that have no table, and what was lost.
    pub fn finish(self, losses: &mut Losses) -> HashMap<u16, WithoutTable> {
        losses.tables += self.without_room;
        let without = |(number, unwinding)| match unwinding {
            Unwinding::Without(reason) => Some((number, reason)),
            Unwinding::Table(..) => None,
        };
        self.unwinding.into_iter().filter_map(without).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::Read as _,
        process::{Command, Stdio},
        time::SystemTime,
    };

    use super::*;

    #[test]
    fn a_file_that_changes_before_its_table_is_built_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("shell");
        // By another process: a program cannot be run while a child of another test holds it open for writing.
        assert!(Command::new("cp").arg("/bin/sh").arg(&copy).status().unwrap().success());
        let mut shell = Command::new(&copy);
        let shell = shell.args(["-c", "echo up; read line"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = shell.spawn().unwrap();
        // From here on its mappings stay as they are.
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let (mut modules, mut tables) = (Modules::new(), ModuleTables::new(1 << 20));
        let table_of_copy = |modules: &mut Modules, tables: &mut ModuleTables| {
            let scan = modules.scan(child.id()).unwrap();
            let is_copy = |module: &&target::Module| module.path.ends_with("/shell");
            let number = modules.iter().filter(is_copy).last().unwrap().number;
            if !tables.unwinding.contains_key(&number) {
                File::open(&copy).unwrap().set_modified(SystemTime::now()).unwrap();
            }
            let is_unchanged = tables.build(modules, &scan);
            (number, is_unchanged, tables.unwinding.get(&number).cloned())
        };
        let (first, is_unchanged, table) = table_of_copy(&mut modules, &mut tables);
        assert!(!is_unchanged && matches!(table, Some(Unwinding::Without(WithoutTable::Changed))), "{table:?}");
        let scan = modules.scan(child.id()).unwrap();
        assert!(tables.build(&modules, &scan));
        let (second, is_unchanged, table) = table_of_copy(&mut modules, &mut tables);
        assert!(second != first && is_unchanged && matches!(table, Some(Unwinding::Table(..))), "{table:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
