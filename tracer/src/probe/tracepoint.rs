//! Kernel tracepoints, attached by perf event.
//!
//! aya finds a tracepoint's id only where tracefs is mounted. Minimal systems and containers do not mount it, and tracer does
//! not change what is mounted: it opens an instance of tracefs that no path leads to.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use super::perf_event::{Kind, PerfEvent};

/// The tracefs of this kernel, through a mount that only this descriptor holds (`fsopen(2)`, Linux 5.2).
#[derive(Debug)]
pub struct Tracefs(OwnedFd);

impl Tracefs {
    /// Opens it.
    ///
    /// # Errors
    /// What the kernel says; EPERM without CAP_SYS_ADMIN.
    pub fn open() -> io::Result<Self> {
        // SAFETY: a valid name.
        let context = unsafe { libc::syscall(libc::SYS_fsopen, c"tracefs".as_ptr(), libc::FSOPEN_CLOEXEC) };
        let context = owned(context)?;
        // SAFETY: a valid descriptor, no arguments for this command.
        let created = unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                context.as_raw_fd(),
                libc::FSCONFIG_CMD_CREATE,
                std::ptr::null::<u8>(),
                std::ptr::null::<u8>(),
                0,
            )
        };
        if created < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a valid descriptor.
        let mount = unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), libc::FSMOUNT_CLOEXEC, 0) };
        Ok(Self(owned(mount)?))
    }

    /// The id of a tracepoint.
    ///
    /// # Errors
    /// `NotFound` where the kernel does not have it.
    pub fn id(&self, category: &str, name: &str) -> io::Result<u64> {
        let path = std::ffi::CString::new(format!("events/{category}/{name}/id"))?;
        // SAFETY: a valid directory descriptor and path.
        let fd = unsafe { libc::openat(self.0.as_raw_fd(), path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        let mut text = String::new();
        File::from(owned(fd.into())?).take(32).read_to_string(&mut text)?;
        text.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("tracepoint id {text:?}")))
    }

    /// Attaches a loaded tracepoint program, for all processes.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn attach(&self, program: BorrowedFd<'_>, category: &str, name: &str) -> io::Result<PerfEvent> {
        PerfEvent::attach(program, Kind::Tracepoint(self.id(category, name)?), 0)
    }
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system call returned a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}
