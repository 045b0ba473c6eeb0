//! Places in tracer's own executable to put breakpoints on: to find out what works, and what it costs.

use std::io;

use crate::target::mappings::Mappings;

/// The executable, for the kernel to open.
pub const EXECUTABLE: &str = "/proc/self/exe";

/// Somewhere to put a breakpoint. Nothing calls it.
#[inline(never)]
pub extern "C" fn never_called() {
    std::hint::black_box(());
}

/// The file offset of the function at an address in tracer's executable.
///
/// # Errors
/// When tracer's own mappings cannot be read, or the function is in none of them.
pub fn file_offset(function: usize) -> io::Result<u64> {
    let address = function as u64;
    let mappings = Mappings::read(std::process::id())?;
    let own = mappings.executable.iter().find(|mapping| (mapping.start..mapping.end).contains(&address));
    own.map(|mapping| address - mapping.start + mapping.file_offset).ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_for_a_breakpoint_is_in_the_executable() {
        let offset = file_offset(never_called as extern "C" fn() as usize).unwrap();
        assert!(offset < std::fs::metadata(EXECUTABLE).unwrap().len());
    }
}
