//! Which processes to trace: by id, by name, or one that tracer starts.

use std::{collections::BTreeSet, ffi::OsString, fs, path::Path};

use anyhow::bail;

use super::privileges;
use crate::{
    output::Owner,
    record::child::{Program, User},
    target::{Process, ProcessError},
};

/// A name (`comm`) has at most this many bytes (`TASK_COMM_LEN`, include/linux/sched.h).
const NAME_BYTES: usize = 15;
/// Names that an error offers.
const OFFERED: usize = 8;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Processes by id.
    Processes(Vec<u32>),
    /// All processes of this name.
    Named(String),
    /// A program to start: its name and arguments.
    Program(Vec<OsString>),
}

impl Scope {
    /// How files are called that the user gives no name: `tracer-LABEL.svg`.
    pub fn label(&self) -> String {
        let of_path = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match self {
            Self::Processes(pids) => pids.first().map_or_else(String::new, u32::to_string),
            // A name may hold any byte.
            Self::Named(name) => name.replace('/', "_"),
            Self::Program(words) => words.first().map_or_else(String::new, |name| of_path(Path::new(name))),
        }
    }

    /// The running processes that it means; none for a program that is to be started.
    ///
    /// # Errors
    /// When one of them cannot be traced, no process has the name, or tracer lacks privileges. What is wrong with sudo too is
    /// named first.
    pub fn open(&self) -> anyhow::Result<Vec<Process>> {
        let opened = match self {
            Self::Processes(pids) => {
                let distinct: BTreeSet<u32> = pids.iter().copied().collect();
                distinct.into_iter().map(Process::open).collect()
            }
            Self::Named(name) => named(name),
            Self::Program(_) => Ok(Vec::new()),
        };
        if matches!(opened, Ok(_) | Err(ProcessError::Denied(_))) {
            privileges::check(std::env::args_os())?;
        }
        let opened = opened?;
        if let (Self::Named(name), []) = (self, opened.as_slice()) {
            bail!("{}", nobody(name, &names()));
        }
        Ok(opened)
    }
}

/// The program to start; with sudo as the user who called it.
pub fn program(words: &[OsString], owner: Option<Owner>) -> Option<Program> {
    let (name, arguments) = words.split_first()?;
    let user = owner.map(|Owner { user, group }| User { user, group, groups: groups(group) });
    Some(Program { name: name.clone(), arguments: arguments.to_vec(), user })
}

/// The groups of the caller of sudo, as the system's user database has them.
fn groups(group: u32) -> Vec<u32> {
    let name = std::env::var("SUDO_USER").ok().and_then(|name| std::ffi::CString::new(name).ok());
    let Some(name) = name else { return vec![group] };
    let mut groups = vec![0; 256];
    let mut count = groups.len() as libc::c_int;
    // SAFETY: a name, and a list of as many entries as `count` says.
    let result = unsafe { libc::getgrouplist(name.as_ptr(), group, groups.as_mut_ptr(), &raw mut count) };
    if result < 0 {
        return vec![group];
    }
    groups.truncate(usize::try_from(count).unwrap_or(0));
    groups
}

/// All processes of a name, but tracer itself.
fn named(name: &str) -> Result<Vec<Process>, ProcessError> {
    let mut found = Vec::new();
    for (pid, _) in processes().filter(|(_, comm)| is_called(comm, name)) {
        match Process::open(pid) {
            Ok(process) => found.push(process),
            Err(ProcessError::Denied(pid)) => return Err(ProcessError::Denied(pid)),
            // It has ended, or has nothing to trace.
            Err(_) => {}
        }
    }
    Ok(found)
}

/// Whether a process called `comm` may be meant: the kernel cuts names.
fn is_called(comm: &str, name: &str) -> bool {
    comm == name || comm.len() == NAME_BYTES && name.starts_with(comm)
}

/// Ids and names of all processes, but tracer's.
fn processes() -> impl Iterator<Item = (u32, String)> {
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(move |&pid| pid != own);
    pids.filter_map(|pid: u32| {
        let comm = fs::read(format!("/proc/{pid}/comm")).ok()?;
        let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
        Some((pid, crate::target::identity::printable(comm)))
    })
}

/// Names of all programs that run.
fn names() -> BTreeSet<String> {
    // Kernel threads have no executable.
    processes().filter(|(pid, _)| fs::read_link(format!("/proc/{pid}/exe")).is_ok()).map(|(_, name)| name).collect()
}

/// No process has this name; those that may be meant.
fn nobody(name: &str, names: &BTreeSet<String>) -> String {
    let wanted = name.to_lowercase();
    let start: String = wanted.chars().take(3).collect();
    let similar = |other: &&String| {
        let other = other.to_lowercase();
        other.contains(&wanted) || wanted.contains(&other) || other.starts_with(&start)
    };
    let similar: Vec<&str> = names.iter().filter(similar).take(OFFERED).map(String::as_str).collect();
    let offer = match similar.as_slice() {
        [] => "`ps -e` lists those that run".to_owned(),
        names => format!("there are {}", names.join(", ")),
    };
    format!("no process is called {name}; {offer}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_as_the_kernel_cuts_them() {
        assert!(is_called("game", "game"));
        assert!(!is_called("game", "gameserver"));
        assert!(is_called("long-named-game", "long-named-game-server"));
    }

    #[test]
    fn who_may_be_meant_is_offered() {
        let names = ["game-server", "gamma", "sh"].map(str::to_owned).into();
        assert_eq!(nobody("Game", &names), "no process is called Game; there are game-server, gamma");
        assert_eq!(nobody("xyz", &names), "no process is called xyz; `ps -e` lists those that run");
    }

    #[test]
    fn files_are_called_by_what_was_asked_for() {
        assert_eq!(Scope::Processes(vec![7, 8]).label(), "7");
        assert_eq!(Scope::Named("a/b".to_owned()).label(), "a_b");
        assert_eq!(Scope::Program(vec!["/usr/bin/ls".into(), "-l".into()]).label(), "ls");
    }
}
