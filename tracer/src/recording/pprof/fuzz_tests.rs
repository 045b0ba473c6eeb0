//! Damaged recordings: reading must end, in an error or in a recording with which everything can be done. A fixed seed;
//! `TRACER_FUZZ_ITERATIONS` asks for more than the default.

use super::read::parse;
use super::tests::decompressed;
use super::*;
use crate::estimate::Calibration;
use crate::output::Format;
use crate::profile::Profile;
use crate::recording::Recording;
use crate::synthetic::{Random, program};

fn iterations() -> u64 {
    std::env::var("TRACER_FUZZ_ITERATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(3000)
}

fn mutate(profile: &mut Vec<u8>, random: &mut Random) {
    // Mostly a single bit or byte: most insertions and removals shift everything behind them and end early.
    for _ in 0..=random.below(3) {
        let at = random.below(profile.len() as u64) as usize;
        match random.below(12) {
            0..=5 => profile[at] ^= 1 << random.below(8),
            6 | 7 => profile[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5) as usize],
            8 => profile.truncate(at + 1),
            9 => _ = profile.remove(at),
            10 => profile.insert(at, random.bits() as u8),
            _ => {
                let end = (at + random.below(64) as usize).min(profile.len());
                let piece = profile[at..end].to_vec();
                let to = random.below(profile.len() as u64) as usize;
                profile.splice(to..to, piece);
            }
        }
        if profile.is_empty() {
            profile.push(0);
        }
    }
}

#[test]
fn damaged_recordings_end_in_an_error_or_in_a_recording() {
    let mut recording = program::recording();
    recording.samples.truncate(40);
    let mut file = Vec::new();
    write(&recording, &Calibration::new(&recording), &mut file).unwrap();
    let original = decompressed(&file);
    let mut random = Random::new(2026);
    let limits = Limits { decompressed: 1 << 20, ..Limits::default() };
    let mut readable = 0;
    for _ in 0..iterations() {
        let mut profile = original.clone();
        mutate(&mut profile, &mut random);
        if let Ok(recording) = parse(&profile, &limits) {
            // Outputs take longer than reading does.
            if readable % 8 == 0 {
                use_everything(&recording);
            }
            readable += 1;
        }
    }
    println!("{readable} of {} were readable", iterations());
    assert!(readable > iterations() / 20, "no mutation left the file readable: they are too violent to test anything");
}

/// Damage to the gzip stream itself.
#[test]
fn damaged_compression_is_an_error_or_harmless() {
    let mut file = Vec::new();
    let recording = program::recording();
    write(&recording, &Calibration::new(&recording), &mut file).unwrap();
    let mut random = Random::new(7);
    for _ in 0..iterations() / 10 {
        let mut damaged = file.clone();
        mutate(&mut damaged, &mut random);
        let _ = read(&damaged[..], &Limits::default());
    }
}

fn use_everything(recording: &Recording) {
    let profile = Profile::new(recording);
    for format in Format::ALL {
        let mut out = Vec::new();
        format.write(recording, &profile, &mut out).unwrap();
    }
}
