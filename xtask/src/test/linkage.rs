//! `target/release/tracer` is one file that needs nothing beside it: it can be copied to another machine.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};
use object::Object as _;

use super::Outcome;
use crate::demo::build_tracer;

/// Libraries that every Linux with the GNU C library has: its own, before 2.34 in more parts, and GCC's, which unwinds.
const EVERYWHERE: [&str; 6] =
    ["libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "libgcc_s.so.1", "ld-linux-x86-64.so.2"];

/// Builds the release program and looks at what it is linked to.
///
/// # Errors
/// When it does not build, or names the libraries that it needs and should not.
pub fn check() -> anyhow::Result<Outcome> {
    let program = build_tracer()?;
    let libraries = needed(&program)?;
    let others: Vec<_> = libraries.iter().filter(|name| !EVERYWHERE.contains(&name.as_str())).cloned().collect();
    if !others.is_empty() {
        bail!("{} needs {}: link it statically", program.display(), others.join(", "));
    }
    eprintln!("{} needs {}", program.display(), libraries.join(", "));
    Ok(Outcome::Passed)
}

/// The libraries that the loader maps for a program: its entries `DT_NEEDED`.
fn needed(program: &Path) -> anyhow::Result<Vec<String>> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let read = || {
        let libraries = object::File::parse(bytes.as_slice())?.import_libraries()?.collect::<Result<Vec<_>, _>>()?;
        object::Result::Ok(
            libraries.iter().map(|library| String::from_utf8_lossy(library.name()).into_owned()).collect(),
        )
    };
    read().with_context(|| format!("{} is no sound ELF file", program.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_the_file() {
        let libraries = needed(&std::env::current_exe().unwrap()).unwrap();
        assert!(libraries.contains(&"libc.so.6".to_owned()), "{libraries:?}");
        assert!(needed(Path::new("/proc/self/status")).unwrap_err().to_string().contains("no sound ELF file"));
    }
}
