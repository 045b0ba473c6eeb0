//! pprof to recording. The file may be anybody's: everything is bounded and every index is checked.

use std::collections::HashMap;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use prost::Message;
use tracer_ebpf::abi::allocation::SIZE_CLASSES;

use super::envelope::{Envelope, MARK, VERSION, Version};
use super::proto::{self, field};
use super::wire::{Fields, Value};
use super::{elf_address, key};
use crate::recording::{Function, Line, Location, Module, Recording, Sample, Stack, StackEnd};

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

fn invalid<T>(what: impl Into<String>) -> Result<T, ReadError> {
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
    let mut names = Budget { left: limits.names, limits };
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

/// Bytes of names that may still be copied: a file can name one long string a million times.
struct Budget<'a> {
    left: usize,
    limits: &'a Limits,
}

impl Budget<'_> {
    fn copy(&mut self, text: &str) -> Result<String, ReadError> {
        let too_large = ReadError::TooLarge { what: "bytes of names", limit: self.limits.names as u64 };
        self.left = self.left.checked_sub(text.len()).ok_or(too_large)?;
        Ok(text.into())
    }
}

/// The profile's fields, still encoded.
#[derive(Default)]
struct Tables<'a> {
    strings: Vec<&'a [u8]>,
    mappings: Vec<&'a [u8]>,
    locations: Vec<&'a [u8]>,
    functions: Vec<&'a [u8]>,
    samples: Vec<&'a [u8]>,
    comments: Vec<i64>,
}

impl<'a> Tables<'a> {
    fn collect(profile: &'a [u8], limits: &Limits) -> Result<Self, ReadError> {
        let mut tables = Self::default();
        for (row, field) in Fields::new(profile).enumerate() {
            if row >= limits.rows {
                return Err(ReadError::TooLarge { what: "table rows", limit: limits.rows as u64 });
            }
            match field.map_err(ReadError::NotPprof)? {
                (field::SAMPLE, Value::Bytes(message)) => tables.samples.push(message),
                (field::MAPPING, Value::Bytes(message)) => tables.mappings.push(message),
                (field::LOCATION, Value::Bytes(message)) => tables.locations.push(message),
                (field::FUNCTION, Value::Bytes(message)) => tables.functions.push(message),
                (field::STRING_TABLE, Value::Bytes(text)) => tables.strings.push(text),
                (field::COMMENT, Value::Varint(index)) => tables.comments.push(index as i64),
                (field::COMMENT, Value::Bytes(mut packed)) => {
                    // One is enough for tracer; others' files may have a few.
                    while !packed.is_empty() && tables.comments.len() < 1000 {
                        let index = prost::encoding::decode_varint(&mut packed);
                        tables.comments.push(index.map_err(|e| ReadError::NotPprof(e.to_string()))? as i64);
                    }
                }
                _ => {}
            }
        }
        Ok(tables)
    }

