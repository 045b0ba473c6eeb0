//! The code that the kernel maps into every process: an ELF file that is in no file system.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Largest image read; it has two to four pages.
const MAX_IMAGE: u64 = 1 << 20;

/// The image of the vdso, from tracer's own memory. It is the same in every 64-bit process of one boot, and unlike the
/// target's copy it cannot have been written to by the target. `None` where there is none (kernel option `vdso=0`).
pub fn image() -> Option<Vec<u8>> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with(" [vdso]"))?;
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    let size = end.checked_sub(start).filter(|&size| size <= MAX_IMAGE)?;
    let mut image = vec![0; usize::try_from(size).ok()?];
    File::open("/proc/self/mem").ok()?.read_exact_at(&mut image, start).ok()?;
    Some(image)
}
