//! What a recording may use of memory, the kernel's and its own.

use super::{number, record::size};

/// Bounds of stacks and of memory.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Limits {
    /// Frames of a stack at most, beside those of the kernel; the summary says when stacks were deeper
    #[arg(long, value_name = "FRAMES", default_value_t = 128, value_parser = number::within(1..=1024))]
    pub max_depth: u32,
    /// Samples kept at most, at 64 bytes each and their distinct stacks; when there are more, they are thinned out, as if the
    /// interval had been larger. With --live, blocks in use do not count: --live-blocks bounds them
    #[arg(long, value_name = "SAMPLES", default_value_t = 1 << 21, value_parser = number::within(1024..=1 << 26))]
    pub max_samples: u32,
    /// Kernel memory for unwind tables at most; the summary says when it was too little
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = table_bytes)]
    pub unwind_memory: u64,
    /// Size of the buffer between kernel and tracer, a power of two; a larger one helps when samples are lost
    #[arg(long, value_name = "SIZE", default_value = "4MiB", value_parser = ring_bytes)]
    pub ring_buffer: u32,
}

/// Understands the memory for unwind tables.
fn table_bytes(text: &str) -> Result<u64, String> {
    match size(text) {
        Some(bytes @ 0x10_0000..=0x1000_0000) => Ok(bytes),
        _ => Err("a size from 1MiB to 256MiB".to_owned()),
    }
}

/// Understands the size of the buffer.
fn ring_bytes(text: &str) -> Result<u32, String> {
    match size(text) {
        Some(bytes @ 4096..=0x4000_0000) if bytes.is_power_of_two() => Ok(bytes as u32),
        _ => Err("a power of two from 4KiB to 1GiB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_say_what_would_be_right() {
        assert_eq!(ring_bytes("64KiB"), Ok(65536));
        assert!(ring_bytes("65KiB").unwrap_err().contains("power of two"));
        assert!(table_bytes("1KiB").unwrap_err().contains("1MiB"));
    }
}
