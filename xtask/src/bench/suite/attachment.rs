//! Whether a tool has its breakpoints in a process: asked of the process's memory, which is the same for all tools.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use object::{Object as _, ObjectSegment as _, ObjectSymbol as _};

/// How long a tool may take to attach: memleak is compiled first.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a function that tools put their breakpoint into.
const LENGTH: usize = 64;
const POLL: Duration = Duration::from_millis(2);

/// The first bytes of malloc in a process.
pub struct Attachment {
    memory: File,
    address: u64,
    bare: Vec<u8>,
    library: PathBuf,
}

impl Attachment {
    /// Of a process that uses the malloc of `library`, and that nobody watches yet.
    ///
    /// # Errors
    /// When the process does not have the library, or the library no malloc.
    pub fn new(pid: u32, library: &Path) -> anyhow::Result<Self> {
        let library = fs::canonicalize(library).with_context(|| format!("no {}", library.display()))?;
        let offset = malloc_offset(&library)?;
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let address = maps.lines().find_map(|line| address_of(line, &library, offset));
        let address = address.with_context(|| format!("process {pid} has no {}", library.display()))?;
        let memory = File::open(format!("/proc/{pid}/mem"))?;
        let mut attachment = Self { memory, address, bare: Vec::new(), library };
        attachment.bare = attachment.read()?;
        Ok(attachment)
    }

    /// The library.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Waits until there are breakpoints, or none (any more). `check` is to fail when the tool has ended.
    ///
    /// # Errors
    /// What `check` says, or when it takes too long.
    pub fn wait(&self, attached: bool, mut check: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let start = Instant::now();
        while (self.read()? != self.bare) != attached {
            check()?;
            if start.elapsed() > PATIENCE {
                let what = if attached { "a tool to attach" } else { "the probes of the last tool to go" };
                bail!("waited {} s in vain for {what}", PATIENCE.as_secs());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn read(&self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; LENGTH];
        self.memory.read_exact_at(&mut bytes, self.address).context("cannot read the memory of the target")?;
        Ok(bytes)
    }
}

/// The C library.
pub fn c_library() -> PathBuf {
    "/lib/x86_64-linux-gnu/libc.so.6".into()
}

/// Where malloc is in the file.
fn malloc_offset(library: &Path) -> anyhow::Result<u64> {
    let bytes = fs::read(library)?;
    let file = object::File::parse(&*bytes)?;
    let malloc = file.dynamic_symbols().find(|symbol| symbol.is_definition() && symbol.name() == Ok("malloc"));
    let address = malloc.with_context(|| format!("no malloc in {}", library.display()))?.address();
    let segment =
        file.segments().find(|segment| (segment.address()..segment.address() + segment.size()).contains(&address));
    let segment = segment.context("malloc is in no segment")?;
    ensure!(address >= segment.address(), "malloc is before its segment");
    Ok(segment.file_range().0 + (address - segment.address()))
}

/// Where a file offset is in the process, by a line of /proc/PID/maps, if it is in that mapping.
fn address_of(line: &str, library: &Path, offset: u64) -> Option<u64> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    let mapped = u64::from_str_radix(fields.nth(1)?, 16).ok()?;
    let path = fields.nth(2)?;
    let within = offset.checked_sub(mapped)?;
    (Path::new(path) == library && within < end - start).then_some(start + within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malloc_is_where_this_process_has_it() {
        let attachment = Attachment::new(std::process::id(), &c_library()).unwrap();
        attachment.wait(false, || Ok(())).unwrap();
        let line = "7f0000001000-7f0000003000 r-xp 00028000 fe:00 1234 /usr/lib/libc.so.6";
        assert_eq!(address_of(line, Path::new("/usr/lib/libc.so.6"), 0x28010), Some(0x7f00_0000_1010));
        assert_eq!(address_of(line, Path::new("/usr/lib/libc.so.6"), 0x2a000), None);
        assert_eq!(address_of(line, Path::new("/usr/lib/libm.so.6"), 0x28010), None);
    }
}
