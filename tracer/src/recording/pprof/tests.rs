use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use prost::Message;

use super::proto::field;
use super::wire::{Fields, Value};
use super::*;
use crate::estimate::Calibration;
use crate::profile::Profile;
use crate::recording::{Block, Recording, StackEnd, about::Epoch};
use crate::synthetic::{Random, program, random};

fn written(recording: &Recording) -> Vec<u8> {
    let mut file = Vec::new();
    write(recording, &Calibration::new(recording), &mut file).unwrap();
    file
}

fn read_back(file: &[u8]) -> Result<Recording, ReadError> {
    read(file, &Limits::default())
}

pub fn decompressed(file: &[u8]) -> Vec<u8> {
    let mut profile = Vec::new();
    GzDecoder::new(file).read_to_end(&mut profile).unwrap();
    profile
}

pub fn compressed(profile: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(profile).unwrap();
    gzip.finish().unwrap()
}

/// Stacks in order of their first sample, and only those that have one: what a file can give back.
fn canonical(mut recording: Recording) -> Recording {
    let mut new_index = vec![None; recording.stacks.len()];
    let mut stacks = Vec::new();
    for sample in &mut recording.samples {
        let index = new_index[sample.stack as usize].get_or_insert_with(|| {
            stacks.push(recording.stacks[sample.stack as usize].clone());
            stacks.len() as u32 - 1
        });
        sample.stack = *index;
    }
    recording.stacks = stacks;
    recording
}

#[test]
fn epochs_and_blocks_come_back() {
    let mut recording = program::recording();
    recording.about.epochs = vec![Epoch::default(), Epoch { probability: 0.25, ..Epoch::default() }];
    let blocks = [
        None,
        Some(Block::default()),
        Some(Block { released_ns: Some(0), released_by: 7 }),
        Some(Block { released_ns: Some(9), released_by: 0 }),
    ];
    for (index, sample) in recording.samples.iter_mut().enumerate() {
        (sample.epoch, sample.block) = (index as u32 % 2, blocks[index % 4]);
    }
    assert_eq!(read_back(&written(&recording)).unwrap(), canonical(recording.clone()));
    recording.about.epochs.pop();
    assert_eq!(read_back(&written(&recording)).unwrap_err().to_string(), "it is damaged: there is no epoch 1");
}

#[test]
fn a_recording_comes_back_as_it_was() {
    let recording = program::recording();
    assert!(recording.stacks.iter().any(|s| s.end != StackEnd::Complete && !s.frames.is_empty()));
    assert!(
        recording.locations.iter().any(|l| l.module.is_none()) && recording.locations.iter().any(|l| l.lines.len() > 1)
    );
    assert!(Calibration::new(&recording).unattributed().calls > 0);
    assert_eq!(read_back(&written(&recording)).unwrap(), recording);
    assert_eq!(read_back(&written(&Recording::default())).unwrap(), Recording::default());
}

#[test]
fn extreme_numbers_come_back() {
    let mut recording = program::recording();
    let sample = &mut recording.samples[0];
    (sample.size, sample.interval, sample.time_ns) = (u64::MAX, u64::MAX - 1, u64::MAX);
    (sample.process, sample.thread, sample.thread_name) = (u32::MAX, u32::MAX, "é\0\n".into());
    recording.locations[0].address = u64::MAX;
    recording.locations[0].lines[0].line = u32::MAX;
    recording.modules[0].file_offset = u64::MAX;
    recording.about.started_unix_ns = u64::MAX;
    let back = read_back(&written(&recording)).unwrap();
    assert_eq!(back, recording);
}

#[test]
fn random_recordings_come_back() {
    let mut random = Random::new(5);
    for _ in 0..10 {
        let recording = canonical(random::recording(&mut random, 300, 20));
        assert!(read_back(&written(&recording)).unwrap() == recording);
    }
}

