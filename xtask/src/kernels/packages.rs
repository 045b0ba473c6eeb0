//! Kernels of Debian's releases: found and downloaded by apt, unpacked, never installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::{exec, workspace};

/// Depends on the newest kernel of a release; small, without drivers for hardware.
const META_PACKAGE: &str = "linux-image-cloud-amd64";
/// Of the package debian-archive-keyring, which every Debian has.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The kernel image of a release of Debian, by its name (`bookworm`). It is kept under the target directory; whoever wants a newer
/// one deletes it there.
///
/// # Errors
/// When this is no Debian, or the release has gone from the mirror that apt is set up with.
pub fn image(release: &str) -> anyhow::Result<PathBuf> {
    let folder = workspace::target_dir()?.join("kernels").join(release);
    let unpacked = folder.join("unpacked");
    if let Some(image) = find(&unpacked)? {
        return Ok(image);
    }
    let apt = Apt::new(release, folder)?;
    let package = apt.dependency(META_PACKAGE, "linux-image-")?.context("the release has no kernel")?;
    // Since Linux 7.0 the image lies in a package of its own.
    let package = apt.dependency(&package, "linux-binary-")?.unwrap_or(package);
    let file = apt.download(&package)?;
    exec::exec(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(&unpacked))?;
    fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    find(&unpacked)?.with_context(|| format!("{package} holds no kernel"))
}

/// The kernel in an unpacked package, if that is there: `boot/vmlinuz-RELEASE`, in newer ones `usr/lib/modules/RELEASE/vmlinuz`.
fn find(unpacked: &Path) -> anyhow::Result<Option<PathBuf>> {
    let mut folders = vec![unpacked.join("boot")];
    folders.extend(entries(&unpacked.join("usr/lib/modules"))?);
    for folder in folders {
        let is_image = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("vmlinuz"));
        if let Some(image) = entries(&folder)?.into_iter().find(is_image) {
            return Ok(Some(image));
        }
    }
    Ok(None)
}

/// What a folder holds; nothing where there is no folder.
fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    entries.with_context(|| format!("cannot read {}", folder.display()))
}

/// apt with the package list of one release, apart from that of the system.
struct Apt {
    folder: PathBuf,
    options: Vec<String>,
}

impl Apt {
    fn new(release: &str, folder: PathBuf) -> anyhow::Result<Self> {
        let lists = folder.join("lists");
        fs::create_dir_all(lists.join("partial")).with_context(|| format!("cannot make {}", lists.display()))?;
        let sources = folder.join("sources.list");
        fs::write(&sources, format!("deb [signed-by={KEYS}] {} {release} main\n", mirror()?))
            .with_context(|| format!("cannot write {}", sources.display()))?;
        let settings = [
            ("Dir::Etc::SourceList", sources.display().to_string()),
            ("Dir::Etc::SourceParts", "-".to_owned()),
            ("Dir::State::Lists", lists.display().to_string()),
            // What is installed here is of no interest there.
            ("Dir::State::Status", "/dev/null".to_owned()),
            ("Dir::Cache::PkgCache", String::new()),
            ("Dir::Cache::SrcPkgCache", String::new()),
            ("Acquire::Languages", "none".to_owned()),
            ("APT::Sandbox::User", "root".to_owned()),
        ];
        let options = settings.into_iter().flat_map(|(name, value)| ["-o".to_owned(), format!("{name}={value}")]);
        let apt = Self { folder, options: options.collect() };
        exec::exec(apt.command("apt-get").args(["--quiet", "update"]))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options).current_dir(&self.folder);
        command
    }

    /// The first package that `package` depends on whose name begins with `prefix`.
    fn dependency(&self, package: &str, prefix: &str) -> anyhow::Result<Option<String>> {
        let depends = exec::capture(self.command("apt-cache").args(["depends", "--important", package]))?;
        let names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(names.filter(|name| name.starts_with(prefix)).map(str::to_owned).next())
    }

    fn download(&self, package: &str) -> anyhow::Result<PathBuf> {
        exec::exec(self.command("apt-get").args(["--quiet", "download", package]))?;
        let is_it = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{package}_")))
        };
        entries(&self.folder)?
            .into_iter()
            .find(is_it)
            .with_context(|| format!("apt-get has not left {package} where it should"))
    }
}

/// The mirror of Debian that apt is set up with here.
fn mirror() -> anyhow::Result<String> {
    let targets = exec::capture(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Origin: Debian",
        "Label: Debian",
        "Created-By: Packages",
    ]))
    .context("kernels are had from Debian, by apt")?;
    match targets.lines().next() {
        Some(mirror) => Ok(mirror.to_owned()),
        None => bail!("apt knows no mirror of Debian; run apt-get update"),
    }
}
