//! Facts about the kernel and about what tracer may do in it, found out by trying.

use std::{fs, os::unix::fs::MetadataExt as _};

use serde::Serialize;

use crate::probe::{
    features::{self, Tried},
    multi::LinkKind,
};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelFacts {
    /// Its release, for people: nothing is concluded from it.
    pub release: String,
    /// What was tried, in the order in which tracer needs it.
    pub checks: Vec<Check>,
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name, which stays.
    pub id: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// What it is needed for.
    pub need: Need,
    /// How it went.
    #[serde(flatten)]
    pub state: State,
    /// What the user can do; empty where it works or nothing is known.
    pub hint: &'static str,
}

/// What something is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// Nothing works without it.
    Required,
    /// tracer works without it, but not as well.
    Better,
    /// tracer does not use it.
    Unused,
}

/// How trying went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "reason", rename_all = "kebab-case")]
pub enum State {
    /// It works.
    Works,
    /// It does not, for this reason.
    Missing(String),
    /// It could not be tried, for this reason.
    Unknown(String),
}

/// A feature to try: identifier, description, need, hint, and how.
type Feature = (&'static str, &'static str, Need, &'static str, fn() -> Tried);

/// The check that fails on kernels that are too old.
pub const BPF_LOOP: &str = "bpf-loop";
/// What is needed where samples are taken at an event of the kernel.
pub const BTF: &str = "btf";
/// What is needed for ticks and page faults.
pub const CPU_SAMPLING: &str = "cpu-sampling";

const FEATURES: [Feature; 11] = [
    ("bpf", "BPF programs", Need::Required, "in a container, run it with --privileged", features::bpf_program),
    ("ring-buffer", "BPF ring buffer", Need::Required, "Linux 5.8 has it", features::ring_buffer),
    (BPF_LOOP, "bpf_loop, to walk stacks with", Need::Required, "update the kernel", features::bpf_loop),
    (
        "tracepoints",
        "tracepoints, to follow mappings and processes",
        Need::Required,
        "the kernel needs CONFIG_FTRACE_SYSCALLS",
        features::tracepoints,
    ),
    ("programs", "tracer's own BPF programs", Need::Required, "please report it", features::own_programs),
    (
        "uprobe-perf-event",
        "uprobes by perf event",
        Need::Required,
        "the kernel needs CONFIG_UPROBE_EVENTS",
        features::perf_event_uprobe,
    ),
    (
        "uprobe-multi",
        "uprobe multi links: all probes attach and detach at once",
        Need::Better,
        "without them there are no windows and no --live, and a thread of the target stalls for milliseconds when tracer \
         detaches",
        || features::multi_link(LinkKind::Entry),
    ),
    (
        BTF,
        "kernel type information, for `--event brk` and to see through return probes",
        Need::Better,
        "the kernel needs CONFIG_DEBUG_INFO_BTF; built without, it has no `tracer cpu` and no `--event` either, and stacks end \
         where another tool has put a return probe",
        features::type_information,
    ),
    (
        CPU_SAMPLING,
        "samples at ticks of the CPU clock and at page faults: `tracer cpu`, `--event page-faults`",
        Need::Better,
        "Linux 6.1 has them; allocations are recorded without",
        features::perf_event_programs,
    ),
    (
        "uprobe-session",
        "uprobe session links, to follow blocks (--live) without a trap at every return",
        Need::Better,
        "without them --live, where it works, traps every return",
        || features::multi_link(LinkKind::Session),
    ),
    (
        "return-probes",
        "return probes that pass seccomp filters, to follow blocks (--live)",
        Need::Better,
        "--live is refused; Linux 6.6 has them, 6.11 to 6.13 without their late releases do not",
        features::harmless_return_probes,
    ),
];

/// Inode of the initial pid namespace (`PROC_PID_INIT_INO`, include/linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;

impl KernelFacts {
    /// Tries everything. `missing` are the capabilities that tracer needs and does not have: what fails then is not known to
    /// be missing.
    pub fn collect(missing: &[&str]) -> Self {
        let mut checks = vec![capabilities(missing), lockdown(), pid_namespace()];
        checks.extend(FEATURES.map(|(id, about, need, hint, attempt)| {
            let state = judge(attempt(), missing.is_empty());
            Check { id, about, need, state, hint }
        }));
        for check in checks.iter_mut().filter(|check| check.state == State::Works) {
            check.hint = "";
        }
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
        Self { release, checks }
    }
}

fn judge(tried: Tried, privileged: bool) -> State {
    match tried {
        Ok(()) => State::Works,
        Err(error) if privileged => State::Missing(error.to_string()),
        Err(error) => State::Unknown(format!("without root: {error}")),
    }
}

fn capabilities(missing: &[&str]) -> Check {
    let state = match missing {
        [] => State::Works,
        names => State::Missing(format!("without {}", names.join(" and "))),
    };
    Check {
        id: "capabilities",
        about: "CAP_SYS_ADMIN and CAP_SYS_PTRACE",
        need: Need::Required,
        state,
        hint: "run it with sudo",
    }
}

/// lockdown=confidentiality closes BPF reads and tracefs (kernel_lockdown(7)).
fn lockdown() -> Check {
    let state = match fs::read_to_string("/sys/kernel/security/lockdown") {
        Ok(text) if text.contains("[confidentiality]") => {
            State::Missing("it is locked down for confidentiality".to_owned())
        }
        Ok(_) => State::Works,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::Works,
        Err(error) => State::Unknown(error.to_string()),
    };
    Check {
        id: "lockdown",
        about: "a kernel that is not locked down",
        need: Need::Required,
        state,
        hint: "boot with lockdown=integrity, or without Secure Boot",
    }
}

/// BPF reports process ids as the initial namespace has them.
fn pid_namespace() -> Check {
    let state = match fs::metadata("/proc/self/ns/pid") {
        Ok(namespace) if namespace.ino() == INITIAL_PID_NAMESPACE => State::Works,
        Ok(_) => State::Missing("tracer sees other process ids than the kernel".to_owned()),
        Err(error) => State::Unknown(error.to_string()),
    };
    Check {
        id: "pid-namespace",
        about: "the initial pid namespace",
        need: Need::Required,
        state,
        hint: "run the container with --pid=host",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_root_a_failure_proves_nothing() {
        let refused = || Err(anyhow::anyhow!("Operation not permitted"));
        assert_eq!(judge(refused(), true), State::Missing("Operation not permitted".to_owned()));
        assert!(matches!(judge(refused(), false), State::Unknown(reason) if reason.contains("without root")));
        assert_eq!(judge(Ok(()), false), State::Works);
    }

    #[test]
    fn identifiers_are_unique() {
        let mut ids: Vec<_> = KernelFacts::collect(&[]).checks.iter().map(|check| check.id).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }
}
