//! Uprobe links for many functions at once (`BPF_TRACE_UPROBE_MULTI`, Linux 6.6), which aya 0.14 cannot load or attach.
//!
//! All functions of a module attach and detach in one system call, and the target does not stall while they go: closing a
//! perf-event uprobe stops a thread of the target for milliseconds, see ARCHITECTURE.md, "Cost".

mod load;

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    path::Path,
    sync::Arc,
};

use aya_obj::{
    Object,
    btf::BtfFeatures,
    generated::{bpf_attach_type::BPF_TRACE_UPROBE_MULTI, bpf_cmd},
};

use self::load::{load_btf, load_program};
use super::{
    attacher::{Attacher, Held, Wanted},
    bpf::{bpf, zeroed_attribute},
};

/// Why a program for multi links could not be had.
#[derive(Debug, thiserror::Error)]
pub enum MultiError {
    /// The object cannot be read: a bug in the build.
    #[error("the BPF object is unusable: {0}")]
    Object(String),
    /// The kernel refuses it.
    #[error("{call} failed: {source}{}", if log.is_empty() { String::new() } else { format!(" ({log})") })]
    Kernel {
        /// The `bpf(2)` command.
        call: &'static str,
        /// Its error.
        source: io::Error,
        /// The verifier's last lines: what it stumbled over.
        log: String,
    },
    /// The kernel has no such links.
    #[error("{} need Linux {} or later; this is Linux {release}", kind.name(), kind.since())]
    Missing {
        /// Which.
        kind: LinkKind,
        /// The kernel's release.
        release: String,
    },
    /// It has, but they take the process for one of its threads.
    #[error(
        "uprobe multi links of this kernel see one thread of a process only (Linux 6.6 to 6.9, but for their late releases); \
         this is Linux {0}"
    )]
    OneThread(String),
}

/// A loaded uprobe program that attaches by multi links.
#[derive(Debug)]
pub struct MultiProgram {
    fd: OwnedFd,
    kind: LinkKind,
    attacher: Option<Arc<Attacher>>,
}

/// Attached probes. Dropping them detaches: the breakpoints are gone soon after that begins, and it returns when no hit is
/// under way any more.
#[derive(Debug)]
pub enum MultiLink {
    /// Attached by this process.
    Own(OwnedFd),
    /// Attached on its behalf.
    Held(Held),
}

/// What a multi link calls its program for (`enum bpf_attach_type`, include/uapi/linux/bpf.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// Entries (Linux 6.6).
    Entry,
    /// Returns (Linux 6.6). At a probed instruction the return address must be on top of the stack: the kernel replaces what
    /// is there (`prepare_uretprobe` in kernel/events/uprobes.c).
    Return,
    /// Entries, and returns where the program asks for it at entry with 0 (Linux 6.13). As for [`LinkKind::Return`].
    Session,
}

impl LinkKind {
    /// `BPF_TRACE_UPROBE_SESSION`, which aya-obj does not know.
    const SESSION: u32 = 57;
    /// `BPF_F_UPROBE_MULTI_RETURN`, likewise.
    const RETURN_FLAG: u32 = 1;

    const fn name(self) -> &'static str {
        match self {
            Self::Entry | Self::Return => "uprobe multi links",
            Self::Session => "uprobe session links",
        }
    }

    const fn since(self) -> &'static str {
        match self {
            Self::Entry | Self::Return => "6.6",
            Self::Session => "6.13",
        }
    }

    const fn attach_type(self) -> u32 {
        match self {
            Self::Entry | Self::Return => BPF_TRACE_UPROBE_MULTI as u32,
            Self::Session => Self::SESSION,
        }
    }

    const fn flags(self) -> u32 {
        match self {
            Self::Return => Self::RETURN_FLAG,
            Self::Entry | Self::Session => 0,
        }
    }
}

/// One probe: where, and what the program is told when it is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Offset in the file of the instruction that carries the breakpoint.
    pub file_offset: u64,
    /// Attach cookie.
    pub cookie: u64,
}

