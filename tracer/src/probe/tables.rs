//! Unwind tables and process mappings on their way into the kernel.
