//! The BPF object loads.

use tracer::probe::programs::{Options, Programs};
use tracer_ebpf::abi::settings::Settings;

#[test]
fn programs_load_and_attach() {
    let settings = Settings {
        interval: 1 << 19,
        max_frames: 128,
        enabled: 0,
        wakeup_bytes: 1 << 20,
        follow_children: 0,
        launched: 0,
        padding: 0,
        return_probes: Default::default(),
    };
    let programs = Programs::load(&Options { settings, ring_bytes: 1 << 22 });
    match programs {
        Ok(programs) => {
            if let Some(error) = programs.multi_refused() {
                panic!("{error}")
            }
            for info in aya::programs::loaded_programs().flatten() {
                println!(
                    "{:?} {:?} jited {} xlated {:?}",
                    info.name_as_str(),
                    info.verified_instruction_count(),
                    info.size_jitted(),
                    info.size_translated()
                );
            }
        }
        Err(error) => panic!("{error}"),
    }
}
