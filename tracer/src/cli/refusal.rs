//! What to say when the kernel refuses to load or attach: one line, with the cause that the doctor finds.

use anyhow::anyhow;

use super::failure::one_line;
use crate::{
    doctor::{
        KernelFacts,
        kernel::{BTF, CPU_SAMPLING, Check, Need, State},
    },
    probe::{kernel_event::KernelEvent, uprobes::AttachError},
    record::error::SessionError,
};

/// Looks for the cause of a failure, where it may be the kernel's. `event`: what samples were to be taken at.
pub fn explain(error: SessionError, event: Option<KernelEvent>) -> anyhow::Error {
    if is_of_kernel(&error) { explained(error, &KernelFacts::collect(&[]), event) } else { error.into() }
}

/// Whether what the doctor tries may have failed here too.
fn is_of_kernel(error: &SessionError) -> bool {
    match error {
        SessionError::Load(_) | SessionError::Map(_) => true,
        SessionError::Attach(error) => !matches!(error, AttachError::NoProgram | AttachError::TooMany),
        _ => false,
    }
}

/// The first thing that is needed and missing, in place of the error that it led to.
fn explained(error: SessionError, kernel: &KernelFacts, event: Option<KernelEvent>) -> anyhow::Error {
    let is_needed = |check: &&Check| check.need == Need::Required || of_event(event).contains(&check.id);
    let missing = kernel.checks.iter().filter(is_needed).find_map(|check| match &check.state {
        State::Missing(reason) => Some((check, reason)),
        State::Works | State::Unknown(_) => None,
    });
    match missing {
        Some((Check { about, hint, .. }, reason)) => {
            anyhow!("it cannot be recorded here without {about}: {}; {hint}", one_line(reason))
        }
        None => error.into(),
    }
}

/// What recordings of allocations do without, and these need.
fn of_event(event: Option<KernelEvent>) -> &'static [&'static str] {
    match event {
        None => &[],
        Some(KernelEvent::Cpu { .. } | KernelEvent::PageFaults) => &[BTF, CPU_SAMPLING],
        Some(KernelEvent::Mmap | KernelEvent::Brk) => &[BTF],
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::probe::programs::LoadError;

    const CPU: Option<KernelEvent> = Some(KernelEvent::Cpu { period_ns: 1 });

    fn refused() -> SessionError {
        LoadError::Tracefs(io::Error::from_raw_os_error(libc::EINVAL)).into()
    }

    /// A kernel on which these fail for this reason.
    fn without(missing: &[&str], reason: &str) -> KernelFacts {
        let check = |id: &'static str, need| {
            let state = if missing.contains(&id) { State::Missing(reason.to_owned()) } else { State::Works };
            Check { id, about: id, need, state, hint: "do this" }
        };
        let checks = vec![
            check("lockdown", Need::Required),
            check("bpf", Need::Required),
            check("uprobe-multi", Need::Better),
            check(BTF, Need::Better),
            check(CPU_SAMPLING, Need::Better),
        ];
        KernelFacts { release: "6.1.0".to_owned(), checks }
    }

    #[test]
    fn the_first_that_is_needed_is_named() {
        let own = "cannot open tracefs (needs CAP_SYS_ADMIN and CONFIG_FTRACE): Invalid argument (os error 22)";
        let lacks = |what: &str| format!("it cannot be recorded here without {what}: no; do this");
        for (missing, event, said) in [
            (&[][..], None, own.to_owned()),
            (&["lockdown", "bpf"], None, lacks("lockdown")),
            (&["bpf", BTF], None, lacks("bpf")),
            (&["uprobe-multi", BTF, CPU_SAMPLING], None, own.to_owned()),
            (&[CPU_SAMPLING], CPU, lacks(CPU_SAMPLING)),
            (&[BTF, CPU_SAMPLING], CPU, lacks(BTF)),
            (&[CPU_SAMPLING], Some(KernelEvent::Mmap), own.to_owned()),
            (&[BTF], Some(KernelEvent::Mmap), lacks(BTF)),
        ] {
            let error = explained(refused(), &without(missing, "no"), event);
            assert_eq!(error.to_string(), said, "{missing:?} {event:?}");
        }
    }

    #[test]
    fn a_log_of_the_verifier_becomes_one_line() {
        let log = (0..50).map(|line| format!("{line}: r0 = 1\n")).collect::<String>() + "invalid mem access\n";
        let error = explained(refused(), &without(&["bpf"], &log), None).to_string();
        assert!(error.starts_with("it cannot be recorded here without bpf: 0: r0 = 1; ") && !error.contains('\n'));
        assert!(error.ends_with("invalid mem access; do this") && error.len() < 200, "{error}");
    }

    #[test]
    fn what_the_kernel_has_no_part_in_is_left_alone() {
        assert!(is_of_kernel(&refused()));
        assert!(!is_of_kernel(&AttachError::TooMany.into()));
        assert!(!is_of_kernel(&SessionError::EndedEarly("ls".to_owned())));
    }
}
