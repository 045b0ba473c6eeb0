//! The file system of the machine: tracer with the libraries that it is linked to, programs to trace, a shell,
//! and the script that runs them.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use crate::{exec, workspace};

const INIT: &str = include_str!("init.sh");
const BUSYBOX: &str = "/bin/busybox";
/// What is traced, and what looks for what is left of it; each a C file beside this one.
const PROGRAMS: [&str; 3] = ["counts", "loop", "loaded"];

/// Builds tracer and packs everything; the archive.
///
/// # Errors
/// When something does not build, or a package of `xtask/kernel-packages` is missing.
pub fn pack() -> anyhow::Result<PathBuf> {
    let folder = workspace::target_dir()?.join("kernels");
    let root = folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    let bin = root.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;

    exec::exec(workspace::cargo()?.args(["build", "--locked", "--package", "tracer"]))?;
    let built = workspace::target_dir()?.join("debug/tracer");
    let sources = workspace::root()?.join("xtask/src/kernels");
    let programs = PROGRAMS.map(|name| (bin.join(name), sources.join(name).with_extension("c")));
    for (program, source) in &programs {
        let mut compiler = Command::new("gcc");
        exec::exec(compiler.args(["-O2", "-g", "-Wall", "-Wextra", "-pthread", "-o"]).arg(program).arg(source))?;
    }
    // Debug information would be most of the archive, and tracer's own is not looked at.
    exec::exec(Command::new("strip").arg("-o").arg(bin.join("tracer")).arg(&built))?;
    for program in programs.iter().map(|(program, _)| program).chain([&built]) {
        for library in libraries(program)? {
            copy(&library, &root)?;
        }
    }
    if !Path::new(BUSYBOX).exists() {
        bail!("{BUSYBOX} is missing: cargo xtask setup --kernels");
    }
    copy(Path::new(BUSYBOX), &root)?;
    let init = root.join("init");
    fs::write(&init, INIT).with_context(|| format!("cannot write {}", init.display()))?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).context("cannot make init executable")?;

    let archive = folder.join("initramfs.cpio");
    write_archive(&root, &archive)?;
    Ok(archive)
}

/// Copies a file to its own place below `root`.
fn copy(file: &Path, root: &Path) -> anyhow::Result<()> {
    let place = root.join(file.strip_prefix("/").unwrap_or(file));
    let folder = place.parent().unwrap_or(root);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::copy(file, &place).with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(())
}

/// The shared libraries of a program, its dynamic loader among them, as ldd(1) names them.
fn libraries(program: &Path) -> anyhow::Result<Vec<PathBuf>> {
    Ok(paths(&exec::capture(Command::new("ldd").arg(program))?))
}

/// `name => /path (address)`, or `/path (address)` for the loader.
fn paths(listed: &str) -> Vec<PathBuf> {
    let words = listed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    words.map(PathBuf::from).collect()
}

/// As the kernel unpacks it (Documentation/driver-api/early-userspace/buffer-format.rst), by busybox: plain, since a compressed one
/// takes the emulated machine longer.
fn write_archive(root: &Path, archive: &Path) -> anyhow::Result<()> {
    let names = exec::capture(Command::new("find").arg(".").current_dir(root))?;
    let file = fs::File::create(archive).with_context(|| format!("cannot write {}", archive.display()))?;
    let mut command = Command::new(BUSYBOX);
    command.args(["cpio", "-o", "-H", "newc"]).current_dir(root).stdin(Stdio::piped()).stdout(file);
    let mut child = command.stderr(Stdio::null()).spawn().with_context(|| format!("cannot run {command:?}"))?;
    let written = child.stdin.take().map(|mut stdin| writeln!(stdin, "{names}"));
    let status = child.wait().with_context(|| format!("cannot wait for {command:?}"))?;
    written.transpose().context("cpio reads no names")?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_those_with_a_path() {
        let listed =
            "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n\t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        assert_eq!(paths(listed), [PathBuf::from("/lib/libc.so.6"), PathBuf::from("/lib64/ld-linux-x86-64.so.2")]);
    }
}
