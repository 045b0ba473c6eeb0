//! The tables of many modules at once.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use super::{BuildError, ModuleTable};
use crate::target::elf;

/// Which contents a module's file has: a file in one state.
///
/// Not its build id: a file can carry any, and a table built from one file would then unwind another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModuleIdentity {
    /// Its file system.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last changed: nanoseconds since 1970. The status change time, which unlike the modification time
    /// cannot be set back.
    pub changed_ns: i128,
}

impl ModuleIdentity {
    /// Tells files apart.
    ///
    /// # Errors
    /// Where the file's status cannot be read, and for what is no regular file: reading a device may do anything.
    pub fn of(file: &File) -> std::io::Result<Self> {
        let status = file.metadata()?;
        if !status.is_file() {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Self {
            device: status.dev(),
            inode: status.ino(),
            size: status.len(),
            changed_ns: i128::from(status.ctime()) * 1_000_000_000 + i128::from(status.ctime_nsec()),
        })
    }
}

/// A table, or why there is none. Shared, as many processes map the same modules.
pub type Built = Result<Arc<ModuleTable>, Arc<BuildError>>;

/// Builds the tables of modules, each distinct one once, on all processors, the biggest files first.
pub fn build(modules: &[(ModuleIdentity, Arc<File>)]) -> HashMap<ModuleIdentity, Built> {
    let distinct: HashMap<ModuleIdentity, &Arc<File>> =
        modules.iter().map(|(identity, file)| (*identity, file)).collect();
    let mut distinct: Vec<_> = distinct.into_iter().collect();
    distinct.sort_unstable_by_key(|(identity, _)| std::cmp::Reverse(identity.size));

    let (sender, built) = std::sync::mpsc::channel();
    rayon::scope_fifo(|scope| {
        for (identity, file) in distinct {
            let sender = sender.clone();
            scope.spawn_fifo(move |_| {
                let built = ModuleTable::build(&elf::reader(file)).map(Arc::new).map_err(Arc::new);
                // The receiver lives until every task is done.
                let _ = sender.send((identity, built));
            });
        }
    });
    drop(sender);
    built.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn opened(path: &std::path::Path) -> (ModuleIdentity, Arc<File>) {
        let file = File::open(path).unwrap();
        (ModuleIdentity::of(&file).unwrap(), file.into())
    }

    #[test]
    fn a_module_is_built_once() {
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("copy");
        let test = std::env::current_exe().unwrap();
        std::fs::copy(&test, &copy).unwrap();

        let built = build(&[opened(&test), opened(&copy), opened(&copy)]);
        let (first, copied) = (opened(&test).0, opened(&copy).0);
        assert_ne!(first, copied);
        assert_eq!(built.len(), 2);
        assert_eq!(built[&first].clone().unwrap(), built[&copied].clone().unwrap());
    }

    #[test]
    fn a_changed_file_is_another_module() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let (before, opened_before) = opened(file.path());
        let built = build(&[(before, opened_before)]);
        assert!(matches!(&built[&before], Err(error) if matches!(**error, BuildError::Elf(_))));
        file.write_all(b"changed").unwrap();
        assert_ne!(opened(file.path()).0, before);
    }

    #[test]
    fn devices_are_not_read() {
        let error = ModuleIdentity::of(&File::open("/dev/zero").unwrap()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}
