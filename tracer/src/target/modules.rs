//! All modules of the traced processes, numbered.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::elf::ElfError;
use super::file_state::FileState;
use super::filesystem::FoundFile;
use super::mappings::{Entry, MappingKind, Mappings};
use super::module::{Contents, Gone, Missing, Module};
use super::procfs::Procfs;

/// Module numbers have 15 bits in a [`Frame`](tracer_ebpf::abi::sample::Frame), 0 means none, and the last one is the kernel's.
pub const MAX_MODULES: usize = tracer_ebpf::abi::sample::KERNEL_MODULE as usize - 1;
/// `AT_BASE` of `<elf.h>`: where the program interpreter was loaded.
const AT_BASE: u64 = 7;

/// Each distinct mapped file once, held open.
#[derive(Debug, Default)]
pub struct Modules {
    modules: Vec<Module>,
    /// More are not opened: a program may map any number.
    files_at_most: usize,
    files_open: usize,
    /// By what was found through a mapping. A file that is written to makes a new module: tables and names of the old one are
    /// not those of what it holds now.
    files: HashMap<FileState, u16>,
    /// Files that were not found, by device, inode and path as the mappings name them.
    missing: HashMap<(u64, u64, Vec<u8>), u16>,
    vdsos: Vec<(Vec<u8>, u16)>,
    /// What the last scan of each process found.
    processes: HashMap<u32, HashMap<Key, Resolved>>,
}

/// What makes a mapping the one that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    start: u64,
    end: u64,
    file_offset: u64,
    device: u64,
    inode: u64,
}

#[derive(Clone, Copy, Debug)]
struct Resolved {
    /// Of its file.
    state: Option<FileState>,
    module: u16,
    bias: u64,
    kind: MappingKind,
}

/// Why a mapping has no module.
#[derive(Clone, Copy, Debug)]
enum NoModule {
    /// It is gone.
    Gone,
    /// It holds code that no ELF file describes.
    ByFramePointer,
    /// There is no number for it, or it cannot be read. Nothing is known of its code, not even whether it keeps frame pointers.
    Unknown,
}

/// One executable mapping, in process addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecutableMapping {
    /// First process address.
    pub start: u64,
    /// First process address behind it.
    pub end: u64,
    /// File offset of `start`.
    pub file_offset: u64,
    /// ELF virtual address = process address - bias (wrapping). 0 where there is no module.
    pub bias: u64,
    /// Number of the module; 0 for none: code made at run time, a file that is not ELF, or one for which there is no number.
    pub module: u16,
    /// What it holds. A file that is not ELF counts as [`MappingKind::Anonymous`]: programs put their code there.
    pub kind: MappingKind,
}

/// The executable mappings of one process at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Sorted by start.
    pub mappings: Vec<ExecutableMapping>,
    /// Modules that this scan saw first.
    pub new_modules: Vec<u16>,
    /// Mappings that are left out: too many, unreadable, or gone while they were looked at.
    pub dropped: u64,
    /// Mappings without a module because all [`MAX_MODULES`] numbers are taken.
    pub unnumbered: u64,
}

impl Modules {
    /// An empty set. Raises tracer's limit of open files as far as it may, since every module is held open; half of them may be
    /// modules.
    pub fn new() -> Self {
        let limit = getrlimit(Resource::Nofile);
        // A refusal shows later, as files that cannot be opened.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / 2;
        Self { files_at_most: usize::try_from(most).unwrap_or(usize::MAX), ..Self::default() }
    }

