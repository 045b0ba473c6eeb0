//! Ring buffer bytes to records. Pure; the bytes come from our own BPF programs, yet nothing in them is taken on trust.

use tracer_ebpf::abi::{
    live::{Release, ReleaseKind},
    sample::{Frame, MAX_FRAMES, ProcessChange, ProcessEvent, RecordKind, Sample as Header, WalkStatus},
};

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An allocation that was sampled.
    Sample(RawSample),
    /// Something happened to a process.
    Process {
        /// What.
        change: ProcessChange,
        /// To which.
        process: u32,
        /// Its parent, for [`ProcessChange::Forked`].
        parent: u32,
        /// When, CLOCK_MONOTONIC in nanoseconds.
        time_ns: u64,
    },
    /// A followed block came to its end.
    Release(Release),
}

/// A sample as the kernel took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawSample {
    /// Everything but the frames.
    pub header: Header,
    /// How the walk ended.
    pub status: WalkStatus,
    /// Frames, leaf first.
    pub frames: Vec<Frame>,
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than what they claim to be.
    #[error("{have} bytes where {want} were announced")]
    Short {
        /// Bytes there.
        have: usize,
        /// Bytes needed.
        want: usize,
    },
    /// A number without meaning.
    #[error("unknown {what} {value}")]
    Unknown {
        /// What it should name.
        what: &'static str,
        /// The number.
        value: u32,
    },
}

/// Decodes one ring buffer record.
///
/// # Errors
/// See [`DecodeError`]; the caller counts them.
pub fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
    match Fields(bytes).u32(0)? {
        kind if kind == RecordKind::Sample as u32 => sample(bytes).map(Record::Sample),
        kind if kind == RecordKind::Process as u32 => process(bytes),
        kind if kind == RecordKind::Release as u32 => release(bytes).map(Record::Release),
        value => Err(DecodeError::Unknown { what: "record kind", value }),
    }
}

fn sample(bytes: &[u8]) -> Result<RawSample, DecodeError> {
    let fields = Fields(bytes);
    let header = Header {
        kind: fields.u32(0)?,
        process: fields.u32(4)?,
        thread: fields.u32(8)?,
        function: fields.u32(12)?,
        time_ns: fields.u64(16)?,
        size: fields.u64(24)?,
        interval: fields.u64(32)?,
        stopped_at: fields.u64(40)?,
        frame_count: fields.u32(48)?,
        frame_pointer_frames: fields.u32(52)?,
        status: fields.u32(56)?,
        stopped_in: fields.u32(60)?,
        thread_name: fields.array(64)?,
    };
    let status = WalkStatus::ALL
        .into_iter()
        .find(|&status| status as u32 == header.status)
        .ok_or(DecodeError::Unknown { what: "walk status", value: header.status })?;
    let count = header.frame_count as usize;
    if count > MAX_FRAMES {
        return Err(DecodeError::Unknown { what: "frame count", value: header.frame_count });
    }
    let frame = |index| {
        let raw = fields.u64(size_of::<Header>() + index * 8)?;
        // The kernel's walk gives return addresses as they are; the walk of tracer has done this already.
        Ok(Frame(if Frame(raw).is_kernel() && index > 0 { raw - 1 } else { raw }))
    };
    let frames = (0..count).map(frame).collect::<Result<_, _>>()?;
    Ok(RawSample { header, status, frames })
}

fn process(bytes: &[u8]) -> Result<Record, DecodeError> {
    let fields = Fields(bytes);
    let number = fields.u32(std::mem::offset_of!(ProcessEvent, change))?;
    let change = [ProcessChange::Mapped, ProcessChange::Forked, ProcessChange::Executed, ProcessChange::Exited]
        .into_iter()
        .find(|&change| change as u32 == number)
        .ok_or(DecodeError::Unknown { what: "process change", value: number })?;
    Ok(Record::Process {
        change,
        process: fields.u32(std::mem::offset_of!(ProcessEvent, process))?,
        parent: fields.u32(std::mem::offset_of!(ProcessEvent, parent))?,
        time_ns: fields.u64(std::mem::offset_of!(ProcessEvent, time_ns))?,
    })
}

fn release(bytes: &[u8]) -> Result<Release, DecodeError> {
    let fields = Fields(bytes);
    let how = fields.u32(std::mem::offset_of!(Release, how))?;
    if how != ReleaseKind::Released as u32 && how != ReleaseKind::HandedOutAgain as u32 {
        return Err(DecodeError::Unknown { what: "kind of release", value: how });
    }
    Ok(Release {
        kind: RecordKind::Release as u32,
        how,
        allocated_ns: fields.u64(std::mem::offset_of!(Release, allocated_ns))?,
        time_ns: fields.u64(std::mem::offset_of!(Release, time_ns))?,
        allocated_by: fields.u32(std::mem::offset_of!(Release, allocated_by))?,
        thread: fields.u32(std::mem::offset_of!(Release, thread))?,
    })
}

