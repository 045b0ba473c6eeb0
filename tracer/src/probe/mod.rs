//! The kernel side: load the BPF object, attach it, feed it tables, and take it away again by dropping it.

pub mod attacher;
mod bpf;
pub mod calibration;
pub mod counters;
pub mod features;
pub mod kernel_event;
pub mod kernel_types;
pub mod live;
pub mod live_map;
pub mod meter;
pub mod multi;
pub mod own;
pub mod perf_event;
pub mod programs;
pub mod return_probes;
pub mod settings;
pub mod tables;
pub mod task_clock;
pub mod tracepoint;
pub mod uprobes;
pub mod value;

/// The BPF object that `cargo xtask build-ebpf` made of `tracer-ebpf`.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/tracer.bpf.o");
