//! What the kernel says while a test runs.

use std::{fs::File, io::Read as _, os::unix::fs::OpenOptionsExt as _};

/// Reads on from where it was made.
pub struct KernelLog(File);

impl KernelLog {
    /// From now on.
    pub fn now() -> Self {
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg");
        let mut log = Self(file.expect("the kernel's log can be read"));
        log.new_lines();
        log
    }

    /// What was said since this was last asked.
    pub fn new_lines(&mut self) -> Vec<String> {
        let mut record = [0; 8192];
        let mut lines = Vec::new();
        loop {
            // One record at a time (Documentation/ABI/testing/dev-kmsg); EPIPE where some were overwritten.
            match self.0.read(&mut record) {
                Ok(length) => lines.push(String::from_utf8_lossy(&record[..length]).into_owned()),
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(_) => return lines,
            }
        }
    }
}
