//! The tables of many modules at once.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use super::{BuildError, ModuleTable};
use crate::target::{FileState, elf};

/// A table, or why there is none. Shared, as many processes map the same modules.
pub type Built = Result<Arc<ModuleTable>, Arc<BuildError>>;

/// Builds the tables of modules, each distinct one once, on all processors, the biggest files first.
pub fn build(modules: &[(FileState, Arc<File>)]) -> HashMap<FileState, Built> {
    let distinct: HashMap<FileState, &Arc<File>> = modules.iter().map(|(state, file)| (*state, file)).collect();
    let mut distinct: Vec<_> = distinct.into_iter().collect();
    distinct.sort_unstable_by_key(|(state, _)| std::cmp::Reverse(state.size));

    let (sender, built) = std::sync::mpsc::channel();
    rayon::scope_fifo(|scope| {
        for (state, file) in distinct {
            let sender = sender.clone();
            scope.spawn_fifo(move |_| {
                let built = ModuleTable::build(&elf::reader(file)).map(Arc::new).map_err(Arc::new);
                // The receiver lives until every task is done.
                let _ = sender.send((state, built));
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

    fn opened(path: &std::path::Path) -> (FileState, Arc<File>) {
        let file = File::open(path).unwrap();
        (FileState::of(&file).unwrap(), file.into())
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
}
