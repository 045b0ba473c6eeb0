//! Whether return probes may be put into a process.

use std::{fs, io};

/// Whether return probes cannot kill a process on this kernel.
///
/// From Linux 6.11 on, a function with a return probe returns through a system call of its own (`uretprobe`, number 335 on
/// x86_64), which the seccomp filters of containers and sandboxes do not know and answer with SIGSYS. Linux 6.14 exempts it
/// (commit cf6cb56ef244, "seccomp: passthrough uretprobe systemcall without filtering"). Stable kernels between had that
/// carried back at some point; which ones cannot be told from the outside, so all of them are refused.
///
/// `release` is what `uname -r` says, `seccomp` the field `Seccomp` of proc_pid_status(5): 0 means no filter. An unknown
/// release is taken for a safe one only where there is no filter.
pub fn return_probes_are_safe(release: &str, seccomp: u32) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let version = numbers.next().and_then(Result::ok).zip(numbers.next().and_then(Result::ok));
    seccomp == 0 || version.is_some_and(|version| !((6, 11)..(6, 14)).contains(&version))
}

/// The field `Seccomp` of a process.
///
/// # Errors
/// When the process has ended.
pub fn seccomp(pid: u32) -> io::Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    // A kernel without seccomp has no such field, and no filters either.
    let line = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    Ok(line.and_then(|number| number.trim().parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_kernels_kill_filtered_processes() {
        for release in ["6.11.0", "6.12.9-amd64", "6.13.0-rc1", "6.13"] {
            assert!(!return_probes_are_safe(release, 2), "{release}");
            assert!(return_probes_are_safe(release, 0), "{release}");
        }
        for release in ["5.17.1", "6.1.0-28-amd64", "6.10.14", "6.14.0", "7.0"] {
            assert!(return_probes_are_safe(release, 2), "{release}");
        }
        assert!(!return_probes_are_safe("unknown", 2));
        assert!(return_probes_are_safe("unknown", 0));
    }

    #[test]
    fn a_process_says_whether_it_is_filtered() {
        assert!(seccomp(std::process::id()).unwrap() <= 2);
    }
}
