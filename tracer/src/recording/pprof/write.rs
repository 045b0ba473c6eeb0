//! Recording to pprof.

use std::collections::HashMap;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use prost::encoding::{int64, message, string};

use super::envelope::{Envelope, VERSION};
use super::proto::{self, field};
use super::{key, pprof_address};
use crate::estimate::Calibration;
use crate::estimate::followed::followed;
use crate::profile::name::{UNATTRIBUTED, printable};
use crate::recording::{Recording, Sample, Stack, StackEnd, about::Source};

/// Names of values, as Go's heap profiles have them: objects and bytes.
const ALLOCATED: (&str, &str) = ("alloc_objects", "alloc_space");
const IN_USE: (&str, &str) = ("inuse_objects", "inuse_space");

/// Encoded bytes that are collected before they are compressed.
const CHUNK: usize = 64 << 10;

/// Writes a recording as a gzip'd pprof file; `calibration` is the weights of all its samples. Needs memory for the string table, not for the samples.
pub fn write(recording: &Recording, calibration: &Calibration, out: impl Write) -> io::Result<()> {
    let mut writer = Writer {
        out: GzEncoder::new(out, Compression::default()),
        buffer: Vec::with_capacity(2 * CHUNK),
        strings: Strings::default(),
    };
    writer.strings.index("");
    writer.header(recording)?;
    let synthetic = Synthetic::new(recording, calibration);
    writer.samples(recording, calibration, &synthetic)?;
    writer.tables(recording, &synthetic)?;
    writer.string_table()?;
    writer.flush()?;
    writer.out.finish()?.flush()
}

struct Writer<W: Write> {
    out: GzEncoder<W>,
    buffer: Vec<u8>,
    strings: Strings,
}

impl<W: Write> Writer<W> {
    fn header(&mut self, recording: &Recording) -> io::Result<()> {
        let about = &recording.about;
        let mut default = 0;
        let (objects, amount, unit) = value_names(about.source);
        let of_source = (objects, amount);
        let all = [of_source, IN_USE];
        for (objects, bytes) in &all[..if about.live.is_some() { 2 } else { 1 }] {
            let objects = self.value_type(objects, "count");
            let bytes = self.value_type(bytes, unit);
            self.message(field::SAMPLE_TYPE, &objects)?;
            self.message(field::SAMPLE_TYPE, &bytes)?;
            default = bytes.r#type;
        }
        let interval = recording.samples.iter().map(|s| s.interval).max().unwrap_or(0);
        let period_type = self.value_type(if about.source == Source::Cpu { "cpu" } else { "space" }, unit);
        self.message(field::PERIOD_TYPE, &period_type)?;
        let envelope = Envelope {
            tracer_recording: VERSION,
            functions: recording.functions.len() as u64,
            locations: recording.locations.len() as u64,
            about: about.clone(),
        };
        let for_people = format!(
            "tracer {}: {} of {}, process {}",
            printable(&about.tracer),
            about_what(about.source),
            printable(&about.process.name),
            about.process.pid
        );
        let comments = [self.strings.index(&for_people), self.strings.index(&serde_json::to_string(&envelope)?)];
        for (tag, number) in [
            (field::TIME_NANOS, about.started_unix_ns as i64),
            (field::DURATION_NANOS, about.duration_ns as i64),
            (field::PERIOD, interval as i64),
            (field::COMMENT, comments[0]),
            (field::COMMENT, comments[1]),
            (field::DEFAULT_SAMPLE_TYPE, default),
        ] {
            int64::encode(tag, &number, &mut self.buffer);
        }
        Ok(())
    }

