//! Probes of one module that may come and go: what it takes to put them in again.

use std::{
    fs::File,
    num::NonZeroU32,
    os::{fd::AsRawFd as _, unix::fs::FileExt as _},
    path::Path,
    sync::Arc,
};

use super::attached::Scope;
use crate::{
    probe::{
        multi::{MultiProgram, Point},
        uprobes::Probes,
    },
    target::Procfs,
};

/// See the module.
#[derive(Debug)]
pub struct Link {
    /// The process, or all.
    pub scope: Scope,
    /// While they are in.
    pub probes: Option<Probes>,
    /// What it takes to put them in again: the module's file, open, and where in it they go.
    again: Option<(Arc<File>, Vec<Point>)>,
    breakpoint: Option<Breakpoint>,
}

/// Where to see whether one of them is in.
#[derive(Debug)]
pub struct Breakpoint {
    memory: File,
    address: u64,
}

/// `int3`.
const BREAKPOINT: u8 = 0xcc;

impl Link {
    /// Probes that are in. `file` is another descriptor of the file they were put into.
    pub fn new(
        scope: Scope,
        probes: Probes,
        file: Arc<File>,
        points: Vec<Point>,
        breakpoint: Option<Breakpoint>,
    ) -> Self {
        Self { scope, probes: Some(probes), again: Some((file, points)), breakpoint }
    }

    /// Probes that are in, and do not come back when they have gone.
    pub fn lasting(scope: Scope, probes: Probes) -> Self {
        Self { scope, probes: Some(probes), again: None, breakpoint: None }
    }

    /// Puts them in, unless they are.
    pub fn attach(&mut self, program: &MultiProgram) {
        if let (None, Some((file, points))) = (&self.probes, &self.again) {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            // It fails for a process that has ended: there is nothing to see any more.
            let link = program.attach(Path::new(&path), points, self.scope.map(NonZeroU32::get));
            self.probes = link.ok().map(Probes::Multi);
        }
    }

    /// Whether the breakpoint that is looked at is in; `None` where that cannot be seen.
    pub fn is_in(&self) -> Option<bool> {
        self.breakpoint.as_ref().map(Breakpoint::is_in)
    }
}

impl Breakpoint {
    /// The one at `address` in a process.
    pub fn open(process: u32, address: u64) -> Option<Self> {
        File::open(Procfs::of(process).path("mem")).ok().map(|memory| Self { memory, address })
    }

    /// Memory that is gone holds none.
    fn is_in(&self) -> bool {
        let mut byte = [0];
        self.memory.read_exact_at(&mut byte, self.address).is_ok() && byte == [BREAKPOINT]
    }
}
