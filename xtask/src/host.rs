//! The machine: numbers of one say little of another.

use std::{fs, time::SystemTime};

/// Kernel, processor, how busy it is, and the day, in one sentence.
pub fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.split(':').next().map(str::trim) == Some(name));
        line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    // The bit that hypervisors set (CPUID 1, ECX 31).
    let is_virtual = field("flags").split(' ').any(|flag| flag == "hypervisor");
    let date: String = humantime::format_rfc3339_seconds(SystemTime::now()).to_string().chars().take(10).collect();
    format!(
        "Measured on {date}: Linux {}, {} CPUs ({}), {}; load average at the start {}.",
        // Without what the builder of the kernel put behind the version.
        read("/proc/sys/kernel/osrelease").trim().split('-').next().unwrap_or("unknown"),
        std::thread::available_parallelism().map_or(0, usize::from),
        field("model name"),
        if is_virtual { "a virtual machine" } else { "no virtual machine" },
        read("/proc/loadavg").split(' ').next().unwrap_or("unknown"),
    )
}
