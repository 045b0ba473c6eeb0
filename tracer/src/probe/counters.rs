//! Reads what the programs counted, summed over CPUs.

use aya::maps::MapError;
use tracer_ebpf::abi::{
    allocation::{ClassCounter, SIZE_CLASSES},
    settings::{LOSS_COUNT, Loss},
};

use super::programs::Maps;

/// Exact counters of one function.
pub type ClassCounters = [ClassCounter; SIZE_CLASSES];

/// The exact counters of a function slot.
///
/// # Errors
/// What the kernel says.
pub fn function(maps: &Maps, slot: u32) -> Result<ClassCounters, MapError> {
    let mut sum = [ClassCounter::default(); SIZE_CLASSES];
    for cpu in maps.counters.get(&slot, 0)?.iter() {
        for (sum, class) in sum.iter_mut().zip(&cpu.0.classes) {
            sum.calls += class.calls;
            sum.bytes = sum.bytes.wrapping_add(class.bytes);
        }
    }
    Ok(sum)
}

/// How often each [`Loss`] happened, by its number.
///
/// # Errors
/// What the kernel says.
pub fn losses(maps: &Maps) -> Result<[u64; LOSS_COUNT as usize], MapError> {
    let mut sums = [0; LOSS_COUNT as usize];
    for (loss, sum) in sums.iter_mut().enumerate() {
        *sum = maps.losses.get(&(loss as u32), 0)?.iter().sum();
    }
    Ok(sums)
}

/// One of [`losses`].
pub fn loss(losses: &[u64; LOSS_COUNT as usize], loss: Loss) -> u64 {
    losses[loss as usize]
}
