//! Small ELF files for tests, built from assembly or C.

use std::path::Path;
use std::process::Command;

use object::{Object, ObjectSymbol};

use super::symbols::ModuleSymbols;

/// A built file.
pub struct Built {
    pub bytes: Vec<u8>,
}

/// Compiles one source (`x.c`, `x.S`) with gcc and these options.
pub fn build(name: &str, source: &str, options: &[&str]) -> Built {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (input, output) = (directory.path().join(name), directory.path().join("out"));
    std::fs::write(&input, source).expect("the source is written");
    let status = Command::new("gcc").args(options).arg("-o").arg(&output).arg(&input).status().expect("gcc runs");
    assert!(status.success(), "gcc {options:?} accepts\n{source}");
    Built { bytes: std::fs::read(output).expect("gcc has written it") }
}

/// A shared object with these functions (hidden, so that calls go straight), each given as name and body in AT&T syntax. A name that begins with a dot opens
/// another section instead.
pub fn library(functions: &[(&str, &str)]) -> Built {
    let mut source = String::from(".text\n");
    for (name, body) in functions {
        if name.starts_with('.') {
            source += &format!(".section {name},\"ax\"\n{body}\n.text\n");
        } else {
            source += &format!(
                ".p2align 4\n.globl {name}\n.hidden {name}\n.type {name},@function\n{name}:\n{body}\n.size {name},.-{name}\n"
            );
        }
    }
    build("source.S", &source, &["-shared", "-nostdlib"])
}

impl Built {
    pub fn file(&self) -> object::File<'_> {
        object::File::parse(self.bytes.as_slice()).expect("gcc writes ELF")
    }

    pub fn module(&self) -> ModuleSymbols<'_> {
        let mut module = ModuleSymbols::read("built", &self.file()).expect("gcc writes ELF for this machine");
        module.read_code(&self.file()).expect("it was read before");
        module
    }

    /// Address and size of a symbol.
    pub fn symbol(&self, name: &str) -> (u64, u64) {
        let file = self.file();
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name)).expect("the symbol is there");
        (symbol.address(), symbol.size())
    }
}

/// A library of this machine, when it is the build that a test was written for; otherwise says that it is not.
pub fn installed(path: &str, build_id: &str) -> Option<Vec<u8>> {
    let found = Path::new(path).exists().then(|| std::fs::read(path).expect("it is readable"));
    let matches = |bytes: &Vec<u8>| {
        let file = object::File::parse(bytes.as_slice()).expect("libraries are ELF");
        let id = file.build_id().expect("its notes are whole").unwrap_or_default();
        id.iter().map(|byte| format!("{byte:02x}")).collect::<String>() == build_id
    };
    let found = found.filter(matches);
    if found.is_none() {
        println!("skipped: {path} is not build {build_id}");
    }
    found
}
