//! Programs into the kernel, with the attach type that aya cannot give them.

use std::os::fd::{AsRawFd as _, OwnedFd};

use aya_obj::generated::{bpf_cmd, bpf_prog_type::BPF_PROG_TYPE_KPROBE};

use super::{LinkKind, MultiError};
use crate::probe::bpf::{bpf, zeroed_attribute};

/// Bytes that the verifier may say.
const LOG_BYTES: usize = 1 << 20;

pub fn load_program(
    name: &str,
    kind: LinkKind,
    function: &aya_obj::Function,
    license: &std::ffi::CStr,
    btf: &OwnedFd,
) -> Result<OwnedFd, MultiError> {
    let functions = function.func_info.func_info_bytes();
    let lines = function.line_info.line_info_bytes();
    let mut log = Vec::new();
    // Without a log first: writing it makes loading many times slower.
    loop {
        let mut attribute = zeroed_attribute();
        // SAFETY: every field of the union is plain data.
        let load = unsafe { &mut attribute.__bindgen_anon_3 };
        load.prog_type = BPF_PROG_TYPE_KPROBE as u32;
        load.expected_attach_type = kind.attach_type();
        load.insns = function.instructions.as_ptr() as u64;
        load.insn_cnt = function.instructions.len() as u32;
        load.license = license.as_ptr() as u64;
        load.prog_btf_fd = btf.as_raw_fd() as u32;
        load.func_info = functions.as_ptr() as u64;
        load.func_info_cnt = function.func_info.len() as u32;
        load.func_info_rec_size = function.func_info_rec_size as u32;
        load.line_info = lines.as_ptr() as u64;
        load.line_info_cnt = function.line_info.len() as u32;
        load.line_info_rec_size = function.line_info_rec_size as u32;
        for (to, from) in load.prog_name.iter_mut().zip(name.bytes().take(15)) {
            *to = from as std::ffi::c_char;
        }
        if !log.is_empty() {
            load.log_level = 1;
            load.log_buf = log.as_mut_ptr() as u64;
            load.log_size = log.len() as u32;
        }
        match bpf(bpf_cmd::BPF_PROG_LOAD, &mut attribute) {
            Ok(fd) => return Ok(fd),
            Err(_) if log.is_empty() => log = vec![0u8; LOG_BYTES],
            Err(source) => {
                let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
                let log = last_lines(&String::from_utf8_lossy(&log[..end]));
                return Err(MultiError::Kernel { call: "BPF_PROG_LOAD", source, log });
            }
        }
    }
}

/// The end of a log, where the reason stands, on one line.
fn last_lines(log: &str) -> String {
    const LINES: usize = 4;
    let mut lines: Vec<&str> = log.lines().rev().filter(|line| !line.trim().is_empty()).take(LINES).collect();
    lines.reverse();
    lines.join("; ")
}

pub fn load_btf(bytes: &[u8]) -> Result<OwnedFd, MultiError> {
    let mut attribute = zeroed_attribute();
    // SAFETY: every field of the union is plain data.
    let load = unsafe { &mut attribute.__bindgen_anon_7 };
    load.btf = bytes.as_ptr() as u64;
    load.btf_size = bytes.len() as u32;
    bpf(bpf_cmd::BPF_BTF_LOAD, &mut attribute).map_err(|source| MultiError::Kernel {
        call: "BPF_BTF_LOAD",
        source,
        log: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_log_the_end_is_kept() {
        assert_eq!(last_lines(""), "");
        assert_eq!(last_lines("only\n"), "only");
        assert_eq!(last_lines("1\n2\n3\n\n4\n5\n"), "2; 3; 4; 5");
    }
}
