//! The tables of many modules at once.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use super::{BuildError, ModuleTable};
use crate::target::{FileState, elf};

/// Which contents a module has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ModuleIdentity {
    /// A file in one state.
    File(FileState),
    /// The vdso of this boot.
    Vdso,
}

/// A module whose bytes are at hand.
#[derive(Debug)]
pub enum ModuleSource {
    /// An open file.
    File(Arc<File>),
    /// [`super::vdso::image`].
    Vdso(Vec<u8>),
}

impl ModuleSource {
    /// Tells files apart.
    ///
    /// # Errors
    /// Where the file's status cannot be read, and for what is no regular file: reading a device may do anything.
    pub fn identity(&self) -> std::io::Result<ModuleIdentity> {
        let Self::File(file) = self else { return Ok(ModuleIdentity::Vdso) };
        let status = file.metadata()?;
        if !status.is_file() {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(ModuleIdentity::File(FileState::from(&status)))
    }

    fn build(&self) -> Result<ModuleTable, BuildError> {
        match self {
            Self::File(file) => ModuleTable::build(&elf::reader(file)),
            Self::Vdso(image) => ModuleTable::build(image.as_slice()),
        }
    }
}

/// A table, or why there is none. Shared, as many processes map the same modules.
pub type Built = Result<Arc<ModuleTable>, Arc<BuildError>>;

/// Builds the tables of modules, each distinct one once, on all processors, the biggest files first.
pub fn build(modules: &[(ModuleIdentity, ModuleSource)]) -> HashMap<ModuleIdentity, Built> {
    let distinct: HashMap<ModuleIdentity, &ModuleSource> =
        modules.iter().map(|(identity, source)| (*identity, source)).collect();
    let mut distinct: Vec<_> = distinct.into_iter().collect();
    distinct.sort_unstable_by_key(|(identity, _)| std::cmp::Reverse(size(identity)));

    let (sender, built) = std::sync::mpsc::channel();
    rayon::scope_fifo(|scope| {
        for (identity, source) in distinct {
            let sender = sender.clone();
            scope.spawn_fifo(move |_| {
                let built = source.build().map(Arc::new).map_err(Arc::new);
                // The receiver lives until every task is done.
                let _ = sender.send((identity, built));
            });
        }
    });
    drop(sender);
    built.into_iter().collect()
}

fn size(identity: &ModuleIdentity) -> u64 {
    match identity {
        ModuleIdentity::File(state) => state.size,
        ModuleIdentity::Vdso => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn opened(path: &std::path::Path) -> (ModuleIdentity, ModuleSource) {
        let source = ModuleSource::File(File::open(path).unwrap().into());
        (source.identity().unwrap(), source)
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
        let (before, source) = opened(file.path());
        let built = build(&[(before, source)]);
        assert!(matches!(&built[&before], Err(error) if matches!(**error, BuildError::Elf(_))));
        file.write_all(b"changed").unwrap();
        assert_ne!(opened(file.path()).0, before);
    }

    #[test]
    fn devices_are_not_read() {
        let source = ModuleSource::File(File::open("/dev/zero").unwrap().into());
        assert_eq!(source.identity().unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    }
}
