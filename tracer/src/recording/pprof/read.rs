//! pprof to recording. The file may be anybody's: everything is bounded and every index is checked.

use std::collections::HashMap;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use prost::Message;

use super::envelope::VERSION;
use super::tables::{Budget, Tables, index, not_pprof};
use super::{key, proto};
use crate::recording::{Recording, Sample, Stack, StackEnd};

/// What a file may make the reader do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Decompressed size in bytes.
    pub decompressed: u64,
    /// Rows of all tables.
    pub rows: usize,
    /// Bytes of all names, each as often as it is used.
    pub names: usize,
    /// Frames of a stack.
    pub frames: usize,
    /// Inlined calls at an address.
    pub lines: usize,
    /// Frames of all distinct stacks, with inlined calls.
    pub expanded_frames: usize,
}

impl Default for Limits {
    /// Ten times what a recording of a million samples needs.
    fn default() -> Self {
        Self {
            decompressed: 1 << 30,
            rows: 1 << 24,
            names: 256 << 20,
            frames: 2048,
            lines: 512,
            expanded_frames: 1 << 25,
        }
    }
}

/// Why a file is not a recording.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Io(#[source] io::Error),
    /// It is something else.
    #[error("it is not a recording: recordings are gzip'd pprof files (.pb.gz), and this is not gzip'd")]
    NotGzip,
    /// The compressed data is damaged or ends early.
    #[error("its compressed data is damaged; it may have been copied incompletely")]
    Damaged(#[source] io::Error),
    /// More than a [`Limits`] allows.
    #[error("it has more than {limit} {what}: too much for a recording")]
    TooLarge {
        /// Of what there is too much.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// Not protobuf.
    #[error("it is gzip'd but not a pprof file: {0}")]
    NotPprof(String),
    /// Somebody else's.
    #[error("it is a pprof file, but not a recording of tracer; `go tool pprof` reads it")]
    NotTracer,
    /// A later version's.
    #[error("it was written by a later version of tracer (format {0}, known is {VERSION}); update tracer")]
    Later(u32),
    /// It contradicts itself.
    #[error("it is damaged: {0}")]
    Invalid(String),
}

pub(super) fn invalid<T>(what: impl Into<String>) -> Result<T, ReadError> {
    Err(ReadError::Invalid(what.into()))
}

/// Reads a recording.
///
/// # Errors
/// See [`ReadError`]. A recording that is returned has valid indices only.
pub fn read(file: impl Read, limits: &Limits) -> Result<Recording, ReadError> {
    parse(&decompress(file, limits)?, limits)
}

/// Reads a recording that is decompressed.
pub(super) fn parse(profile: &[u8], limits: &Limits) -> Result<Recording, ReadError> {
    let tables = Tables::collect(profile, limits)?;
    let envelope = tables.envelope()?;
    let mut names = Budget::new(limits);
    let recording = Recording {
        modules: tables.modules(&mut names)?,
        functions: tables.functions(envelope.functions, &mut names)?,
        about: envelope.about,
        ..Recording::default()
    };
    let mut recording = Recording {
        locations: tables.locations(envelope.locations, &recording.modules, recording.functions.len(), limits)?,
        ..recording
    };
    Samples { tables: &tables, limits, names, stacks: HashMap::new(), expanded_frames: 0 }.read_into(&mut recording)?;
    Ok(recording)
}

fn decompress(mut file: impl Read, limits: &Limits) -> Result<Vec<u8>, ReadError> {
    let mut magic = Vec::new();
    file.by_ref().take(2).read_to_end(&mut magic).map_err(ReadError::Io)?;
    if magic != [0x1f, 0x8b] {
        return Err(ReadError::NotGzip);
    }
    let mut profile = Vec::new();
    MultiGzDecoder::new(magic.chain(file))
        .take(limits.decompressed + 1)
        .read_to_end(&mut profile)
        .map_err(ReadError::Damaged)?;
    if profile.len() as u64 > limits.decompressed {
        return Err(ReadError::TooLarge { what: "bytes (decompressed)", limit: limits.decompressed });
    }
    Ok(profile)
}

/// The samples, and the stacks that they share.
struct Samples<'t, 'a> {
    tables: &'t Tables<'a>,
    limits: &'t Limits,
    names: Budget<'t>,
    stacks: HashMap<Stack, u32>,
    expanded_frames: usize,
}

impl Samples<'_, '_> {
    fn read_into(mut self, recording: &mut Recording) -> Result<(), ReadError> {
        let mut message = proto::Sample::default();
        for encoded in &self.tables.samples {
            message.clear();
            message.merge(*encoded).map_err(not_pprof)?;
            if let Some(sample) = self.sample(&message, recording)? {
                recording.samples.push(sample);
            }
        }
        let mut stacks: Vec<(Stack, u32)> = self.stacks.into_iter().collect();
        stacks.sort_unstable_by_key(|(_, index)| *index);
        recording.stacks = stacks.into_iter().map(|(stack, _)| stack).collect();
        Ok(())
    }

    fn sample(&mut self, message: &proto::Sample, recording: &Recording) -> Result<Option<Sample>, ReadError> {
        let mut sample = Sample::default();
        let mut stack = Stack { frames: Vec::new(), end: StackEnd::Complete, frame_pointer_frames: 0 };
        let mut frames = &message.location_id[..];
        for label in &message.label {
            let number = label.num as u64;
            let small = || u32::try_from(number).or_else(|_| invalid(format!("a label has the number {number}")));
            match self.tables.string(label.key)? {
                key::UNATTRIBUTED => return Ok(None),
                key::BYTES | key::TICK => sample.size = number,
                key::INTERVAL => sample.interval = number,
                key::TIME => sample.time_ns = number,
                key::PROCESS => sample.process = small()?,
                key::THREAD => sample.thread = small()?,
                key::COUNTER => sample.counter = small()?,
                key::EPOCH => sample.epoch = small()?,
                key::IN_USE => {
                    sample.block.get_or_insert_default();
                }
                key::RELEASED => sample.block.get_or_insert_default().released_ns = Some(number),
                key::RELEASED_BY => sample.block.get_or_insert_default().released_by = small()?,
                key::FRAME_POINTER_FRAMES => stack.frame_pointer_frames = small()?,
                key::THREAD_NAME => sample.thread_name = self.short_text(label.str, 64)?,
                key::TRUNCATED => {
                    stack.end = StackEnd::Truncated(self.short_text(label.str, 4096)?);
                    // The frame that says so to other readers.
                    frames = frames.split_last().map_or(frames, |(_, frames)| frames);
                }
                _ => {}
            }
        }
        let counters = recording.about.counters.len();
        if counters > 0 && sample.counter as usize >= counters {
            return invalid(format!("there is no counter {}", sample.counter));
        }
        let epochs = recording.about.epochs.len();
        if epochs > 0 && sample.epoch as usize >= epochs {
            return invalid(format!("there is no epoch {}", sample.epoch));
        }
        if frames.len() > self.limits.frames {
            return Err(ReadError::TooLarge { what: "frames in a stack", limit: self.limits.frames as u64 });
        }
        let locations = recording.locations.len();
        stack.frames = frames.iter().map(|&id| index("location", id, locations)).collect::<Result<_, _>>()?;
        sample.stack = self.intern(stack, recording)?;
        Ok(Some(sample))
    }

    fn short_text(&mut self, index: i64, limit: usize) -> Result<String, ReadError> {
        let text = self.tables.string(index)?;
        if text.len() > limit {
            return Err(ReadError::TooLarge { what: "bytes in a label", limit: limit as u64 });
        }
        self.names.copy(text)
    }

    fn intern(&mut self, stack: Stack, recording: &Recording) -> Result<u32, ReadError> {
        if let Some(&index) = self.stacks.get(&stack) {
            return Ok(index);
        }
        let lines = stack.frames.iter().map(|&frame| recording.locations[frame as usize].lines.len());
        self.expanded_frames += lines.sum::<usize>();
        if self.expanded_frames > self.limits.expanded_frames {
            let limit = self.limits.expanded_frames as u64;
            return Err(ReadError::TooLarge { what: "frames in all stacks", limit });
        }
        let index = self.stacks.len() as u32;
        self.stacks.insert(stack, index);
        Ok(index)
    }
}