    fn samples(&mut self, recording: &Recording, calibration: &Calibration, synthetic: &Synthetic) -> io::Result<()> {
        let live = recording.about.live.is_some();
        let of_followed = live.then(|| Calibration::new(&followed(recording)));
        let mut carries = vec![[0.0; 4]; recording.stacks.len()];
        let mut message = proto::Sample::default();
        for sample in &recording.samples {
            let Some(stack) = recording.stacks.get(sample.stack as usize) else { continue };
            let (bytes, objects) = calibration.weight(&recording.about, sample);
            let carry = &mut carries[sample.stack as usize];
            message.value.clear();
            message.value.extend([round(objects, &mut carry[0]), round(bytes, &mut carry[1])]);
            if let Some(calibration) = &of_followed {
                let in_use = sample.block.is_some_and(|block| block.released_ns.is_none());
                message.value.extend(if in_use {
                    let (bytes, objects) = calibration.weight(&recording.about, sample);
                    [round(objects, &mut carry[2]), round(bytes, &mut carry[3])]
                } else {
                    [0, 0]
                });
            }
            message.location_id.clear();
            message.location_id.extend(stack.frames.iter().map(|&location| u64::from(location) + 1));
            message.label.clear();
            self.labels(&mut message.label, sample, stack, recording.about.source);
            if let StackEnd::Truncated(reason) = &stack.end {
                message.location_id.extend(synthetic.location(reason));
            }
            self.message(field::SAMPLE, &message)?;
        }
        let unattributed = calibration.unattributed_measure();
        if let Some(location) = synthetic.unattributed {
            let label = proto::Label { key: self.strings.index(key::UNATTRIBUTED), num: 1, ..Default::default() };
            let mut value: Vec<i64> =
                [unattributed.objects, unattributed.bytes].map(|of| of.value.round() as i64).into();
            value.resize(if live { 4 } else { 2 }, 0);
            self.message(field::SAMPLE, &proto::Sample { location_id: vec![location], value, label: vec![label] })?;
        }
        Ok(())
    }

    fn labels(&mut self, labels: &mut Vec<proto::Label>, sample: &Sample, stack: &Stack, source: Source) {
        let (amount, unit) = if source == Source::Cpu { (key::TICK, "nanoseconds") } else { (key::BYTES, "bytes") };
        for (key, number, unit) in [
            (amount, sample.size, unit),
            (key::INTERVAL, sample.interval, unit),
            (key::TIME, sample.time_ns, "nanoseconds"),
            (key::PROCESS, u64::from(sample.process), ""),
            (key::THREAD, u64::from(sample.thread), ""),
            (key::COUNTER, u64::from(sample.counter), ""),
            (key::EPOCH, u64::from(sample.epoch), ""),
            (key::FRAME_POINTER_FRAMES, u64::from(stack.frame_pointer_frames), ""),
        ] {
            if number != 0 {
                let (key, num_unit) = (self.strings.index(key), self.strings.index(unit));
                labels.push(proto::Label { key, num: number as i64, num_unit, str: 0 });
            }
        }
        if let Some(block) = sample.block {
            let mut number = |key, number: u64, unit| {
                let (key, num_unit) = (self.strings.index(key), self.strings.index(unit));
                labels.push(proto::Label { key, num: number as i64, num_unit, str: 0 });
            };
            match block.released_ns {
                Some(released) => number(key::RELEASED, released, "nanoseconds"),
                None => number(key::IN_USE, 1, ""),
            }
            if block.released_by != 0 {
                number(key::RELEASED_BY, block.released_by.into(), "");
            }
        }
        let mut text = |key, text: &str| {
            let (key, str) = (self.strings.index(key), self.strings.index(text));
            labels.push(proto::Label { key, str, ..Default::default() });
        };
        if !sample.thread_name.is_empty() {
            text(key::THREAD_NAME, &sample.thread_name);
        }
        if let StackEnd::Truncated(reason) = &stack.end {
            text(key::TRUNCATED, reason);
        }
    }

    fn tables(&mut self, recording: &Recording, synthetic: &Synthetic) -> io::Result<()> {
        for (id, module) in (1..).zip(&recording.modules) {
            let mapping = proto::Mapping {
                id,
                memory_start: module.start,
                memory_limit: module.end,
                file_offset: module.file_offset,
                filename: self.strings.index(&module.path),
                build_id: self.strings.index(&module.build_id),
                has_functions: true,
                has_filenames: true,
                has_line_numbers: true,
                has_inline_frames: true,
            };
            self.message(field::MAPPING, &mapping)?;
        }
        for (id, location) in (1..).zip(&recording.locations) {
            let module = location.module.and_then(|module| recording.modules.get(module as usize));
            let line = location
                .lines
                .iter()
                .map(|line| proto::Line { function_id: u64::from(line.function) + 1, line: i64::from(line.line) })
                .collect();
            let location = proto::Location {
                id,
                mapping_id: location.module.map_or(0, |module| u64::from(module) + 1),
                address: module.map_or(location.address, |module| pprof_address(module, location.address)),
                line,
            };
            self.message(field::LOCATION, &location)?;
        }
        for (id, function) in (1..).zip(&recording.functions) {
            let same = function.system_name == function.name;
            let function = proto::Function {
                id,
                name: self.strings.index(&function.name),
                system_name: if same { 0 } else { self.strings.index(&function.system_name) },
                filename: self.strings.index(&function.file),
            };
            self.message(field::FUNCTION, &function)?;
        }
        for (index, name) in (0..).zip(&synthetic.names) {
            let (id, function_id) = (synthetic.first_location + index, synthetic.first_function + index);
            let line = vec![proto::Line { function_id, line: 0 }];
            self.message(field::LOCATION, &proto::Location { id, line, ..Default::default() })?;
            let name = self.strings.index(name);
            self.message(field::FUNCTION, &proto::Function { id: function_id, name, ..Default::default() })?;
        }
        Ok(())
    }