    /// Reads the mappings of a process and opens the files not seen before. Call it again whenever the mappings may
    /// have changed: what stayed costs a line of text, and for each file a look at its state. A mapping that looks like the one
    /// that was there may be another: a library that was unloaded, overwritten and loaded again has the same place, device and
    /// inode.
    ///
    /// A file that is written to while it is mapped changes what the mapping holds, but for pages that the process has written
    /// to. So its state now says what stands there now; stacks between the writing and the next reading are by the table of
    /// what stood there before. Nothing tells of such writes. Few programs live on after one.
    ///
    /// # Errors
    /// When the mappings cannot be read, or the process has ended.
    pub fn scan(&mut self, process: u32) -> io::Result<Scan> {
        let Mappings { executable, dropped } = Mappings::read(process)?;
        let mut scan = Scan { mappings: Vec::with_capacity(executable.len()), dropped, ..Scan::default() };
        let before = self.processes.remove(&process).unwrap_or_default();
        let mut now = HashMap::with_capacity(executable.len());
        for entry in &executable {
            let &Entry { start, end, file_offset, device, inode, .. } = entry;
            let key = Key { start, end, file_offset, device, inode };
            let Some(resolved) = self.resolve(process, entry, before.get(&key), &mut scan) else {
                scan.dropped += 1;
                continue;
            };
            now.insert(key, resolved);
            let Resolved { module, bias, kind, .. } = resolved;
            scan.mappings.push(ExecutableMapping { start, end, file_offset, bias, module, kind });
        }
        self.processes.insert(process, now);
        if !scan.new_modules.is_empty() {
            self.mark_interpreter(process, &scan);
        }
        Ok(scan)
    }

    /// Forgets the mappings of a process that has ended or runs another program. Its modules stay.
    pub fn forget(&mut self, process: u32) {
        self.processes.remove(&process);
    }

    /// Where a process has a place of a module's file, by the last scan; executable mappings only.
    pub fn address(&self, process: u32, module: u16, file_offset: u64) -> Option<u64> {
        let mappings = self.processes.get(&process)?.iter();
        let mut of_module = mappings.filter(|(_, resolved)| resolved.module == module).map(|(key, _)| key);
        let inside = |key: &&Key| (key.file_offset..key.file_offset + (key.end - key.start)).contains(&file_offset);
        of_module.find(inside).map(|key| key.start + (file_offset - key.file_offset))
    }

    /// The module of this number.
    pub fn get(&self, number: u16) -> Option<&Module> {
        self.modules.get(usize::from(number).checked_sub(1)?)
    }

