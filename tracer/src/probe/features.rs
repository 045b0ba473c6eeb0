//! What this kernel can do, found out by trying: distributions carry features back, and configurations leave them out, so
//! that a version number says little. Everything tried is undone at once, and concerns tracer's own process only.

use std::{error::Error as _, io, num::NonZeroU32, os::fd::OwnedFd, path::Path};

use aya::{
    Ebpf, EbpfLoader,
    maps::MapData,
    programs::{
        ProgramError, UProbe,
        uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeScope},
    },
};
use aya_obj::generated::{bpf_cmd, bpf_map_type::BPF_MAP_TYPE_RINGBUF, bpf_prog_type::BPF_PROG_TYPE_KPROBE};
use tracer_ebpf::abi::settings::{ReturnProbeOffsets, Settings};

use super::{
    OBJECT,
    bpf::{bpf, zeroed_attribute},
    kernel_event::KernelEvent,
    kernel_types::KernelTypes,
    multi::{LinkKind, MultiProgram, Point, release},
    own::{EXECUTABLE, file_offset, never_called},
    programs::{Options, Programs, TRACEPOINTS, map_fd, may_be_missing},
    tracepoint::Tracefs,
};

/// How trying went; the error is for people.
pub type Tried = anyhow::Result<()>;

/// Bytes of the ring buffers that are made for a moment.
pub(super) const RING_BYTES: u32 = 4096;

/// A BPF program that does nothing.
pub fn bpf_program() -> Tried {
    match load(&[MOVE_0_TO_R0, EXIT], None) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            Err(anyhow::anyhow!("this kernel has no BPF (CONFIG_BPF_SYSCALL), or a filter for system calls hides it"))
        }
        result => Ok(result.map(drop)?),
    }
}

/// A ring buffer (Linux 5.8).
pub fn ring_buffer() -> Tried {
    let description = aya_obj::Map::new_from_params(BPF_MAP_TYPE_RINGBUF as u32, 0, 0, RING_BYTES, 0);
    MapData::create(description, "ring", None)?;
    Ok(())
}

/// Whether the verifier knows the helper `bpf_loop` (Linux 5.17). Its arguments are wrong here: what matters is what the
/// verifier complains about, as in libbpf's `libbpf_probe_bpf_helper`.
pub fn bpf_loop() -> Tried {
    let mut log = vec![0; 4096];
    let Err(error) = load(&[call(aya_obj::generated::bpf_func_id::BPF_FUNC_loop as u32), EXIT], Some(&mut log)) else {
        return Ok(());
    };
    let log = String::from_utf8_lossy(&log);
    let unknown = ["invalid func ", "unknown func ", "cannot use helper"].iter().any(|words| log.contains(words));
    let refused = error.raw_os_error() == Some(libc::EPERM);
    match (refused, unknown) {
        (true, _) => Err(error.into()),
        (_, true) => Err(anyhow::anyhow!("tracer needs Linux 5.17 or later; this is Linux {}", release())),
        _ => Ok(()),
    }
}

/// The kernel's type information, and in it what the walk needs to see through return probes.
pub fn type_information() -> Tried {
    let blob = std::fs::read("/sys/kernel/btf/vmlinux")?;
    let offsets: Option<ReturnProbeOffsets> = KernelTypes::parse(&blob).and_then(|types| types.return_probes());
    offsets.map(drop).ok_or_else(|| anyhow::anyhow!("it does not describe return probes"))
}

/// The kernel tracepoints that tracer follows processes by.
pub fn tracepoints() -> Tried {
    let tracefs = Tracefs::open().map_err(|error| anyhow::anyhow!("tracefs cannot be opened: {error}"))?;
    for (_, category, name) in TRACEPOINTS {
        match tracefs.id(category, name) {
            Err(error) if !may_be_missing(name, &error) => anyhow::bail!("{category}:{name}: {error}"),
            _ => {}
        }
    }
    Ok(())
}

