//! Names for the addresses of one module, start to end.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::confine::{Limits, confined, drop_privileges};
use super::debug_file::{self, DebugFile};
use super::image::{Image, Supplementary};
use super::lookup::{Answer, DebugInfo, Wanted, look_up};
use super::unresolved::{Failure, Unresolved};
use crate::target::Module;
use crate::target::filesystem::Root;
use crate::target::module::Contents;

/// What is known of one module's addresses.
#[derive(Debug)]
pub(super) struct NamedModule {
    pub answer: Result<Answer, Unresolved>,
    /// The separate debug file that was used.
    pub debug_file: Option<PathBuf>,
    pub elapsed: Duration,
}

#[derive(Serialize, Deserialize)]
struct Reply {
    answer: Result<Answer, Failure>,
    debug_file: Option<PathBuf>,
}

/// Names `addresses`, which are ELF virtual addresses of `module`.
pub(super) fn name(module: &Module, addresses: &[u64], roots: &[&Root], wanted: Wanted, limits: Limits) -> NamedModule {
    let begun = Instant::now();
    let (answer, debug_file) = match module.unchanged() {
        Err(missing) => (Err(Unresolved::File(missing)), None),
        Ok(contents) => {
            let ask = |wanted| {
                let work = || read(contents, Path::new(&module.path), addresses, roots, wanted);
                let reply = confined(limits, || serde_json::to_vec(&work()).unwrap_or_default())?;
                serde_json::from_slice::<Reply>(&reply).map_err(|_| Failure::Malformed)
            };
            match ask(wanted) {
                Ok(reply) => (reply.answer.map_err(Unresolved::Reading), reply.debug_file),
                // Without debug information most of what can go wrong cannot.
                Err(failure) if wanted.debug_info => (without_debug_info(ask, failure), None),
                Err(failure) => (Err(Unresolved::Reading(failure)), None),
            }
        }
    };
    NamedModule { answer, debug_file, elapsed: begun.elapsed() }
}

fn without_debug_info(ask: impl Fn(Wanted) -> Result<Reply, Failure>, failure: Failure) -> Result<Answer, Unresolved> {
    let reply = ask(Wanted { debug_info: false, inlined: false }).map_err(Unresolved::Reading)?;
    let answer = reply.answer.map_err(Unresolved::Reading)?;
    Ok(Answer { debug_info: DebugInfo::Failed(failure), ..answer })
}

/// The confined part.
fn read(contents: &Contents, path: &Path, addresses: &[u64], roots: &[&Root], wanted: Wanted) -> Reply {
    // Privileges are for opening files only.
    let debug = if contents.facts.has_debug_info { None } else { find_debug_file(contents, path, roots) };
    let shared = match &debug {
        Some(debug) => supplementary(&debug.file, &debug.path, roots),
        None => supplementary(&contents.file, path, roots),
    };
    drop_privileges();
    let answer = || {
        let shared = shared.filter(|_| wanted.debug_info);
        let shared = shared.map(|(file, id)| Supplementary::new(&file.file, id.as_bytes())).transpose()?;
        let debug = debug.as_ref().map(|debug| &debug.file);
        let image = Image::new(&contents.file, debug, shared.as_ref(), wanted.debug_info)?;
        Ok(look_up(&image, addresses, wanted))
    };
    Reply { answer: answer(), debug_file: debug.map(|debug| debug.path) }
}

pub(super) fn find_debug_file(contents: &Contents, path: &Path, roots: &[&Root]) -> Option<DebugFile> {
    debug_file::of(&contents.file, path, contents.facts.build_id.as_ref(), roots)
}

fn supplementary(
    file: &std::fs::File,
    path: &Path,
    roots: &[&Root],
) -> Option<(DebugFile, crate::target::elf::BuildId)> {
    debug_file::find_supplementary(roots, path, &debug_file::section(file, ".gnu_debugaltlink")?)
}
