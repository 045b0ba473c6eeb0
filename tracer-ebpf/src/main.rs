//! BPF programs: entry points only.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod allocation;
mod atomic;
mod bits;
mod calibration;
mod cpu;
mod events;
mod growth;
mod interrupted;
mod kernel_memory;
mod live;
mod maps;
mod private_stack;
mod processes;
mod sampling;
mod unwind;

use core::ffi::c_void;

/// An allocation function is entered, on every probe: counts exactly, samples now and then.
#[unsafe(no_mangle)]
#[unsafe(link_section = "uprobe")]
pub extern "C" fn allocation(context: *mut c_void) -> u32 {
    if let Some(entry) = allocation::Entry::of(context) {
        allocation::hit(&entry, entry.size());
    }
    0
}

/// The same, and follows sampled blocks: called at entry, and at the return where the entry asked for it with 0.
#[unsafe(no_mangle)]
#[unsafe(link_section = "uprobe")]
pub extern "C" fn allocation_session(context: *mut c_void) -> u32 {
    if live::is_return(context) {
        live::returned(context);
        return 0;
    }
    u32::from(!live::entered(context, false))
}

/// The same at entry, where another probe sees the end.
#[unsafe(no_mangle)]
#[unsafe(link_section = "uprobe")]
pub extern "C" fn allocation_entry(context: *mut c_void) -> u32 {
    live::entered(context, true);
    0
}

/// An allocation function has returned to its caller.
#[unsafe(no_mangle)]
#[unsafe(link_section = "uprobe")]
pub extern "C" fn allocation_return(context: *mut c_void) -> u32 {
    live::returned(context);
    0
}

/// A `ret` of an allocation function is about to be carried out.
#[unsafe(no_mangle)]
#[unsafe(link_section = "uprobe")]
pub extern "C" fn allocation_exit(context: *mut c_void) -> u32 {
    live::exits(context);
    0
}

/// A function that releases is entered.
#[unsafe(no_mangle)]
#[unsafe(link_section = "uprobe")]
pub extern "C" fn release(context: *mut c_void) -> u32 {
    live::released(context);
    0
}

/// Does nothing: what a hit costs that no program can save.
#[unsafe(no_mangle)]
#[unsafe(link_section = "uprobe")]
pub extern "C" fn empty(_context: *mut c_void) -> u32 {
    0
}

/// The dynamic loader of a program that tracer started has loaded libraries (`_dl_debug_state`, see `<link.h>`).
#[unsafe(no_mangle)]
#[unsafe(link_section = "uprobe")]
pub extern "C" fn libraries_loaded(_context: *mut c_void) -> u32 {
    private_stack::decline();
    processes::stop_launched();
    0
}

/// Walks the stack by tables and forgets it: for benchmarks.
#[unsafe(no_mangle)]
#[unsafe(link_section = "uprobe")]
pub extern "C" fn walk(context: *mut c_void) -> u32 {
    calibration::walk(context);
    0
}

/// Has the kernel walk the stack by frame pointers: for benchmarks.
#[unsafe(no_mangle)]
#[unsafe(link_section = "uprobe")]
pub extern "C" fn stackid(context: *mut c_void) -> u32 {
    calibration::stackid(context);
    0
}

/// `munmap(address, length)` begins: tables for what goes away must not be used again.
#[unsafe(no_mangle)]
#[unsafe(link_section = "tracepoint")]
pub extern "C" fn munmap_enter(context: *mut c_void) -> u32 {
    processes::munmap_enter(context);
    0
}

/// `mremap(address, old length, new length, flags, new address)` begins.
#[unsafe(no_mangle)]
#[unsafe(link_section = "tracepoint")]
pub extern "C" fn mremap_enter(context: *mut c_void) -> u32 {
    processes::mremap_enter(context);
    0
}

/// `mmap(address, length, protection, flags, …)` begins: it may replace what is mapped there.
#[unsafe(no_mangle)]
#[unsafe(link_section = "tracepoint")]
pub extern "C" fn mmap_enter(context: *mut c_void) -> u32 {
    processes::mmap_enter(context);
    0
}

/// `mprotect(address, length, protection)` begins, or `pkey_mprotect`, whose first arguments are the same.
#[unsafe(no_mangle)]
#[unsafe(link_section = "tracepoint")]
pub extern "C" fn mprotect_enter(context: *mut c_void) -> u32 {
    processes::mprotect_enter(context);
    0
}

/// `mmap`, `mprotect`, `pkey_mprotect`, `mremap` or `munmap` has returned: where it changed what is executable, user space must look.
#[unsafe(no_mangle)]
#[unsafe(link_section = "tracepoint")]
pub extern "C" fn mapping_exit(context: *mut c_void) -> u32 {
    processes::mapping_exit(context);
    0
}

/// A task was made (`task:task_newtask`, in the parent).
#[unsafe(no_mangle)]
#[unsafe(link_section = "tracepoint")]
pub extern "C" fn task_new(context: *mut c_void) -> u32 {
    processes::task_new(context);
    0
}

/// A process runs another program (`sched:sched_process_exec`).
#[unsafe(no_mangle)]
#[unsafe(link_section = "tracepoint")]
pub extern "C" fn task_exec(context: *mut c_void) -> u32 {
    processes::task_exec(context);
    0
}

/// A task ends (`sched:sched_process_exit`).
#[unsafe(no_mangle)]
#[unsafe(link_section = "tracepoint")]
pub extern "C" fn task_exit(context: *mut c_void) -> u32 {
    processes::task_exit(context);
    0
}

/// A CPU's clock ticks (software event `cpu-clock`).
#[unsafe(no_mangle)]
#[unsafe(link_section = "perf_event")]
pub extern "C" fn cpu_tick(context: *mut c_void) -> u32 {
    cpu::tick(context);
    0
}

/// A thread touches a page that is not there, or that it may not write to yet (software event `page-faults`).
#[unsafe(no_mangle)]
#[unsafe(link_section = "perf_event")]
pub extern "C" fn page_fault(context: *mut c_void) -> u32 {
    growth::page_fault(context);
    0
}

/// `mmap` has returned.
#[unsafe(no_mangle)]
#[unsafe(link_section = "tracepoint")]
pub extern "C" fn mmap_growth(context: *mut c_void) -> u32 {
    growth::mmap_exit(context);
    0
}

/// `mremap` has returned.
#[unsafe(no_mangle)]
#[unsafe(link_section = "tracepoint")]
pub extern "C" fn mremap_growth(context: *mut c_void) -> u32 {
    growth::mremap_exit(context);
    0
}

/// `brk(address)` begins.
#[unsafe(no_mangle)]
#[unsafe(link_section = "tracepoint")]
pub extern "C" fn brk_enter(_context: *mut c_void) -> u32 {
    growth::brk_enter();
    0
}

/// `brk` has returned.
#[unsafe(no_mangle)]
#[unsafe(link_section = "tracepoint")]
pub extern "C" fn brk_growth(context: *mut c_void) -> u32 {
    growth::brk_exit(context);
    0
}

/// The programs call GPL-only helpers (`bpf_probe_read_user`).
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// The verifier rejects what could panic: this is never reached.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
