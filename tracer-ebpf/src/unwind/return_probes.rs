//! Return addresses that the kernel has replaced.

use aya_ebpf::helpers::generated::bpf_get_current_task;

use crate::{kernel_memory::read_kernel, maps::SETTINGS};

/// What stood in a stack slot before a return probe replaced it; 0 when none did.
#[inline(always)]
pub fn replaced_return_address(slot: u64) -> u64 {
    /// Return probes that a thread can be inside of and still be resolved.
    const NESTED: usize = 16;
    let Some(settings) = SETTINGS.get(0) else { return 0 };
    let offsets = &settings.return_probes;
    if offsets.task_utask == 0 {
        return 0;
    }
    // SAFETY: helper without arguments.
    let task = unsafe { bpf_get_current_task() };
    let utask = read_kernel(task + offsets.task_utask as u64);
    let mut instance = read_kernel(utask + offsets.utask_instances as u64);
    for _ in 0..NESTED {
        if instance == 0 {
            return 0;
        }
        if read_kernel(instance + offsets.instance_stack as u64) == slot {
            return read_kernel(instance + offsets.instance_original as u64);
        }
        instance = read_kernel(instance + offsets.instance_next as u64);
    }
    0
}
