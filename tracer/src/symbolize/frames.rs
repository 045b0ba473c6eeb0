//! Distinct frames, numbered as they come.

use std::collections::HashMap;

use tracer_ebpf::abi::sample::Frame;

use crate::recording::LocationIndex;

/// Where a frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// Process id where there is no module: an address means something else in each process. 0 otherwise.
    pub process: u32,
    /// Module number; 0 for none.
    pub module: u16,
    /// ELF virtual address, or process address where there is no module.
    pub address: u64,
}

/// Gives each distinct frame the index that its location will have, before anything is named.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    index: HashMap<Place, LocationIndex>,
    places: Vec<Place>,
}

impl Frames {
    /// The location of a frame of a sample of `process`. How the walk found the frame makes no difference.
    pub fn location(&mut self, process: u32, frame: Frame) -> LocationIndex {
        let (module, address) = (frame.module(), frame.address());
        let place = Place { process: if module == 0 { process } else { 0 }, module, address };
        *self.index.entry(place).or_insert_with(|| {
            self.places.push(place);
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// Distinct frames.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(module: u64, address: u64) -> Frame {
        Frame(module << 48 | address)
    }

    #[test]
    fn frames_of_a_module_are_shared_by_processes_and_run_time_code_is_not() {
        let mut frames = Frames::default();
        assert_eq!(frames.location(1, frame(7, 0x1000)), 0);
        assert_eq!(frames.location(2, frame(7, 0x1000)), 0);
        assert_eq!(frames.location(2, Frame(1 << 63 | frame(7, 0x1000).0)), 0);
        assert_eq!(frames.location(1, frame(0, 0x1000)), 1);
        assert_eq!(frames.location(2, frame(0, 0x1000)), 2);
        assert_eq!(frames.len(), 3);
    }
}