/// Little-endian fields at byte offsets.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(self, offset: usize) -> Result<[u8; N], DecodeError> {
        self.0
            .get(offset..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .ok_or(DecodeError::Short { have: self.0.len(), want: offset + N })
    }

    fn u32(self, offset: usize) -> Result<u32, DecodeError> {
        self.array(offset).map(u32::from_ne_bytes)
    }

    fn u64(self, offset: usize) -> Result<u64, DecodeError> {
        self.array(offset).map(u64::from_ne_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(frames: &[u64], frame_count: u32, status: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [1, 7, 8, 3u32] {
            bytes.extend(word.to_ne_bytes());
        }
        for word in [11, 22, 33, 44u64] {
            bytes.extend(word.to_ne_bytes());
        }
        for word in [frame_count, 1, status, 5] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(*b"a thread name\0\0\0");
        for frame in frames {
            bytes.extend(frame.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn a_sample_comes_back_field_by_field() {
        let Ok(Record::Sample(sample)) = decode(&record(&[1 << 63 | 2 << 48 | 0x1234, 9], 2, 3)) else {
            panic!("not a sample")
        };
        let header = sample.header;
        assert_eq!((header.process, header.thread, header.function), (7, 8, 3));
        assert_eq!((header.time_ns, header.size, header.interval, header.stopped_at), (11, 22, 33, 44));
        assert_eq!((header.stopped_in, &header.thread_name[..8]), (5, &b"a thread"[..]));
        assert_eq!(sample.status, WalkStatus::NoInfo);
        assert_eq!(sample.frames.len(), 2);
        assert_eq!(
            (sample.frames[0].by_frame_pointer(), sample.frames[0].module(), sample.frames[0].address()),
            (true, 2, 0x1234)
        );
    }

    #[test]
    fn callers_in_the_kernel_are_named_by_their_calls() {
        let [leaf, caller, user] = [0xffff_ffff_8100_0000, 0xffff_ffff_8200_0000, 2 << 48 | 7];
        let Ok(Record::Sample(sample)) = decode(&record(&[leaf, caller, user], 3, 0)) else { panic!("not a sample") };
        assert_eq!(sample.frames, [leaf, caller - 1, user].map(Frame));
        assert!(sample.frames[1].is_kernel() && !sample.frames[1].by_frame_pointer() && !sample.frames[2].is_kernel());
    }

    #[test]
    fn a_release_comes_back_field_by_field() {
        let mut bytes = Vec::new();
        for word in [3, 2u32] {
            bytes.extend(word.to_ne_bytes());
        }
        for word in [11, 22u64] {
            bytes.extend(word.to_ne_bytes());
        }
        for word in [4, 5u32] {
            bytes.extend(word.to_ne_bytes());
        }
        let expected = Release { kind: 3, how: 2, allocated_ns: 11, time_ns: 22, allocated_by: 4, thread: 5 };
        assert_eq!(decode(&bytes), Ok(Record::Release(expected)));
        for length in 0..bytes.len() {
            assert!(matches!(decode(&bytes[..length]), Err(DecodeError::Short { .. })), "{length}");
        }
        bytes[4] = 9;
        assert_eq!(decode(&bytes), Err(DecodeError::Unknown { what: "kind of release", value: 9 }));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = record(&[1, 2, 3], 3, 0);
        for length in 0..bytes.len() {
            assert!(matches!(decode(&bytes[..length]), Err(DecodeError::Short { .. })), "{length}");
        }
        assert!(decode(&bytes).is_ok());
    }

    #[test]
    fn numbers_without_meaning_are_errors() {
        assert_eq!(decode(&record(&[], 0, 99)), Err(DecodeError::Unknown { what: "walk status", value: 99 }));
        assert_eq!(decode(&record(&[], 4000, 0)), Err(DecodeError::Unknown { what: "frame count", value: 4000 }));
        assert_eq!(decode(&[9, 0, 0, 0]), Err(DecodeError::Unknown { what: "record kind", value: 9 }));
        assert_eq!(decode(&[2, 0, 0, 0, 9, 0, 0, 0]), Err(DecodeError::Unknown { what: "process change", value: 9 }));
    }
}
