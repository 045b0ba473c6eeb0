//! What tracer may do, and what to type where it may not.

use std::io;

use anyhow::{anyhow, bail};

use super::failure;
use crate::probe::features;

/// `CAP_SYS_PTRACE` and `CAP_SYS_ADMIN`, include/uapi/linux/capability.h.
const NEEDED: [(u32, &str); 2] = [(19, "CAP_SYS_PTRACE"), (21, "CAP_SYS_ADMIN")];

/// Fails where tracer lacks the capabilities to attach; `arguments` are shown in the command to type.
pub fn check(arguments: &str) -> anyhow::Result<()> {
    let missing = missing_here();
    if !missing.is_empty() {
        bail!(
            "tracing another process needs {} (uprobes, BPF, the target's memory map): run `sudo tracer {arguments}`",
            missing.join(" and ")
        );
    }
    Ok(())
}

/// The needed capabilities that tracer does not have.
pub fn missing_here() -> Vec<&'static str> {
    missing(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())
}

/// The needed capabilities that a `/proc/PID/status` does not show as effective.
fn missing(status: &str) -> Vec<&'static str> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    NEEDED.iter().filter(|(bit, _)| effective >> bit & 1 == 0).map(|(_, name)| *name).collect()
}

/// Adds what is known of this kernel to a failure to load or attach.
pub fn explain(error: anyhow::Error) -> anyhow::Error {
    let refused = error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.raw_os_error() == Some(libc::EPERM))
            || cause.to_string().contains("os error 1)")
    });
    if refused {
        let lockdown = std::fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
        return anyhow!("{}\nhint: {}", failure::describe(&error), hint(&lockdown));
    }
    match features::bpf_loop() {
        Err(too_old) => too_old.context("this kernel cannot walk stacks (bpf_loop)"),
        Ok(_) => error,
    }
}

/// Why a kernel that refused may have done so.
fn hint(lockdown: &str) -> &'static str {
    if lockdown.contains("[confidentiality]") {
        "the kernel is locked down for confidentiality, which closes tracefs and BPF: boot with lockdown=integrity or without \
         Secure Boot"
    } else {
        "the kernel refused although the capabilities are there: in a container, run it with --privileged and --pid=host"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(missing("Name:\tx\nCapEff:\t000001ffffffffff\n"), Vec::<&str>::new());
        assert_eq!(missing("CapEff:\t0000000000000000\n"), ["CAP_SYS_PTRACE", "CAP_SYS_ADMIN"]);
        assert_eq!(missing("CapEff:\t0000000000080000\n"), ["CAP_SYS_ADMIN"]);
        assert_eq!(missing("nonsense").len(), 2);
    }

    #[test]
    fn hints_name_the_cause() {
        assert!(hint("none integrity [confidentiality]").contains("locked down"));
        assert!(hint("[none] integrity confidentiality").contains("container"));
    }
}
