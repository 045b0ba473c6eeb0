//! What the shim recorded inside a program, and how a sample compares with it. The format is in `programs/truth_shim.c`.

use std::{
    collections::HashMap,
    fmt,
    fs::{self, File},
    io::Read as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

const MAGIC: u64 = 0x31_6874_7572_7400;
const HEADER_WORDS: u64 = 4;
const ENABLED_WORD: u64 = 1;
/// A sampled size above this leads to a record. It is one that might be had, as far as tracer can tell: such calls count.
const KEY: u64 = 1 << 62;

/// The file that a program under test writes.
pub struct TruthFile {
    file: File,
    path: PathBuf,
}

impl TruthFile {
    /// Makes an empty one of `bytes` bytes (sparse) in `directory`.
    pub fn create(directory: &Path, bytes: u64) -> Self {
        let path = directory.join("truth");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        file.set_len(bytes).expect("the truth file can be extended");
        for (word, value) in [MAGIC, 0, HEADER_WORDS, 0].into_iter().enumerate() {
            file.write_all_at(&value.to_ne_bytes(), word as u64 * 8).expect("the truth file can be written");
        }
        Self { file, path }
    }

    /// For the environment of the program.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the shim record, or stops it.
    pub fn enable(&self, enabled: bool) {
        let word = u64::from(enabled).to_ne_bytes();
        self.file.write_all_at(&word, ENABLED_WORD * 8).expect("the truth file can be written");
    }

    /// Reads what was recorded.
    pub fn read(&self) -> Truth {
        let mut word = [0; 8];
        self.file.read_exact_at(&mut word, 16).expect("the truth file can be read");
        let words = u64::from_ne_bytes(word);
        let mut bytes = Vec::new();
        File::open(&self.path)
            .and_then(|file| file.take(words.saturating_mul(8)).read_to_end(&mut bytes))
            .expect("the truth file can be read");
        Truth::parse(bytes.chunks_exact(8).filter_map(|chunk| chunk.try_into().ok()).map(u64::from_ne_bytes).collect())
            .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()))
    }
}

/// A frame's place in a form that does not depend on where its module was mapped.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Path of the module, `None` outside of all modules.
    pub module: Option<Arc<Path>>,
    /// ELF virtual address, or process address outside of all modules.
    pub address: u64,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.module.as_deref().and_then(Path::file_name);
        write!(f, "{}+{:#x}", name.map_or("?".into(), |name| name.to_string_lossy()), self.address)
    }
}

/// One module as the program's loader listed it.
#[derive(Clone, Debug)]
struct Module {
    bias: u64,
    start: u64,
    end: u64,
    path: Arc<Path>,
}

/// All stacks that a program recorded.
#[derive(Debug, Default)]
pub struct Truth {
    words: Vec<u64>,
    tables: HashMap<u64, Vec<Module>>,
    keys: Vec<u64>,
    /// Calls that found no room in the file.
    pub lost: u64,
    /// Words at the end of the file that no finished entry covers: the program was killed while it wrote.
    pub unfinished_words: u64,
}

impl Truth {
    /// Reads the words of a file.
    ///
    /// # Errors
    /// What is wrong with them; an unfinished end is no error.
    pub fn parse(words: Vec<u64>) -> Result<Self, String> {
        let &[MAGIC, _, _, lost, ..] = words.as_slice() else { return Err("not a truth file".to_owned()) };
        let mut truth = Self { words, lost, ..Self::default() };
        let mut at = HEADER_WORDS;
        while let Some(&head) = truth.words.get(at as usize) {
            let length = head >> 32 & 0xff_ffff;
            let Some(content) = truth.words.get(at as usize + 1..(at + 1 + length) as usize) else { break };
            match head >> 56 {
                0 => break,
                1 => truth.keys.push(at),
                2 => {
                    let table = modules(content).ok_or_else(|| format!("broken module list at word {at}"))?;
                    truth.tables.insert(at, table);
                }
                kind => return Err(format!("unknown entry {kind} at word {at}")),
            }
            at += 1 + length;
        }
        truth.unfinished_words = truth.words.len() as u64 - at;
        Ok(truth)
    }

