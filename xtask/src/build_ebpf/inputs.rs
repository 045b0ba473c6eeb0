//! What the object is made from: sources, dependencies, and the flags of the build. Any of them changed means a new
//! object.

use std::{fs, path::Path};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::{compile, linker};
use crate::{exec, workspace};

const PACKAGE: &str = "tracer-ebpf";

/// One line for each input, in a fixed order: the same sources give the same lines on every machine.
///
/// # Errors
/// When a source cannot be read, or cargo cannot say what the programs depend on.
pub fn inputs() -> anyhow::Result<Vec<String>> {
    let root = workspace::root()?;
    let mut lines = vec![format!("bpf-linker {}", linker::VERSION)];
    lines.extend(inherited(&root)?);
    lines.extend(compile::recipe());
    lines.extend(dependencies()?);
    lines.extend(files(&root, PACKAGE)?);
    Ok(lines)
}

/// What the programs' manifest takes from the workspace's: section and key.
const INHERITED: [(&str, &str); 3] =
    [("[workspace.package]", "version"), ("[workspace.package]", "edition"), ("[workspace.dependencies]", "aya-ebpf")];

fn inherited(root: &Path) -> anyhow::Result<Vec<String>> {
    let manifest = root.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let line = |(section, key)| {
        let found = line_of(&text, section, key);
        let found = found.with_context(|| format!("{} has no {key} in {section}", manifest.display()))?;
        Ok(format!("workspace {found}"))
    };
    INHERITED.into_iter().map(line).collect()
}

/// The line `key = …` of a section.
fn line_of<'a>(manifest: &'a str, section: &str, key: &str) -> Option<&'a str> {
    let lines = manifest.lines().skip_while(|line| *line != section).skip(1);
    let mut lines = lines.take_while(|line| !line.starts_with('['));
    lines.find(|line| line.split_once(" = ").is_some_and(|(name, _)| name == key))
}

/// SHA-256, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The locked versions that are compiled into the programs, and those of the macros that write parts of them.
fn dependencies() -> anyhow::Result<Vec<String>> {
    let tree = exec::capture(workspace::cargo()?.args(["tree", "--locked", "--package", PACKAGE]).args([
        "--features",
        "programs",
        "--target",
        compile::TARGET,
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]))?;
    Ok(crates(&tree))
}

/// `name version` of each registry crate in the output of `cargo tree`, sorted.
fn crates(tree: &str) -> Vec<String> {
    let mut crates: Vec<_> = tree
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(" v")?;
            let version = rest.split(' ').next()?;
            (name != PACKAGE).then(|| format!("crate {name} {version}"))
        })
        .collect();
    crates.sort_unstable();
    crates.dedup();
    crates
}

/// `digest path` of each file below `path`, sorted by path.
fn files(root: &Path, path: &str) -> anyhow::Result<Vec<String>> {
    let full = root.join(path);
    if !full.is_dir() {
        let bytes = fs::read(&full).with_context(|| format!("cannot read {}", full.display()))?;
        return Ok(vec![format!("{} {path}", digest(&bytes))]);
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(&full).with_context(|| format!("cannot list {}", full.display()))? {
        let entry = entry.with_context(|| format!("cannot list {}", full.display()))?;
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let name = entry.file_name().into_string().unwrap_or_default();
        // Anything else (what editors leave, say) is no source.
        if is_folder || name.ends_with(".rs") || name == "Cargo.toml" {
            names.push(name);
        }
    }
    names.sort_unstable();
    let mut lines = Vec::new();
    for name in names {
        lines.extend(files(root, &format!("{path}/{name}"))?);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_of_a_tree_have_no_paths_or_marks() {
        let tree = "tracer-ebpf v0.1.0 (/home/me/tracer/tracer-ebpf)\naya-ebpf v0.2.1\naya-ebpf-macros v0.2.0 (proc-macro)\n\
                    aya-ebpf-cty v0.3.0\naya-ebpf-cty v0.3.0 (*)\n";
        assert_eq!(crates(tree), ["crate aya-ebpf 0.2.1", "crate aya-ebpf-cty 0.3.0", "crate aya-ebpf-macros 0.2.0"]);
    }

    #[test]
    fn lines_are_those_of_their_section() {
        let manifest = "[a]\nkey = 1\n[b]\nkeys = 2\nkey = { x = 3 }\n\n[c]\nother = 4\n";
        assert_eq!(line_of(manifest, "[b]", "key"), Some("key = { x = 3 }"));
        assert_eq!(line_of(manifest, "[b]", "other"), None);
    }

    /// What the manifest inherits and is not among [`INHERITED`] does not change the object.
    #[test]
    fn all_that_is_inherited_is_known() {
        let manifest = include_str!("../../../tracer-ebpf/Cargo.toml");
        let inherits = |line: &&str| line.contains(".workspace = true") || line.contains("workspace = true,");
        let keys = manifest.lines().filter(inherits).filter_map(|line| line.split(['.', ' ']).next());
        let known: Vec<_> = INHERITED.iter().map(|(_, key)| *key).chain(["rust-version"]).collect();
        for key in keys {
            assert!(known.contains(&key), "{key}");
        }
        assert_eq!(inherited(&workspace::root().unwrap()).unwrap().len(), INHERITED.len());
    }

    #[test]
    fn digest_is_sha256() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(digest(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn files_are_those_of_the_sources_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("p/src")).unwrap();
        for (path, text) in
            [("p/src/main.rs", "m"), ("p/src/abi.rs", "a"), ("p/Cargo.toml", "c"), ("p/src/.main.rs.swp", "x")]
        {
            fs::write(root.join(path), text).unwrap();
        }
        let paths: Vec<_> =
            files(root, "p").unwrap().iter().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
        assert_eq!(paths, ["p/Cargo.toml", "p/src/abi.rs", "p/src/main.rs"]);
    }

    #[test]
    fn changed_file_changes_its_line() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.rs"), "1").unwrap();
        let before = files(directory.path(), "a.rs").unwrap();
        fs::write(directory.path().join("a.rs"), "2").unwrap();
        assert_ne!(files(directory.path(), "a.rs").unwrap(), before);
    }
}
