//! What of a process must be held while it lives, so that its code can be named after it has ended: its file system, where its
//! perf map and the debug files of its modules lie.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use crate::target::filesystem::Root;
use crate::target::{MappingKind, Process, Scan};

/// Where names of one process come from.
#[derive(Clone, Debug)]
pub struct NameSources {
    pub(super) namespace_pid: u32,
    pub(super) uid: u32,
    pub(super) root: Arc<Root>,
    mount_namespace: u64,
}

impl NameSources {
    /// Holds on to the process's file system.
    ///
    /// # Errors
    /// When the process has ended or may not be read.
    pub fn new(process: &Process) -> io::Result<Self> {
        let &Process { pid, namespace_pid, uid, mount_namespace, .. } = process;
        Ok(Self { namespace_pid, uid, root: Arc::new(Root::of_process(pid)?), mount_namespace })
    }
}

/// Processes held at most.
const MAX_PROCESSES: usize = 4096;
/// Different file systems held at most: each takes two open files.
const MAX_ROOTS: usize = 64;

/// The sources of all processes that run code made at run time, or that brought a module. Most processes need neither: a shell
/// starts thousands whose modules are all known.
#[derive(Debug, Default)]
pub struct HeldSources {
    processes: HashMap<u32, NameSources>,
    /// Processes that began, or ran another program, since one of their number was looked at: root and user may be others.
    renewed: HashSet<u32>,
    /// Different file systems.
    roots: Vec<(u64, Arc<Root>)>,
    /// Where each module was seen first.
    modules: HashMap<u16, Arc<Root>>,
    is_full: bool,
}

impl HeldSources {
    /// Takes note of what a process has mapped. It is held where that may need names from its file system.
    pub fn scanned(&mut self, process: u32, scan: &Scan) {
        let has_run_time_code = || scan.mappings.iter().any(|mapping| mapping.kind == MappingKind::Anonymous);
        if scan.new_modules.is_empty() && !has_run_time_code() {
            return;
        }
        if self.renewed.remove(&process) {
            // No names are better than those of another process that had its number.
            self.processes.remove(&process);
        }
        if !self.processes.contains_key(&process)
            && let Some(sources) = Process::open(process).ok().and_then(|process| NameSources::new(&process).ok())
        {
            self.hold(process, sources);
        }
        let Some(sources) = self.processes.get(&process) else { return };
        self.modules.extend(scan.new_modules.iter().map(|&module| (module, Arc::clone(&sources.root))));
    }

    /// Takes note of a process that begins, or runs another program.
    pub fn renewed(&mut self, process: u32) {
        if self.processes.contains_key(&process) {
            self.renewed.insert(process);
        }
    }

    fn hold(&mut self, process: u32, sources: NameSources) {
        let is_same = |(namespace, root): &&(u64, Arc<Root>)| {
            *namespace == sources.mount_namespace && root.is_same(&sources.root)
        };
        let root = match self.roots.iter().find(is_same) {
            Some((_, root)) => Arc::clone(root),
            None if self.roots.len() < MAX_ROOTS => {
                self.roots.push((sources.mount_namespace, Arc::clone(&sources.root)));
                Arc::clone(&sources.root)
            }
            None => return self.is_full = true,
        };
        if self.processes.len() >= MAX_PROCESSES && !self.processes.contains_key(&process) {
            return self.is_full = true;
        }
        self.processes.insert(process, NameSources { root, ..sources });
    }

    /// Where the names of a process's run-time code come from.
    pub(super) fn of_process(&self, process: u32) -> Option<&NameSources> {
        self.processes.get(&process)
    }

    /// The file system in which a module was seen first.
    pub(super) fn of_module(&self, module: u16) -> Option<&Root> {
        self.modules.get(&module).map(|root| &**root)
    }

    /// What is said where there were too many.
    pub fn note(&self) -> Option<String> {
        self.is_full.then(|| {
            format!(
                "more than {MAX_PROCESSES} processes or {MAX_ROOTS} file systems: code of some has no names from perf maps and \
                 debug files"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_self() -> NameSources {
        NameSources::new(&Process::open(std::process::id()).unwrap()).unwrap()
    }

    #[test]
    fn processes_of_one_file_system_share_its_root() {
        let mut held = HeldSources::default();
        (1..=10).for_each(|process| held.hold(process, of_self()));
        assert_eq!((held.processes.len(), held.roots.len(), held.note()), (10, 1, None));
        let directory = tempfile::tempdir().unwrap();
        held.hold(11, NameSources { root: Arc::new(Root::at(directory.path()).unwrap()), ..of_self() });
        held.hold(12, NameSources { mount_namespace: 1, ..of_self() });
        assert_eq!(held.roots.len(), 3);
    }

    #[test]
    fn no_more_are_held_than_may_be_and_it_is_said() {
        let mut held = HeldSources::default();
        for namespace in 0..=MAX_ROOTS as u64 {
            assert_eq!(held.note(), None);
            held.hold(1, NameSources { mount_namespace: namespace, ..of_self() });
        }
        assert_eq!(held.roots.len(), MAX_ROOTS);
        assert!(held.note().is_some());
        let mut held = HeldSources::default();
        let sources = of_self();
        for process in 0..=MAX_PROCESSES as u32 {
            assert_eq!(held.note(), None);
            held.hold(process, sources.clone());
        }
        assert_eq!(held.processes.len(), MAX_PROCESSES);
        assert!(held.note().is_some());
    }

    #[test]
    fn a_process_is_held_for_what_it_brings() {
        let mut held = HeldSources::default();
        let process = std::process::id();
        held.scanned(process, &Scan::default());
        assert!(held.of_process(process).is_none());
        held.scanned(process, &Scan { new_modules: vec![7], ..Scan::default() });
        assert!(held.of_process(process).is_some() && held.of_module(7).is_some() && held.of_module(8).is_none());
        // After another program it is looked at again: here it proves to have ended.
        let mut child = std::process::Command::new("true").spawn().unwrap();
        held.hold(child.id(), of_self());
        child.wait().unwrap();
        held.renewed(child.id());
        held.scanned(child.id(), &Scan { new_modules: vec![8], ..Scan::default() });
        assert!(held.of_process(child.id()).is_none() && held.of_module(8).is_none());
    }
}