    fn string_table(&mut self) -> io::Result<()> {
        let mut strings: Vec<(String, i64)> = std::mem::take(&mut self.strings.0).into_iter().collect();
        strings.sort_unstable_by_key(|(_, index)| *index);
        for (text, _) in strings {
            string::encode(field::STRING_TABLE, &text, &mut self.buffer);
            self.flush_if_full()?;
        }
        Ok(())
    }

    fn value_type(&mut self, kind: &str, unit: &str) -> proto::ValueType {
        proto::ValueType { r#type: self.strings.index(kind), unit: self.strings.index(unit) }
    }

    fn message(&mut self, tag: u32, content: &impl Message) -> io::Result<()> {
        message::encode(tag, content, &mut self.buffer);
        self.flush_if_full()
    }

    fn flush_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() < CHUNK { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

/// What the two values of a sample are called, and the unit of the second: as other tools call them where they have them.
fn value_names(source: Source) -> (&'static str, &'static str, &'static str) {
    match source {
        Source::Allocations => (ALLOCATED.0, ALLOCATED.1, "bytes"),
        Source::Cpu => ("samples", "cpu", "nanoseconds"),
        Source::PageFaults => ("page_faults", "faulted_space", "bytes"),
        Source::Mmap => ("mmap_calls", "mapped_space", "bytes"),
        Source::Brk => ("brk_calls", "break_growth", "bytes"),
    }
}

/// What was recorded, for people.
fn about_what(source: Source) -> &'static str {
    match source {
        Source::Allocations => "allocations",
        Source::Cpu => "CPU time",
        Source::PageFaults => "page faults",
        Source::Mmap => "mapped memory",
        Source::Brk => "growth of the program break",
    }
}

/// Frames that exist for other readers only. Each has a function and a location of its own.
struct Synthetic {
    names: Vec<String>,
    of_reason: HashMap<String, u64>,
    unattributed: Option<u64>,
    first_function: u64,
    first_location: u64,
}

impl Synthetic {
    fn new(recording: &Recording, calibration: &Calibration) -> Self {
        let mut synthetic = Self {
            names: Vec::new(),
            of_reason: HashMap::new(),
            unattributed: None,
            first_function: recording.functions.len() as u64 + 1,
            first_location: recording.locations.len() as u64 + 1,
        };
        for stack in &recording.stacks {
            if let StackEnd::Truncated(reason) = &stack.end
                && !synthetic.of_reason.contains_key(reason)
            {
                let location = synthetic.push(format!("[truncated: {reason}]"));
                synthetic.of_reason.insert(reason.clone(), location);
            }
        }
        if calibration.unattributed().calls > 0 {
            synthetic.unattributed = Some(synthetic.push(UNATTRIBUTED.into()));
        }
        synthetic
    }

    fn push(&mut self, name: String) -> u64 {
        self.names.push(name);
        self.first_location + self.names.len() as u64 - 1
    }

    fn location(&self, reason: &str) -> Option<u64> {
        self.of_reason.get(reason).copied()
    }
}

/// The string table being made.
#[derive(Default)]
struct Strings(HashMap<String, i64>);

impl Strings {
    fn index(&mut self, text: &str) -> i64 {
        if let Some(&index) = self.0.get(text) {
            return index;
        }
        let index = self.0.len() as i64;
        self.0.insert(text.into(), index);
        index
    }
}

/// Rounds a value and carries what is left over to the next one, so that the sum is off by half at most. Rounding each
/// for itself is biased: a block as large as the interval stands for 1.58 objects, and a thousand of them for 2000
/// instead of 1582.
fn round(value: f64, carry: &mut f64) -> i64 {
    let due = value + *carry;
    let rounded = due.round().max(0.0);
    *carry = due - rounded;
    rounded as i64
}
