//! The `bpf(2)` system call, for commands that aya has no function for.

use std::{
    io,
    os::fd::{FromRawFd as _, OwnedFd},
};

use aya_obj::generated::{bpf_attr, bpf_cmd};

/// An attribute to fill in.
pub(super) fn zeroed_attribute() -> bpf_attr {
    // SAFETY: a union of plain data; the kernel wants unused bytes to be zero.
    unsafe { std::mem::zeroed() }
}

/// A `bpf(2)` command that returns a descriptor.
pub(super) fn bpf(command: bpf_cmd, attribute: &mut bpf_attr) -> io::Result<OwnedFd> {
    let descriptor = bpf_command(command, attribute)?;
    // SAFETY: the command returned a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// A `bpf(2)` command; what it returns.
pub(super) fn bpf_command(command: bpf_cmd, attribute: &mut bpf_attr) -> io::Result<i32> {
    // SAFETY: the attribute lives through the call, and what it points to lives in the callers' frames.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_int, std::ptr::from_mut(attribute), size_of::<bpf_attr>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