    /// All modules, by number.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Module> {
        self.modules.iter()
    }

    /// Adds a file that no process maps.
    #[cfg(test)]
    pub(crate) fn add_file(&mut self, path: &std::path::Path) -> u16 {
        let entry = Entry {
            start: 0,
            end: 0,
            file_offset: 0,
            device: 0,
            inode: 0,
            path: path.as_os_str().as_encoded_bytes().to_vec(),
            kind: MappingKind::File,
        };
        let contents = Contents::new(File::open(path).unwrap());
        self.add(Contents::path(&contents, &entry), &entry, contents, &mut Scan::default()).unwrap()
    }

    /// `None` when the mapping is gone. `before`: what it was at the last reading.
    fn resolve(&mut self, process: u32, entry: &Entry, before: Option<&Resolved>, scan: &mut Scan) -> Option<Resolved> {
        let found = match entry.kind {
            MappingKind::File => Some(Contents::find(process, entry).ok()?),
            _ => None,
        };
        let state = found.as_ref().and_then(|found| Some(found.as_ref().ok()?.state));
        if let Some(before) = before.filter(|before| before.state == state) {
            return Some(*before);
        }
        let module = match (entry.kind, found) {
            (MappingKind::Vdso, _) => self.vdso(process, entry, scan),
            (_, Some(Ok(found))) => self.file(process, entry, &found, scan),
            (_, Some(Err(missing))) => self.missing(entry, missing, scan),
            (_, None) => Err(NoModule::ByFramePointer),
        };
        let resolved = module.and_then(|module| {
            let bias = self.get(module).and_then(|module| module.bias(entry)).ok_or(NoModule::ByFramePointer)?;
            Ok(Resolved { state, module, bias, kind: entry.kind })
        });
        let none = Resolved { state, module: 0, bias: 0, kind: entry.kind };
        match resolved {
            Ok(resolved) => Some(resolved),
            Err(NoModule::Gone) => None,
            Err(NoModule::Unknown) => Some(none),
            Err(NoModule::ByFramePointer) if entry.kind == MappingKind::Uprobes => Some(none),
            Err(NoModule::ByFramePointer) => Some(Resolved { kind: MappingKind::Anonymous, ..none }),
        }
    }

    fn file(&mut self, process: u32, entry: &Entry, found: &FoundFile, scan: &mut Scan) -> Result<u16, NoModule> {
        if let Some(&number) = self.files.get(&found.state) {
            return Ok(number);
        }
        let contents = if self.files_open < self.files_at_most {
            Contents::open(process, entry, found).map_err(|Gone| NoModule::Gone)?
        } else {
            Err(Missing::TooMany)
        };
        if matches!(contents, Err(Missing::Elf(ElfError::NotElf))) {
            return Err(NoModule::ByFramePointer);
        }
        let (path, is_open) = (Contents::path(&contents, entry), contents.is_ok());
        // That of what was read, where somebody writes to it just now. The next reading finds it in another state.
        let state = contents.as_ref().map_or(found.state, Contents::state);
        let number = self.add(path, entry, contents, scan)?;
        self.files_open += usize::from(is_open);
        self.files.insert(state, number);
        Ok(number)
    }

    fn missing(&mut self, entry: &Entry, missing: Missing, scan: &mut Scan) -> Result<u16, NoModule> {
        let key = (entry.device, entry.inode, entry.path.clone());
        if let Some(&number) = self.missing.get(&key) {
            return Ok(number);
        }
        let contents = Err(missing);
        let number = self.add(Contents::path(&contents, entry), entry, contents, scan)?;
        self.missing.insert(key, number);
        Ok(number)
    }

    /// Every process has the same vdso, at another address.
    fn vdso(&mut self, process: u32, entry: &Entry, scan: &mut Scan) -> Result<u16, NoModule> {
        let (contents, bytes) = Contents::vdso(process, entry).map_err(|_| NoModule::Unknown)?;
        if let Some((_, number)) = self.vdsos.iter().find(|(known, _)| *known == bytes) {
            return Ok(*number);
        }
        let number = self.add("[vdso]".to_owned(), entry, Ok(contents), scan)?;
        self.vdsos.push((bytes, number));
        Ok(number)
    }

    fn add(
        &mut self,
        path: String,
        entry: &Entry,
        contents: Result<Contents, Missing>,
        scan: &mut Scan,
    ) -> Result<u16, NoModule> {
        if self.modules.len() == MAX_MODULES {
            scan.unnumbered += 1;
            return Err(NoModule::Unknown);
        }
        let number = u16::try_from(self.modules.len() + 1).map_err(|_| NoModule::Unknown)?;
        let &Entry { start, end, file_offset, kind, .. } = entry;
        self.modules.push(Module { number, path, kind, start, end, file_offset, is_interpreter: false, contents });
        scan.new_modules.push(number);
        Ok(number)
    }

    /// `ld.so` lies at `AT_BASE`, and its first segment has ELF address 0.
    fn mark_interpreter(&mut self, process: u32, scan: &Scan) {
        let Some(base) = interpreter_base(process) else { return };
        let interpreter = scan.mappings.iter().find(|mapping| mapping.module != 0 && mapping.bias == base);
        if let Some(module) = interpreter.and_then(|mapping| self.modules.get_mut(usize::from(mapping.module) - 1)) {
            module.is_interpreter = true;
        }
    }
}

