//! The kernel gives no program of a uprobe a stack of its own, which another thread's hit could write to.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_prog_info, bpf_prog_type};
use tracer::{probe::live::LiveOptions, record::request::Request};

use crate::{
    recording::{EVERY, alone, record_and_inspect, request},
    storm::{Rhythm, Storm},
};

/// `add r9, gs:[this_cpu_off]`, by which code finds the processor's stack (`emit_priv_frame_ptr` in arch/x86/net/bpf_jit_comp.c).
const PRIVATE_STACK: [u8; 5] = [0x65, 0x4c, 0x03, 0x0c, 0x25];

#[test]
fn programs_of_uprobes_run_on_the_stack_of_their_thread() {
    let Some(_guard) = alone() else { return };
    let mut storm = Storm::endless(1, Rhythm::STEADY);
    let mut machine_code = BTreeMap::new();
    let following = |sessions| Some(LiveOptions { blocks: 1 << 16, sessions });
    for live in [None, following(true), following(false)] {
        let request = Request { live, ..request(EVERY) };
        record_and_inspect(&[storm.pid()], request, || {}, |_| machine_code.extend(loaded_programs()));
    }
    storm.go();
    storm.stop();
    storm.finish();
    for name in ["allocation", "allocation_sess", "allocation_entr", "allocation_retu", "release"] {
        assert!(machine_code.contains_key(name), "{name} is not loaded: {:?}", machine_code.keys());
    }
    for (name, code) in &machine_code {
        assert!(!code.is_empty(), "the kernel does not show the code of {name}");
        let has_one = code.windows(PRIVATE_STACK.len()).any(|bytes| bytes == PRIVATE_STACK);
        assert!(!has_one, "{name} has a stack of its own");
    }
}

/// Name and machine code of this process's programs of uprobes.
fn loaded_programs() -> BTreeMap<String, Vec<u8>> {
    let infos = fs::read_dir("/proc/self/fdinfo").expect("it is there").flatten();
    let id = |text: String| text.lines().find_map(|line| line.strip_prefix("prog_id:"))?.trim().parse().ok();
    let ids = infos.filter_map(|entry| id(fs::read_to_string(entry.path()).ok()?));
    ids.filter_map(|id: u32| program(id)).collect()
}

fn program(id: u32) -> Option<(String, Vec<u8>)> {
    // SAFETY: unions and structures of plain data.
    let (mut wanted, mut asked, mut info): (bpf_attr, bpf_attr, bpf_prog_info) = unsafe { std::mem::zeroed() };
    wanted.__bindgen_anon_6.__bindgen_anon_1.prog_id = id;
    let descriptor = bpf(bpf_cmd::BPF_PROG_GET_FD_BY_ID, &mut wanted);
    // SAFETY: the command returned a new descriptor.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let mut code = vec![0; 1 << 20];
    info.jited_prog_insns = code.as_mut_ptr() as u64;
    info.jited_prog_len = code.len() as u32;
    asked.info.bpf_fd = descriptor.as_raw_fd() as u32;
    asked.info.info_len = size_of::<bpf_prog_info>() as u32;
    asked.info.info = (&raw mut info) as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut asked);
    if info.type_ != bpf_prog_type::BPF_PROG_TYPE_KPROBE as u32 {
        return None;
    }
    code.truncate(info.jited_prog_len as usize);
    let name: String = info.name.iter().take_while(|&&byte| byte != 0).map(|&byte| char::from(byte as u8)).collect();
    Some((name, code))
}

fn bpf(command: bpf_cmd, attribute: &mut bpf_attr) -> i32 {
    // SAFETY: the attribute and what it points to live through the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_int, std::ptr::from_mut(attribute), size_of::<bpf_attr>())
    };
    assert!(result >= 0, "{}", std::io::Error::last_os_error());
    result as i32
}
