//! The traced processes: keeps the kernel's mappings and tables true while they map, fork, run other programs and end.

use std::{collections::HashMap, io, path::PathBuf, sync::Arc, time::Duration};

use aya::maps::MapError;
use tracer_ebpf::abi::{
    process::{Changes, MAX_MAPPINGS, Mapping, MappingKind, Process, version},
    sample::ProcessChange,
};

use super::{readings::Readings, session::monotonic_ns, without_table::WithoutTable};
use crate::{
    probe::{
        programs::Maps,
        tables::{UploadError, Uploaded},
        value::Value,
    },
    recording::about::Losses,
    symbolize::HeldSources,
    target::{self, ExecutableMapping, FileState, Modules, Scan},
    unwind::{self, ModuleTable, Placements},
};

/// Why a process's mappings could not be brought into the kernel.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// They cannot be read.
    #[error("reading the mappings of process {process} failed: {source}")]
    Mappings {
        /// The process.
        process: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel follows it no more.
    #[error("process {0} has ended")]
    Ended(u32),
    /// Its tables.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// A map.
    #[error("BPF map of processes: {0}")]
    Map(#[from] MapError),
}

/// See the module.
#[derive(Debug)]
pub struct Processes {
    modules: Modules,
    names: HeldSources,
    placements: Placements,
    uploaded: Uploaded,
    /// How each module is unwound, by number.
    unwinding: HashMap<u16, Unwinding>,
    /// When which process is read.
    readings: Readings,
    /// Scans that saw new modules, with their processes.
    arrived: Vec<(u32, Scan)>,
    /// Mappings that did not fit: the most that a reading of each process left out.
    unfit: HashMap<u32, u64>,
    /// Copies of mappings that the kernel got so far.
    copies: u32,
    lost: Losses,
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
/// Of `bpf_map_update_elem`: the entry must exist (include/uapi/linux/bpf.h).
const BPF_EXIST: u64 = 2;

impl Processes {
    /// `table_bytes`: kernel memory for tables at most.
    pub fn new(modules: Modules, table_bytes: u64) -> Self {
        Self {
            modules,
            names: HeldSources::default(),
            placements: Placements::new(table_bytes),
            uploaded: Uploaded::default(),
            unwinding: HashMap::new(),
            readings: Readings::default(),
            arrived: Vec::new(),
            unfit: HashMap::new(),
            copies: 0,
            lost: Losses::default(),
        }
    }

    /// Takes note of an event.
    pub fn changed(&mut self, change: ProcessChange, process: u32, _parent: u32) {
        if change == ProcessChange::Executed {
            self.modules.forget(process);
            self.count_unfit(process);
            self.readings.executed(process);
        } else {
            self.readings.changed(process);
        }
        if matches!(change, ProcessChange::Forked | ProcessChange::Executed) {
            self.names.renewed(process);
        }
    }

    /// Takes note of a walk that found the copy of the mappings distrusted or replaced. As a rule an event says so, too; but a
    /// mark may have gone to another process, in whose entry it was being made when that entry's memory changed hands.
    pub fn distrusted(&mut self, process: u32) {
        self.readings.changed(process);
    }

    /// Takes note of a walk at `time_ns` that came to an address in no mapping.
    pub fn doubted(&mut self, process: u32, address: u64, time_ns: u64) {
        self.readings.doubted(process, address, time_ns);
    }

    /// Takes note of events that were lost: any process may have changed, or ended.
    ///
    /// # Errors
    /// When the map of processes cannot be read.
    pub fn events_lost(&mut self, maps: &Maps) -> Result<(), MapError> {
        let followed: Vec<u32> = maps.processes.keys().collect::<Result<_, _>>()?;
        let known: Vec<u32> = self.readings.known().collect();
        followed.into_iter().chain(known).for_each(|process| self.readings.changed(process));
        Ok(())
    }

    /// Brings processes that changed up to date. Those that ended are forgotten.
    ///
    /// # Errors
    /// What the kernel's maps say; a process that cannot be read has ended.
    pub fn refresh_changed(&mut self, maps: &mut Maps) -> Result<(), ProcessError> {
        for process in self.readings.due(monotonic_ns()) {
            match self.install(maps, process) {
                Ok(()) => {}
                Err(ProcessError::Mappings { .. } | ProcessError::Ended(_)) => self.forget(maps, process),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How long until [`Processes::refresh_changed`] has something to do; `None` = nothing is known to have changed.
    pub fn next_refresh(&self) -> Option<Duration> {
        let wait = |at: u64| Duration::from_nanos(at.saturating_sub(monotonic_ns()));
        self.readings.next().map(wait)
    }

    /// Makes the kernel follow a process. From here on the kernel side alone adds (children) and removes (those that end).
    ///
    /// # Errors
    /// [`ProcessError::Mappings`] when it has ended.
    pub fn follow(&mut self, maps: &mut Maps, process: u32) -> Result<(), ProcessError> {
        self.expect(maps, process)?;
        self.install(maps, process)
    }

    /// Reads the mappings of a process that the kernel follows and hands them, and the tables they need, to the kernel.
    ///
    /// # Errors
    /// [`ProcessError::Mappings`] or [`ProcessError::Ended`] when it has ended.
    pub fn install(&mut self, maps: &mut Maps, process: u32) -> Result<(), ProcessError> {
        let begun = monotonic_ns();
        // Before the mappings are read: whatever is unmapped from here on makes the kernel distrust this copy.
        let changes = match maps.changes.get(&process, 0) {
            Ok(Value(changes)) => changes,
            Err(MapError::KeyNotFound) => return Err(ProcessError::Ended(process)),
            Err(error) => return Err(error.into()),
        };
        let scan = self.scan(process)?;
        let unchanged = self.build_tables(&scan);
        self.uploaded.upload(maps, &mut self.placements)?;
        let (value, unfit) = self.process_value(process, &scan.mappings, changes);
        let most = self.unfit.entry(process).or_default();
        *most = (*most).max(unfit + scan.dropped + scan.unnumbered);
        if !scan.new_modules.is_empty() {
            self.arrived.push((process, scan));
        }
        // Only where there is an entry: the process may have ended since, and another may get its number.
        match maps.processes.insert(process, *value, BPF_EXIST) {
            Ok(()) => {
                let known = value.0.mappings.iter().take(value.0.count as usize);
                // A return address may be the first one behind its mapping.
                let has = |address| known.clone().any(|known| (known.start..=known.end).contains(&address));
                self.readings.read(process, begun, monotonic_ns(), has);
                if !unchanged {
                    self.readings.changed(process);
                }
                Ok(())
            }
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => {
                Err(ProcessError::Ended(process))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Scans since the last call that saw modules no scan had seen before, with their processes.
    pub fn arrived(&mut self) -> Vec<(u32, Scan)> {
        std::mem::take(&mut self.arrived)
    }

    /// Makes a process known to the kernel before anything of it is worth reading: it is about to run another program.
    ///
    /// # Errors
    /// What the kernel's maps say.
    pub fn expect(&mut self, maps: &mut Maps, process: u32) -> Result<(), MapError> {
        let changes = Changes::default();
        maps.changes.insert(process, Value(changes), 0)?;
        maps.processes.insert(process, *self.process_value(process, &[], changes).0, 0)
    }

    /// Reads a process's mappings, for those who choose what to probe.
    ///
    /// # Errors
    /// [`ProcessError::Mappings`] when it has ended.
    pub fn scan(&mut self, process: u32) -> Result<Scan, ProcessError> {
        let scan = self.modules.scan(process).map_err(|source| ProcessError::Mappings { process, source })?;
        self.names.scanned(process, &scan);
        Ok(scan)
    }

    /// The modules of all processes.
    pub fn modules(&self) -> &Modules {
        &self.modules
    }

    /// A path by which the kernel can open a module's file now, whatever has happened to its name.
    pub fn attach_path(&self, module: u16) -> Option<PathBuf> {
        self.modules.get(module)?.descriptor_path()
    }

    /// The modules, what names their code, those that have no table, and what was lost.
    pub fn finish(self, losses: &mut Losses) -> (Modules, HeldSources, HashMap<u16, WithoutTable>) {
        losses.mappings += self.lost.mappings + self.unfit.values().sum::<u64>();
        losses.tables += self.lost.tables;
        let without = |(number, unwinding)| match unwinding {
            Unwinding::Without(reason) => Some((number, reason)),
            Unwinding::Table(..) => None,
        };
        (self.modules, self.names, self.unwinding.into_iter().filter_map(without).collect())
    }

    fn forget(&mut self, maps: &mut Maps, process: u32) {
        self.modules.forget(process);
        self.readings.forget(process);
        self.count_unfit(process);
        // Both are usually gone already: the kernel side removes them when the process ends.
        let _ = maps.processes.remove(&process);
        let _ = maps.changes.remove(&process);
    }

    /// The mappings of this program are counted: a process of the same number has others.
    fn count_unfit(&mut self, process: u32) {
        self.lost.mappings += self.unfit.remove(&process).unwrap_or(0);
    }

    /// Builds the tables of modules that have none. False where a file changed meanwhile: its mappings are to be read again.
    fn build_tables(&mut self, scan: &Scan) -> bool {
        let mut new: Vec<u16> = scan.mappings.iter().map(|mapping| mapping.module).collect();
        new.sort_unstable();
        new.dedup();
        new.retain(|number| !self.unwinding.contains_key(number));
        let mut unchanged = true;
        for new in new.chunks(TOGETHER) {
            let opened = |&number: &u16| {
                let module = self.modules.get(number)?;
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
                            self.lost.tables += 1;
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

    /// The kernel's view of the mappings, and how many did not fit.
    fn process_value(
        &mut self,
        process: u32,
        executable: &[ExecutableMapping],
        changes: Changes,
    ) -> (Box<Value<Process>>, u64) {
        let none = Mapping { start: 0, end: 0, bias: 0, page_table: 0, module: 0, kind: 0, padding: 0 };
        self.copies = self.copies.wrapping_add(1);
        let version = version(self.copies, process);
        let mut value = Box::new(Value(Process {
            version,
            version_again: version,
            count: 0,
            mapped: changes.mapped as u32,
            removals: changes.removals,
            mappings: [none; MAX_MAPPINGS],
        }));
        let mut mappings: Vec<Mapping> = executable.iter().flat_map(|mapping| self.pieces(mapping)).collect();
        let unfit = mappings.len().saturating_sub(MAX_MAPPINGS);
        if unfit > 0 {
            // Modules are worth more than JIT code, of which there may be any number of pieces.
            mappings.sort_by_key(|mapping| mapping.module == 0);
            mappings.truncate(MAX_MAPPINGS);
            mappings.sort_by_key(|mapping| mapping.start);
        }
        value.0.count = mappings.len() as u32;
        for (to, from) in value.0.mappings.iter_mut().zip(mappings) {
            *to = from;
        }
        (value, unfit as u64)
    }

    /// A mapping, cut where the way of unwinding changes.
    fn pieces(&self, mapping: &ExecutableMapping) -> Vec<Mapping> {
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
        let mut processes = Processes::new(Modules::new(), 1 << 20);
        let table_of_copy = |processes: &mut Processes| {
            let scan = processes.scan(child.id()).unwrap();
            let is_copy = |module: &&target::Module| module.path.ends_with("/shell");
            let number = processes.modules().iter().filter(is_copy).last().unwrap().number;
            if !processes.unwinding.contains_key(&number) {
                File::open(&copy).unwrap().set_modified(SystemTime::now()).unwrap();
            }
            let is_unchanged = processes.build_tables(&scan);
            (number, is_unchanged, processes.unwinding.get(&number).cloned())
        };
        let (first, is_unchanged, table) = table_of_copy(&mut processes);
        assert!(!is_unchanged && matches!(table, Some(Unwinding::Without(WithoutTable::Changed))), "{table:?}");
        let scan = processes.scan(child.id()).unwrap();
        assert!(processes.build_tables(&scan));
        let (second, is_unchanged, table) = table_of_copy(&mut processes);
        assert!(second != first && is_unchanged && matches!(table, Some(Unwinding::Table(..))), "{table:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