    /// The keys of all stacks, in the order in which they were recorded.
    pub fn keys(&self) -> &[u64] {
        &self.keys
    }

    /// The key in the argument of a sampled `malloc`; `None` for what the program itself asked for.
    pub fn key(size: u64) -> Option<u64> {
        (size >= KEY).then(|| size - KEY)
    }

    /// The stack recorded under a key, innermost frame (the wrapper) first.
    pub fn stack(&self, key: u64) -> Option<Vec<Place>> {
        self.keys.binary_search(&key).ok()?;
        let head = *self.words.get(key as usize)?;
        let modules = self.tables.get(&(head & 0xffff_ffff))?;
        let addresses = self.words.get(key as usize + 1..)?.get(..(head >> 32 & 0xff_ffff) as usize)?;
        let place = |&address: &u64| match modules.iter().find(|m| m.start <= address && address < m.end) {
            Some(module) => Place { module: Some(module.path.clone()), address: address.wrapping_sub(module.bias) },
            None => Place { module: None, address },
        };
        Some(addresses.iter().map(place).collect())
    }
}

fn modules(mut words: &[u64]) -> Option<Vec<Module>> {
    let mut modules = Vec::new();
    while let &[bias, start, end, bytes, ref rest @ ..] = words {
        let path: Vec<u8> =
            rest.get(..bytes.div_ceil(8) as usize)?.iter().flat_map(|word| word.to_ne_bytes()).collect();
        words = rest.get(bytes.div_ceil(8) as usize..)?;
        let path = String::from_utf8(path.get(..bytes as usize)?.to_vec()).ok()?;
        modules.push(Module { bias, start, end, path: real_path(Path::new(&path)) });
    }
    words.is_empty().then_some(modules)
}

/// The path without symbolic links, as `/proc/PID/maps` shows it; as it is where there is no such file (vdso).
pub fn real_path(path: &Path) -> Arc<Path> {
    fs::canonicalize(path).map_or_else(|_| path.into(), Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(module: &str, address: u64) -> Place {
        Place { module: Some(Path::new(module).into()), address }
    }

    /// Header, one module at 0x1000..0x2000 with bias 0x800, one stack inside it and beyond.
    fn file() -> Vec<u64> {
        let path = u64::from_ne_bytes(*b"/no/file");
        vec![MAGIC, 1, 0, 5, 2 << 56 | 5 << 32, 0x800, 0x1000, 0x2000, 8, path, 1 << 56 | 2 << 32 | 4, 0x1234, 0x2000]
    }

    #[test]
    fn a_file_gives_its_stacks() {
        let truth = Truth::parse(file()).unwrap();
        assert_eq!((truth.keys(), truth.lost, truth.unfinished_words), (&[10][..], 5, 0));
        assert_eq!(truth.stack(10).unwrap(), [place("/no/file", 0xa34), Place { module: None, address: 0x2000 }]);
        assert_eq!(truth.stack(9), None);
        assert_eq!((Truth::key(KEY + 10), Truth::key(10)), (Some(10), None));
    }

    #[test]
    fn an_unfinished_end_is_left_out() {
        let whole = file();
        for length in HEADER_WORDS as usize..whole.len() {
            let truth = Truth::parse(whole[..length].to_vec()).unwrap();
            assert_eq!(truth.keys(), [0; 0]);
            let finished = if length < 10 { 4 } else { 10 };
            assert_eq!(truth.unfinished_words, length as u64 - finished);
        }
        assert!(Truth::parse(whole[..3].to_vec()).is_err());
    }

    #[test]
    fn an_unwritten_entry_ends_the_file() {
        let truth = Truth::parse([file(), vec![0, 7, 7]].concat()).unwrap();
        assert_eq!((truth.keys().len(), truth.unfinished_words), (1, 3));
        let broken = [file(), vec![2 << 56 | 2 << 32, 1, 2]].concat();
        assert!(Truth::parse(broken).unwrap_err().contains("module list"));
    }
}
