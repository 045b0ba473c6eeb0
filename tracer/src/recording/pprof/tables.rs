//! The tables of a pprof file: strings, modules, functions, locations.

use prost::Message;
use tracer_ebpf::abi::allocation::SIZE_CLASSES;

use super::elf_address;
use super::envelope::{Envelope, MARK, VERSION, Version};
use super::proto::{self, field};
use super::read::{Limits, ReadError, invalid};
use super::wire::{Fields, Value};
use crate::recording::{Function, Line, Location, Module};

/// Bytes of names that may still be copied: a file can name one long string a million times.
pub struct Budget<'a> {
    left: usize,
    limits: &'a Limits,
}

impl<'a> Budget<'a> {
    /// All that the limits allow.
    pub fn new(limits: &'a Limits) -> Self {
        Self { left: limits.names, limits }
    }

    /// Copies a name.
    pub fn copy(&mut self, text: &str) -> Result<String, ReadError> {
        let too_large = ReadError::TooLarge { what: "bytes of names", limit: self.limits.names as u64 };
        self.left = self.left.checked_sub(text.len()).ok_or(too_large)?;
        Ok(text.into())
    }
}

/// The profile's fields, still encoded.
#[derive(Default)]
pub struct Tables<'a> {
    strings: Vec<&'a [u8]>,
    mappings: Vec<&'a [u8]>,
    locations: Vec<&'a [u8]>,
    functions: Vec<&'a [u8]>,
    comments: Vec<i64>,
    /// Samples.
    pub samples: Vec<&'a [u8]>,
}

impl<'a> Tables<'a> {
    /// Sorts a profile's fields into tables.
    pub fn collect(profile: &'a [u8], limits: &Limits) -> Result<Self, ReadError> {
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

    /// A string by its index.
    pub fn string(&self, index: i64) -> Result<&'a str, ReadError> {
        let text = usize::try_from(index).ok().and_then(|index| self.strings.get(index));
        match text.map(|text| std::str::from_utf8(text)) {
            Some(Ok(text)) => Ok(text),
            Some(Err(_)) => invalid(format!("string {index} is not UTF-8")),
            None => invalid(format!("there is no string {index}")),
        }
    }

    /// What makes the file a recording.
    pub fn envelope(&self) -> Result<Envelope, ReadError> {
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

    /// All modules.
    pub fn modules(&self, names: &mut Budget<'_>) -> Result<Vec<Module>, ReadError> {
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

    /// The recording's functions.
    pub fn functions(&self, count: u64, names: &mut Budget<'_>) -> Result<Vec<Function>, ReadError> {
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

    /// The recording's locations.
    pub fn locations(
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

/// A message that is none.
pub fn not_pprof(error: prost::DecodeError) -> ReadError {
    ReadError::NotPprof(error.to_string())
}

fn check_id(what: &str, id: u64, expected: u64) -> Result<(), ReadError> {
    if id == expected { Ok(()) } else { invalid(format!("{what} {expected} has the id {id}")) }
}

/// The index that an id stands for.
pub fn index(what: &str, id: u64, count: usize) -> Result<u32, ReadError> {
    match id.checked_sub(1).and_then(|index| u32::try_from(index).ok()) {
        Some(index) if (index as usize) < count => Ok(index),
        _ => invalid(format!("there is no {what} {id}")),
    }
}