/// A uprobe by perf event, on tracer itself.
pub fn perf_event_uprobe() -> Tried {
    let mut ebpf = object()?;
    let program = ebpf.program_mut("empty").ok_or_else(|| anyhow::anyhow!("the BPF object has no empty program"))?;
    let program: &mut UProbe = program.try_into()?;
    program.load()?;
    let place = UProbeAttachPoint {
        location: UProbeAttachLocation::AbsoluteOffset(file_offset(never_called as extern "C" fn() as usize)?),
        cookie: Some(0),
    };
    let own = NonZeroU32::new(std::process::id()).map_or(UProbeScope::AllProcesses, UProbeScope::OneProcess);
    // Of a file that cannot be read it gives the name alone.
    let why = |error: ProgramError| match error.source() {
        Some(cause) => anyhow::anyhow!("{error}: {cause}"),
        None => error.into(),
    };
    let link = program.attach(place, EXECUTABLE, own).map_err(why)?;
    program.detach(link)?;
    Ok(())
}

/// A multi link of a kind, on tracer itself.
pub fn multi_link(kind: LinkKind) -> Tried {
    let ebpf = object()?;
    let program = MultiProgram::load(OBJECT, "empty", kind, |name| ebpf.map(name).and_then(map_fd))?;
    let point = Point { file_offset: file_offset(never_called as extern "C" fn() as usize)?, cookie: 0 };
    program.attach(Path::new(EXECUTABLE), &[point], Some(std::process::id()))?;
    Ok(())
}

/// Samples at perf events: the programs load, and attach to the clock of every CPU and to its page faults.
pub fn perf_event_programs() -> Tried {
    let mut ebpf = object()?;
    KernelEvent::Cpu { period_ns: 1_000_000_000 }.attach(&mut ebpf)?;
    KernelEvent::PageFaults.attach(&mut ebpf)?;
    Ok(())
}

/// Return probes that no filter for system calls takes for an attack.
pub fn harmless_return_probes() -> Tried {
    match super::return_probes::pass_filters()? {
        true => Ok(()),
        false => Err(anyhow::anyhow!("a process that runs under seccomp is ended at its first return probe")),
    }
}

/// All of tracer's own programs: they load, and their tracepoints attach.
pub fn own_programs() -> Tried {
    let settings = Settings { interval: 1, max_frames: 1, wakeup_bytes: u64::from(RING_BYTES), ..Settings::default() };
    Programs::load(&Options { settings, ring_bytes: RING_BYTES, live: None })?;
    Ok(())
}

fn object() -> anyhow::Result<Ebpf> {
    Ok(EbpfLoader::new().map_max_entries("EVENTS", RING_BYTES).load(OBJECT)?)
}

/// `r0 = 0` (Documentation/bpf/standardization/instruction-set.rst).
const MOVE_0_TO_R0: u64 = 0xb7;
/// `exit`.
const EXIT: u64 = 0x95;

/// `call helper`.
const fn call(helper: u32) -> u64 {
    0x85 | (helper as u64) << 32
}

fn load(instructions: &[u64], log: Option<&mut [u8]>) -> io::Result<OwnedFd> {
    let mut attribute = zeroed_attribute();
    // SAFETY: every field of the union is plain data.
    let load = unsafe { &mut attribute.__bindgen_anon_3 };
    load.prog_type = BPF_PROG_TYPE_KPROBE as u32;
    load.insns = instructions.as_ptr() as u64;
    load.insn_cnt = instructions.len() as u32;
    load.license = c"GPL".as_ptr() as u64;
    if let Some(log) = log {
        load.log_level = 1;
        load.log_buf = log.as_mut_ptr() as u64;
        load.log_size = log.len() as u32;
    }
    bpf(bpf_cmd::BPF_PROG_LOAD, &mut attribute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifier_tells_unknown_helpers() {
        if bpf_program().is_err() {
            eprintln!("skipped: loading BPF programs needs root");
            return;
        }
        let mut log = vec![0; 4096];
        let error = load(&[call(100_000), EXIT], Some(&mut log)).unwrap_err();
        assert!(String::from_utf8_lossy(&log).contains("invalid func"), "{error}");
    }
}