impl MultiProgram {
    /// Loads the program `name` of `object` over existing maps.
    ///
    /// # Errors
    /// [`MultiError::Missing`] and [`MultiError::OneThread`] where the kernel has no links of this kind that can be used.
    pub fn load<'a>(
        object: &[u8],
        name: &str,
        kind: LinkKind,
        maps: impl Fn(&str) -> Option<BorrowedFd<'a>>,
    ) -> Result<Self, MultiError> {
        let broken = |error: &dyn std::fmt::Display| MultiError::Object(error.to_string());
        let mut object = Object::parse(object).map_err(|e| broken(&e))?;
        let features = BtfFeatures::new(true, true, true, true, true, true, true, true);
        let btf = object
            .fixup_and_sanitize_btf(&features)
            .map_err(|e| broken(&e))?
            .ok_or_else(|| broken(&"no BTF"))?
            .to_bytes();
        let btf = load_btf(&btf)?;
        let descriptions: Vec<_> = object.maps.iter().map(|(name, map)| (name.clone(), map.clone())).collect();
        let mut fds = Vec::with_capacity(descriptions.len());
        for (name, _) in &descriptions {
            fds.push(maps(name).ok_or_else(|| broken(&format!("no map {name}")))?.as_raw_fd());
        }
        let sections = object.functions.keys().map(|(section, _)| *section).collect();
        let maps = descriptions.iter().zip(fds).map(|((name, map), fd)| (name.as_str(), fd, map));
        object.relocate_maps(maps, &sections).map_err(|e| broken(&e))?;
        object.relocate_calls(&sections).map_err(|e| broken(&e))?;
        let program = object.programs.get(name).ok_or_else(|| broken(&format!("no program {name}")))?;
        let function =
            object.functions.get(&program.function_key()).ok_or_else(|| broken(&format!("no function {name}")))?;
        let fd = load_program(name, kind, function, &program.license, &btf)?;
        let program = Self { fd, kind, attacher: None };
        program.try_link()?;
        Ok(program)
    }

    /// Whether the kernel makes such links. That a program loads says nothing: kernels without them do not look at what it is
    /// to be attached as.
    ///
    /// As libbpf does (`probe_uprobe_multi_link` in tools/lib/bpf/features.c): a directory cannot be probed, and only a kernel
    /// that knows the kind gets as far as to say so (EBADF). Where a process is taken for a thread, a process number
    /// below zero is not refused before that (EINVAL).
    fn try_link(&self) -> Result<(), MultiError> {
        let refused = |pid| {
            let (kind, points) = ((self.kind.attach_type(), self.kind.flags()), [Point { file_offset: 0, cookie: 0 }]);
            create_link(self.fd(), Path::new("/"), kind, pid, &points).err()?.raw_os_error()
        };
        match refused(0) {
            Some(libc::EBADF) => {}
            Some(libc::EINVAL) => return Err(MultiError::Missing { kind: self.kind, release: release() }),
            other => return Err(refusal(io::Error::from_raw_os_error(other.unwrap_or(libc::ENOTSUP)))),
        }
        match refused(u32::MAX) {
            Some(libc::EINVAL) => Ok(()),
            _ => Err(MultiError::OneThread(release())),
        }
    }

    /// Attaches through another process, which detaches even if this one is killed; itself without one.
    #[must_use]
    pub fn through(self, attacher: Option<&Arc<Attacher>>) -> Self {
        Self { attacher: attacher.cloned(), ..self }
    }

    /// The program's descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Attaches to all `points` of the file at `path` (which the kernel resolves now and no more), for the threads of `pid`
    /// or, without one, for every process.
    ///
    /// # Errors
    /// What the kernel says: ENOENT for a missing file, ESRCH for a missing process, EINVAL without multi links. EPIPE or
    /// ECONNRESET when the process that it attaches through is gone.
    pub fn attach(&self, path: &Path, points: &[Point], pid: Option<u32>) -> Result<MultiLink, MultiError> {
        let (attach_type, flags, pid) = (self.kind.attach_type(), self.kind.flags(), pid.unwrap_or(0));
        match &self.attacher {
            Some(attacher) => {
                let wanted = Wanted { program: self.fd(), path, attach_type, flags, pid, points };
                attacher.attach(wanted).map(MultiLink::Held).map_err(refusal)
            }
            None => self.attach_here(path, points, pid),
        }
    }

    /// As [`Self::attach`], never through another process. `pid`: 0 for every one.
    ///
    /// # Errors
    /// Likewise.
    pub fn attach_here(&self, path: &Path, points: &[Point], pid: u32) -> Result<MultiLink, MultiError> {
        let kind = (self.kind.attach_type(), self.kind.flags());
        create_link(self.fd(), path, kind, pid, points).map(MultiLink::Own).map_err(refusal)
    }
}

/// Attaches a program to all `points` of the file at `path`, for a process or, with 0, for every one. Closing the descriptor
/// detaches.
pub(super) fn create_link(
    program: BorrowedFd<'_>,
    path: &Path,
    (attach_type, flags): (u32, u32),
    pid: u32,
    points: &[Point],
) -> io::Result<OwnedFd> {
    use std::os::unix::ffi::OsStrExt as _;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let offsets: Vec<u64> = points.iter().map(|point| point.file_offset).collect();
    let cookies: Vec<u64> = points.iter().map(|point| point.cookie).collect();
    let mut attribute = zeroed_attribute();
    // SAFETY: every field of the union is plain data.
    let link = unsafe { &mut attribute.link_create };
    link.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    link.attach_type = attach_type;
    // SAFETY: as above.
    let multi = unsafe { &mut link.__bindgen_anon_3.uprobe_multi };
    multi.path = path.as_ptr() as u64;
    multi.offsets = offsets.as_ptr() as u64;
    multi.cookies = cookies.as_ptr() as u64;
    multi.cnt = points.len() as u32;
    multi.flags = flags;
    multi.pid = pid;
    bpf(bpf_cmd::BPF_LINK_CREATE, &mut attribute)
}

/// The kernel's, as `uname -r` prints it: for people.
pub(super) fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

fn refusal(source: io::Error) -> MultiError {
    MultiError::Kernel { call: "BPF_LINK_CREATE", source, log: String::new() }
}
