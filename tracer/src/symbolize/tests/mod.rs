//! Tests with real compilers, linkers and processes. Names and lines are compared with what GNU binutils say.

mod files;
mod hostile;
mod live;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tracer_ebpf::abi::sample::Frame;

use super::*;
use crate::recording::Location;

/// A directory with programs in it.
struct Workshop {
    directory: TempDir,
}

impl Workshop {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Runs a command in the directory; it must succeed.
    fn run(&self, line: &str) -> String {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        let output = command.args(words).current_dir(self.directory.path()).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Start and size of each function in the file's symbol table.
    fn functions(&self, file: &str) -> Vec<(String, u64, u64)> {
        let table = self.run(&format!("nm --print-size --defined-only {file}"));
        let row = |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [start, size, kind, name] = fields[..] else { return None };
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            "tTwW".contains(kind).then(|| (name.to_owned(), number(start), number(size)))
        };
        table.lines().filter_map(row).collect()
    }

    fn function(&self, file: &str, name: &str) -> (u64, u64) {
        let functions = self.functions(file);
        let (_, start, size) = functions.iter().find(|function| function.0 == name).unwrap();
        (*start, *size)
    }
}

/// Names addresses of one file.
fn name(file: &Path, addresses: &[u64]) -> Symbolized {
    name_with(file, addresses, Settings::default())
}

fn name_with(file: &Path, addresses: &[u64], settings: Settings) -> Symbolized {
    let mut modules = Modules::new();
    let number = modules.add_file(file);
    let mut frames = Frames::default();
    for (index, &address) in addresses.iter().enumerate() {
        assert_eq!(frames.location(0, Frame(u64::from(number) << 48 | address)) as usize, index);
    }
    symbolize(&frames, &modules, &HeldSources::default(), settings)
}

impl Symbolized {
    /// `name file:line` of each function at a location, innermost first; the file without its directory.
    fn lines(&self, location: usize) -> Vec<String> {
        let Location { lines, .. } = &self.locations[location];
        let text = |line: &crate::recording::Line| {
            let function = &self.functions[line.function as usize];
            let file = function.file.rsplit('/').next().unwrap();
            format!("{} {file}:{}", function.name, line.line)
        };
        lines.iter().map(text).collect()
    }

    /// The names at a location, innermost first.
    fn names(&self, location: usize) -> Vec<&str> {
        let lines = &self.locations[location].lines;
        lines.iter().map(|line| self.functions[line.function as usize].name.as_str()).collect()
    }

    /// The mangled names at a location, innermost first.
    fn system_names(&self, location: usize) -> Vec<&str> {
        let lines = &self.locations[location].lines;
        lines.iter().map(|line| self.functions[line.function as usize].system_name.as_str()).collect()
    }
}