/// `AT_BASE` of the auxiliary vector (proc_pid_auxv(5)); `None` for a static executable.
fn interpreter_base(process: u32) -> Option<u64> {
    let mut bytes = Vec::new();
    File::open(Procfs::of(process).path("auxv")).ok()?.take(4096).read_to_end(&mut bytes).ok()?;
    let (words, _) = bytes.as_chunks::<8>();
    let (pairs, _) = words.as_chunks::<2>();
    let pairs = pairs.iter().map(|[key, value]| (u64::from_le_bytes(*key), u64::from_le_bytes(*value)));
    pairs.into_iter().find(|&(key, value)| key == AT_BASE && value != 0).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn no_more_files_are_opened_than_may_be() {
        let mut modules = Modules { files_at_most: 1, ..Modules::new() };
        let scan = modules.scan(std::process::id()).unwrap();
        let missing: Vec<_> = modules.iter().filter_map(|module| module.facts().err()).collect();
        assert!(missing.len() >= 2 && missing.iter().all(|missing| *missing == Missing::TooMany), "{missing:?}");
        assert_eq!(
            modules.iter().filter(|module| module.kind == MappingKind::File && module.facts().is_ok()).count(),
            1
        );
        assert_eq!((scan.dropped, modules.scan(std::process::id()).unwrap().new_modules), (0, Vec::new()));
    }

    #[test]
    fn a_second_scan_opens_nothing() {
        let mut modules = Modules::new();
        let first = modules.scan(std::process::id()).unwrap();
        assert!(first.new_modules.len() >= 3, "{first:?}");
        let second = modules.scan(std::process::id()).unwrap();
        assert!(second.new_modules.is_empty());
        assert_eq!(modules.iter().len(), first.new_modules.len());
        for mapping in &first.mappings {
            if mapping.module != 0 {
                assert!(second.mappings.contains(mapping));
            }
        }
    }

    #[test]
    fn a_file_that_changes_is_another_module() {
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("shell");
        // By another process: a program cannot be run while a child of another test holds it open for writing.
        assert!(std::process::Command::new("cp").arg("/bin/sh").arg(&copy).status().unwrap().success());
        let mut shell = std::process::Command::new(&copy);
        let shell = shell.args(["-c", "echo up; read line"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = shell.spawn().unwrap();
        // From here on its mappings stay as they are.
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let mut modules = Modules::new();
        let mut number = || {
            let scan = modules.scan(child.id()).unwrap();
            let mut numbers = scan.mappings.iter().map(|mapping| mapping.module);
            let of_copy = |number: &u16| modules.get(*number).is_some_and(|module| module.path.ends_with("/shell"));
            let number = numbers.find(of_copy).unwrap();
            (number, modules.get(number).unwrap().state().unwrap())
        };
        let (first, state) = number();
        assert_eq!(number(), (first, state));
        // Contents of a program that runs cannot be written, but whatever writes does this.
        File::open(&copy).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        let (second, changed) = number();
        assert_ne!(second, first);
        assert_eq!((changed.device, changed.inode, changed.size), (state.device, state.inode, state.size));
        assert_eq!(number(), (second, changed));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn another_process_shares_modules() {
        let mut modules = Modules::new();
        modules.scan(std::process::id()).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        // `spawn` returns while the kernel still sets the new program up: its mappings come one by one, the vdso last.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let has_vdso = |scan: &Scan| scan.mappings.iter().any(|m| m.kind == MappingKind::Vdso && m.module != 0);
        let mut scan = modules.scan(child.id()).unwrap();
        let mut new = scan.new_modules.clone();
        while !has_vdso(&scan) && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(1));
            scan = modules.scan(child.id()).unwrap();
            new.extend(&scan.new_modules);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let new: Vec<&str> = new.iter().map(|&number| modules.get(number).unwrap().path.as_str()).collect();
        // libc, ld.so and the vdso were known.
        assert_eq!(new, ["/usr/bin/sleep"]);
        assert!(has_vdso(&scan));
        assert!(modules.scan(child.id()).is_err());
    }

    #[test]
    fn modules_know_what_they_are() {
        let mut modules = Modules::new();
        let scan = modules.scan(std::process::id()).unwrap();
        let interpreters: Vec<_> = modules.iter().filter(|module| module.is_interpreter).collect();
        assert_eq!(interpreters.len(), 1);
        assert!(interpreters[0].path.contains("/ld-"), "{}", interpreters[0].path);
        let vdso = modules.iter().find(|module| module.path == "[vdso]").unwrap();
        assert!(vdso.build_id().is_some());
        let address = modules_know_what_they_are as fn() as usize as u64;
        let own = scan.mappings.iter().find(|mapping| (mapping.start..mapping.end).contains(&address)).unwrap();
        let own = modules.get(own.module).unwrap();
        assert_eq!(own.path, std::env::current_exe().unwrap().to_str().unwrap());
        assert_eq!(own.number, modules.iter().position(|module| module.path == own.path).unwrap() as u16 + 1);
        assert!(modules.get(0).is_none() && modules.get(u16::MAX).is_none());
    }
}
