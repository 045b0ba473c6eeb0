//! The traced processes: keeps the kernel's mappings and tables true while they map, fork, run other programs and end.

use std::{collections::HashMap, io, path::PathBuf, time::Duration};

use aya::maps::MapError;
use tracer_ebpf::abi::{
    process::{Changes, MAX_MAPPINGS, Mapping, Process, version},
    sample::ProcessChange,
};

use super::{module_tables::ModuleTables, readings::Readings, session::monotonic_ns, without_table::WithoutTable};
use crate::{
    probe::{programs::Maps, tables::UploadError, value::Value},
    recording::about::Losses,
    symbolize::HeldSources,
    target::{ExecutableMapping, Modules, Scan},
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
    tables: ModuleTables,
    /// When which process is read.
    readings: Readings,
    /// Scans that saw new modules, with their processes.
    arrived: Vec<(u32, Scan)>,
    /// Mappings that did not fit: the most that a reading of each process left out.
    unfit: HashMap<u32, u64>,
    /// The same of programs that are gone.
    unfit_before: u64,
    /// Copies of mappings that the kernel got so far.
    copies: u32,
}

/// Of `bpf_map_update_elem`: the entry must exist (include/uapi/linux/bpf.h).
const BPF_EXIST: u64 = 2;

impl Processes {
    /// `table_bytes`: kernel memory for tables at most.
    pub fn new(modules: Modules, table_bytes: u64) -> Self {
        Self {
            modules,
            names: HeldSources::default(),
            tables: ModuleTables::new(table_bytes),
            readings: Readings::default(),
            arrived: Vec::new(),
            unfit: HashMap::new(),
            copies: 0,
            unfit_before: 0,
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
        let unchanged = self.tables.build(&self.modules, &scan);
        self.tables.upload(maps)?;
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
        losses.mappings += self.unfit_before + self.unfit.values().sum::<u64>();
        (self.modules, self.names, self.tables.finish(losses))
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
        self.unfit_before += self.unfit.remove(&process).unwrap_or(0);
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
        let mut mappings: Vec<Mapping> = executable.iter().flat_map(|mapping| self.tables.pieces(mapping)).collect();
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
}
