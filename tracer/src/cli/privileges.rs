//! What tracer may do, and what to type where it may not.

use std::{ffi::OsString, os::unix::ffi::OsStrExt as _};

use anyhow::bail;

/// `CAP_SYS_PTRACE` and `CAP_SYS_ADMIN`, include/uapi/linux/capability.h.
const NEEDED: [(u32, &str); 2] = [(19, "CAP_SYS_PTRACE"), (21, "CAP_SYS_ADMIN")];

/// Fails where tracer lacks the capabilities to attach; shows `typed`, the command line, as it is to be typed instead.
pub fn check(typed: impl IntoIterator<Item = OsString>) -> anyhow::Result<()> {
    let missing = missing_here();
    if !missing.is_empty() {
        bail!(
            "tracing another process needs {} (uprobes, BPF, the target's memory map): run `{}`",
            missing.join(" and "),
            with_sudo(typed)
        );
    }
    Ok(())
}

/// A command line with sudo, quoted for a shell.
fn with_sudo(typed: impl IntoIterator<Item = OsString>) -> String {
    // Arguments hold no zero bytes, which alone cannot be quoted.
    let quoted = |word: OsString| {
        shlex::bytes::try_quote(word.as_bytes()).map(|word| String::from_utf8_lossy(&word).into_owned())
    };
    let words = typed.into_iter().flat_map(quoted);
    ["sudo".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
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

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(missing("Name:\tx\nCapEff:\t000001ffffffffff\n"), Vec::<&str>::new());
        assert_eq!(missing("CapEff:\t0000000000000000\n"), ["CAP_SYS_PTRACE", "CAP_SYS_ADMIN"]);
        assert_eq!(missing("CapEff:\t0000000000080000\n"), ["CAP_SYS_ADMIN"]);
        assert_eq!(missing("nonsense").len(), 2);
    }

    #[test]
    fn the_command_is_the_one_typed() {
        let again = |words: &[&str]| with_sudo(words.iter().map(OsString::from));
        assert_eq!(again(&["tracer", "cpu", "--pid", "7", "-o", "x.svg"]), "sudo tracer cpu --pid 7 -o x.svg");
        let words = ["./tracer", "--region", "a=^b c|d'", "-o", "$HOME/*", "--", "sh", "-c", "x;\ty", ""];
        let split = shlex::split(&again(&words)).unwrap();
        assert_eq!(split.split_first().unwrap(), (&"sudo".to_owned(), &words.map(str::to_owned)[..]));
        let strange = OsStr::from_bytes(b"\xff");
        assert_eq!(with_sudo([strange.to_owned()]), "sudo '\u{fffd}'");
    }
}
