//! Stacks as they come from the kernel.

use tracer_ebpf::abi::sample::{Frame, WalkStatus};

use super::decode::RawSample;

/// A stack as the kernel walked it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RawStack {
    /// Process id where a frame lies in no module, since its address then means something else in each process; else 0.
    pub process: u32,
    /// Frames, leaf first.
    pub frames: Box<[Frame]>,
    /// How the walk ended.
    pub status: WalkStatus,
    /// Module number of the frame it ended at; 0 for none.
    pub stopped_in: u16,
    /// Frames found by frame pointer.
    pub frame_pointer_frames: u32,
}

impl RawStack {
    /// That of a sample. `leaf` stands in where the walk found no frame at all: the probed function.
    pub fn of(sample: RawSample, leaf: Frame) -> Self {
        let frames = if sample.frames.is_empty() { Box::from([leaf]) } else { sample.frames.into_boxed_slice() };
        let in_modules = frames.iter().all(|frame| frame.module() != 0);
        Self {
            process: if in_modules { 0 } else { sample.header.process },
            frames,
            status: sample.status,
            stopped_in: sample.header.stopped_in as u16,
            frame_pointer_frames: sample.header.frame_pointer_frames,
        }
    }
}
