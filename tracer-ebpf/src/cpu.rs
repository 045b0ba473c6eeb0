//! CPU samples: what the threads of traced processes run whenever the clock of their CPU ticks.
//!
//! The event is the CPU's, not a thread's: threads and processes that live for less than a tick are hit as often as their CPU
//! time says, where events of their own would begin with a whole period and never fire.

use core::ffi::c_void;

use tracer_ebpf::abi::{sample::NO_COUNTER, settings::Loss};

use crate::{
    interrupted,
    maps::{SETTINGS, count_loss},
    processes, sampling,
};

/// Handles a tick.
#[inline(always)]
pub fn tick(context: *mut c_void) {
    let Some(settings) = SETTINGS.get(0) else { return };
    if settings.enabled == 0 || !processes::is_traced() {
        return;
    }
    let Some(scratch) = sampling::claim() else {
        count_loss(Loss::ScratchBusy);
        return;
    };
    // SAFETY: the claimed slot is this program's alone until `release`.
    let memory = unsafe { &mut *scratch };
    memory.sample.function = NO_COUNTER;
    memory.sample.size = settings.interval;
    memory.sample.interval = settings.interval;
    interrupted::walk(context, scratch, settings);
    sampling::submit(scratch, settings);
    sampling::release(scratch);
}
