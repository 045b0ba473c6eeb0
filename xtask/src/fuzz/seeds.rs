//! What the fuzzing of whole files starts with: the kernel's vdso, and a library with each kind of unwind information.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::Path,
    process::Command,
};

use anyhow::Context as _;
use procfs::process::{MMapPath, Process};

use crate::exec;

/// The target that takes files.
pub const TARGET: &str = "elf_file";

/// Small, as inputs are mutated anywhere: a page for each segment would be padding.
const FLAGS: [&str; 6] = ["-shared", "-nostdlib", "-fPIC", "-O1", "-Wl,-z,noseparate-code", "-Wl,--build-id=none"];
/// Name of the library, and its flags.
const LIBRARIES: [(&str, &[&str]); 2] = [
    ("eh_frame.so", &["-fasynchronous-unwind-tables"]),
    // Compilers write this section where the other is not asked for, and only for debuggers.
    ("debug_frame.so", &["-fno-asynchronous-unwind-tables", "-g1"]),
];

/// Writes the files into a folder, whose other files stay.
///
/// # Errors
/// When gcc is missing, or a file cannot be written.
pub fn write(folder: &Path) -> anyhow::Result<()> {
    let source = folder.join("frames.c");
    fs::write(&source, include_str!("frames.c")).with_context(|| format!("cannot write {}", source.display()))?;
    for (name, flags) in LIBRARIES {
        exec::exec(Command::new("gcc").args(FLAGS).args(flags).arg(&source).arg("-o").arg(folder.join(name)))?;
    }
    fs::remove_file(&source).with_context(|| format!("cannot remove {}", source.display()))?;
    if let Some(image) = vdso()? {
        let path = folder.join("vdso.so");
        fs::write(&path, image).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Our own; `None` where the kernel maps none.
fn vdso() -> anyhow::Result<Option<Vec<u8>>> {
    let maps = Process::myself().and_then(|process| process.maps()).context("cannot read our own mappings")?;
    let Some(map) = maps.iter().find(|map| map.pathname == MMapPath::Vdso) else { return Ok(None) };
    let (start, end) = map.address;
    let mut image = vec![0; (end - start) as usize];
    let memory = File::open("/proc/self/mem").and_then(|memory| memory.read_exact_at(&mut image, start));
    memory.context("cannot read the vdso")?;
    Ok(Some(image))
}

#[cfg(test)]
mod tests {
    use object::{Object as _, ObjectSection as _};

    use super::*;

    #[test]
    fn each_library_has_one_kind_of_unwind_information() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        for (file, full, empty) in [
            ("eh_frame.so", ".eh_frame", ".debug_frame"),
            ("debug_frame.so", ".debug_frame", ".eh_frame"),
            ("vdso.so", ".eh_frame", ".debug_frame"),
        ] {
            let Ok(bytes) = fs::read(folder.path().join(file)) else {
                assert_eq!((file, vdso().unwrap()), ("vdso.so", None));
                continue;
            };
            let object = object::File::parse(bytes.as_slice()).unwrap();
            let size = |name| object.section_by_name(name).map_or(0, |section| section.size());
            assert!(size(full) > 0 && size(empty) == 0, "{file}: {} and {}", size(full), size(empty));
        }
        assert!(!folder.path().join("frames.c").exists(), "the source is no seed");
    }
}
