//! Names for the addresses of one module, start to end.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use object::LittleEndian as LE;
use object::read::elf::SectionHeader;
use serde::{Deserialize, Serialize};

use super::confine::{Limits, confined, drop_privileges};
use super::debug_file::{self, DebugFile, DebugLink};
use super::image::{Image, Supplementary};
use super::lookup::{Answer, DebugInfo, Wanted, look_up};
use super::unresolved::{Failure, Unresolved};
use crate::target::Module;
use crate::target::elf::{Sections, reader};
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
    let link = section(&contents.file, ".gnu_debuglink").and_then(|section| DebugLink::parse(&section));
    debug_file::find(roots, path, contents.facts.build_id.as_ref(), link.as_ref())
}

fn supplementary(
    file: &std::fs::File,
    path: &Path,
    roots: &[&Root],
) -> Option<(DebugFile, crate::target::elf::BuildId)> {
    debug_file::find_supplementary(roots, path, &section(file, ".gnu_debugaltlink")?)
}

/// A small section's data.
fn section(file: &std::fs::File, name: &str) -> Option<Vec<u8>> {
    let data = reader(file);
    let section = Sections::read(&data)?.find(name)?;
    let small = section.sh_size(LE) <= 1 << 13;
    small.then(|| section.data(LE, &data).ok()).flatten().map(<[u8]>::to_vec)
}