    fn string(&self, index: i64) -> Result<&'a str, ReadError> {
        let text = usize::try_from(index).ok().and_then(|index| self.strings.get(index));
        match text.map(|text| std::str::from_utf8(text)) {
            Some(Ok(text)) => Ok(text),
            Some(Err(_)) => invalid(format!("string {index} is not UTF-8")),
            None => invalid(format!("there is no string {index}")),
        }
    }

    fn envelope(&self) -> Result<Envelope, ReadError> {
        for &comment in &self.comments {
            let text = self.string(comment)?;
            if !text.starts_with(MARK) {
                continue;
            }
            let broken = |error: serde_json::Error| ReadError::Invalid(format!("its description: {error}"));
            let version: Version = serde_json::from_str(text).map_err(broken)?;
            if version.tracer_recording > VERSION {
                return Err(ReadError::Later(version.tracer_recording));
            }
            let envelope: Envelope = serde_json::from_str(text).map_err(broken)?;
            let classes = envelope.about.counters.iter().flat_map(|counter| &counter.classes);
            if let Some(class) = classes.into_iter().find(|class| usize::from(class.class) >= SIZE_CLASSES) {
                return invalid(format!("there is no size class {}", class.class));
            }
            return Ok(envelope);
        }
        Err(ReadError::NotTracer)
    }

    fn modules(&self, names: &mut Budget<'_>) -> Result<Vec<Module>, ReadError> {
        let mappings = self.mappings.iter().zip(1..).map(|(message, id)| {
            let mapping = proto::Mapping::decode(*message).map_err(not_pprof)?;
            check_id("mapping", mapping.id, id)?;
            Ok(Module {
                path: names.copy(self.string(mapping.filename)?)?,
                build_id: names.copy(self.string(mapping.build_id)?)?,
                start: mapping.memory_start,
                end: mapping.memory_limit,
                file_offset: mapping.file_offset,
            })
        });
        mappings.collect()
    }

    fn functions(&self, count: u64, names: &mut Budget<'_>) -> Result<Vec<Function>, ReadError> {
        let functions = self.real(&self.functions, count, "functions")?.iter().zip(1..).map(|(message, id)| {
            let function = proto::Function::decode(*message).map_err(not_pprof)?;
            check_id("function", function.id, id)?;
            let name = names.copy(self.string(function.name)?)?;
            let system_name = self.string(function.system_name)?;
            Ok(Function {
                system_name: names.copy(if system_name.is_empty() { &name } else { system_name })?,
                name,
                file: names.copy(self.string(function.filename)?)?,
            })
        });
        functions.collect()
    }

    fn locations(
        &self,
        count: u64,
        modules: &[Module],
        functions: usize,
        limits: &Limits,
    ) -> Result<Vec<Location>, ReadError> {
        let locations = self.real(&self.locations, count, "locations")?.iter().zip(1..).map(|(message, id)| {
            let location = proto::Location::decode(*message).map_err(not_pprof)?;
            check_id("location", location.id, id)?;
            let module = match location.mapping_id {
                0 => None,
                id => Some(index("mapping", id, modules.len())?),
            };
            if location.line.is_empty() {
                return invalid(format!("location {id} has no function"));
            }
            if location.line.len() > limits.lines {
                return Err(ReadError::TooLarge { what: "inlined calls at an address", limit: limits.lines as u64 });
            }
            let lines = location.line.iter().map(|line| {
                let function = index("function", line.function_id, functions)?;
                Ok(Line { function, line: u32::try_from(line.line).or_else(|_| invalid("a line number"))? })
            });
            Ok(Location {
                module,
                address: match module.and_then(|module| modules.get(module as usize)) {
                    Some(module) => elf_address(module, location.address),
                    None => location.address,
                },
                lines: lines.collect::<Result<_, ReadError>>()?,
            })
        });
        locations.collect()
    }

    /// The rows of a table that are not for other readers only.
    fn real<'t>(&self, rows: &'t [&'a [u8]], count: u64, what: &str) -> Result<&'t [&'a [u8]], ReadError> {
        let rows_there = rows.len();
        match usize::try_from(count).ok().and_then(|count| rows.get(..count)) {
            Some(rows) => Ok(rows),
            None => invalid(format!("{count} {what} are announced, {rows_there} are there")),
        }
    }
}

fn not_pprof(error: prost::DecodeError) -> ReadError {
    ReadError::NotPprof(error.to_string())
}

fn check_id(what: &str, id: u64, expected: u64) -> Result<(), ReadError> {
    if id == expected { Ok(()) } else { invalid(format!("{what} {expected} has the id {id}")) }
}

/// The index that an id stands for.
fn index(what: &str, id: u64, count: usize) -> Result<u32, ReadError> {
    match id.checked_sub(1).and_then(|index| u32::try_from(index).ok()) {
        Some(index) if (index as usize) < count => Ok(index),
        _ => invalid(format!("there is no {what} {id}")),
    }
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
        let mut sample = Sample {
            stack: 0,
            process: 0,
            thread: 0,
            thread_name: String::new(),
            time_ns: 0,
            size: 0,
            interval: 0,
            counter: 0,
        };
        let mut stack = Stack { frames: Vec::new(), end: StackEnd::Complete, frame_pointer_frames: 0 };
        let mut frames = &message.location_id[..];
        for label in &message.label {
            let number = label.num as u64;
            let small = || u32::try_from(number).or_else(|_| invalid(format!("a label has the number {number}")));
            match self.tables.string(label.key)? {
                key::UNATTRIBUTED => return Ok(None),
                key::BYTES => sample.size = number,
                key::INTERVAL => sample.interval = number,
                key::TIME => sample.time_ns = number,
                key::PROCESS => sample.process = small()?,
                key::THREAD => sample.thread = small()?,
                key::COUNTER => sample.counter = small()?,
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