/// The values as a reader that knows nothing of tracer adds them up.
#[test]
fn values_add_up_to_the_exact_totals_and_each_stack_to_its_estimate() {
    let recording = program::recording();
    let profile = Profile::new(&recording);
    let mut total = [0i64; 2];
    let mut of_site = std::collections::HashMap::new();
    let bytes = decompressed(&written(&recording));
    for field in Fields::new(&bytes) {
        if let (field::SAMPLE, Value::Bytes(message)) = field.unwrap() {
            let sample = proto::Sample::decode(message).unwrap();
            total[0] += sample.value[0];
            total[1] += sample.value[1];
            *of_site.entry(sample.location_id.clone()).or_insert(0.0) += sample.value[1] as f64;
        }
    }
    let exact = profile.exact().unwrap();
    let slack = recording.stacks.len() as i64;
    assert!((total[0] - exact.calls as i64).abs() <= slack, "{} {}", total[0], exact.calls);
    assert!((total[1] - exact.bytes as i64).abs() <= slack, "{} {}", total[1], exact.bytes);
    let calibration = Calibration::new(&recording);
    let of_stack = calibration.sum(recording.stacks.len(), |stack, groups| groups.add(stack));
    for (stack, measure) in recording.stacks.iter().zip(of_stack) {
        let mut ids: Vec<u64> = stack.frames.iter().map(|&f| u64::from(f) + 1).collect();
        if stack.end != StackEnd::Complete {
            ids.push(recording.locations.len() as u64 + 1);
        }
        assert!((of_site[&ids] - measure.bytes.value).abs() <= 0.5 + 1e-6);
    }
}

#[test]
fn other_files_are_told_from_recordings() {
    assert!(matches!(read_back(b""), Err(ReadError::NotGzip)));
    assert!(matches!(read_back(b"main;malloc 10\n"), Err(ReadError::NotGzip)));
    assert!(matches!(read_back(&compressed(b"hello, world")), Err(ReadError::NotPprof(_))));
    assert!(matches!(read_back(&compressed(b"")), Err(ReadError::NotTracer)));
    let file = written(&program::recording());
    assert!(matches!(read_back(&file[..file.len() / 2]), Err(ReadError::Damaged(_))));
    // Somebody else's: the same without tracer's comment.
    let other = edited(&file, |text| if text.starts_with(envelope::MARK) { "{}".into() } else { text.into() });
    let error = read_back(&other).unwrap_err();
    assert!(matches!(error, ReadError::NotTracer), "{error}");
    let later = edited(&file, |text| text.replace("{\"tracer_recording\":1,", "{\"tracer_recording\":2,\"new\":{},"));
    assert!(matches!(read_back(&later), Err(ReadError::Later(2))));
}

/// The file with its strings changed.
fn edited(file: &[u8], edit: impl Fn(&str) -> String) -> Vec<u8> {
    let profile = decompressed(file);
    let mut edited = Vec::new();
    for field in Fields::new(&profile) {
        match field.unwrap() {
            (field::STRING_TABLE, Value::Bytes(text)) => {
                let text = edit(std::str::from_utf8(text).unwrap());
                prost::encoding::string::encode(field::STRING_TABLE, &text, &mut edited);
            }
            (tag, Value::Bytes(message)) => {
                prost::encoding::bytes::encode(tag, &message.to_vec(), &mut edited);
            }
            (tag, Value::Varint(number)) => prost::encoding::uint64::encode(tag, &number, &mut edited),
            (_, Value::Fixed) => {}
        }
    }
    compressed(&edited)
}

#[test]
fn limits_hold() {
    let file = written(&program::recording());
    for limits in [
        Limits { decompressed: 1000, ..Limits::default() },
        Limits { rows: 100, ..Limits::default() },
        Limits { names: 100, ..Limits::default() },
        Limits { frames: 3, ..Limits::default() },
        Limits { lines: 1, ..Limits::default() },
        Limits { expanded_frames: 50, ..Limits::default() },
    ] {
        let error = read(&file[..], &limits).unwrap_err();
        assert!(matches!(error, ReadError::TooLarge { .. }), "{limits:?}: {error}");
    }
    // A bomb: a thousand times its size.
    let bomb = compressed(&vec![0; 2 << 20]);
    let limits = Limits { decompressed: 1 << 20, ..Limits::default() };
    assert!(matches!(read(&bomb[..], &limits), Err(ReadError::TooLarge { .. })));
}

#[test]
fn wrong_indices_are_found() {
    let break_with = |change: fn(&mut Recording)| {
        let mut recording = program::recording();
        change(&mut recording);
        read_back(&written(&recording)).unwrap_err().to_string()
    };
    assert_eq!(break_with(|r| r.stacks[0].frames[0] = 9999), "it is damaged: there is no location 10000");
    assert_eq!(break_with(|r| r.locations[0].lines[0].function = 9999), "it is damaged: there is no function 10000");
    assert_eq!(break_with(|r| r.locations[0].lines.clear()), "it is damaged: location 1 has no function");
    assert_eq!(break_with(|r| r.locations[0].module = Some(77)), "it is damaged: there is no mapping 78");
    assert_eq!(break_with(|r| r.samples[0].counter = 3), "it is damaged: there is no counter 3");
    assert_eq!(break_with(|r| r.about.counters[0].classes[0].class = 48), "it is damaged: there is no size class 48");
}
