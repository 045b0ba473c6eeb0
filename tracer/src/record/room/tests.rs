use tracer_ebpf::abi::sample::Frame;

use super::*;
use crate::{
    estimate::inclusion::{probability, weigh},
    record::{
        live::Fate,
        thin::tests::{assert_unbiased, sample},
    },
};

const LIMIT: u32 = 100;
const BLOCKS: u64 = 6000;
/// How often it is seen whether there is room, in blocks.
const LOOK: u64 = 10;
const INTERVAL: u64 = 2000;

/// Bytes of a block of the simulated program; whether it stays.
fn block(number: u64) -> (u64, bool) {
    ([16, 160, 1600, 16_000][(number % 4) as usize] + number % 13, number.is_multiple_of(97))
}

/// Runs the program, whose blocks live until 50 others were made, or stay. Returns the estimates of bytes allocated, of bytes in use
/// at the end, and the estimate of bytes in use without thinning; and the most samples that were not in use.
fn simulate(random: &mut Random, seed: u64) -> ([f64; 3], usize) {
    let mut room = Room::new(LIMIT, Unit::Bytes, seed);
    let (mut samples, mut most, mut whole) = (Samples::default(), 0, 0.0);
    let bytes = |size, interval| weigh(size, interval, 1.0).bytes.value;
    for number in 0..BLOCKS {
        let (size, stays) = block(number);
        if random.unit() < probability(size, INTERVAL) {
            let index = samples.len() as u32;
            samples.push(sample(size, INTERVAL), Frame(number));
            let fate = if stays { Fate::InUse } else { Fate::Released { ns: number + 50, by: 1 } };
            whole += if stays { bytes(size, INTERVAL) } else { 0.0 };
            samples.get_mut(index).unwrap().fate = fate;
        }
        if !number.is_multiple_of(LOOK) {
            continue;
        }
        let is_in_use = |fate| match fate {
            Fate::Released { ns, .. } => ns > number,
            _ => true,
        };
        let in_use: Vec<bool> = samples.iter().map(|sample| is_in_use(sample.fate)).collect();
        let others = in_use.iter().filter(|in_use| !**in_use).count();
        if room.is_full(others) {
            room.make(&mut samples, INTERVAL, |index| !in_use[index]);
        }
        most = most.max(others);
    }
    assert!(room.times > 3 && room.note().is_some());
    let sum = |which: &dyn Fn(&Fate) -> bool| {
        let those = samples.iter().filter(|sample| which(&sample.fate));
        those.map(|sample| bytes(sample.size, sample.interval)).sum::<f64>()
    };
    ([sum(&|_| true), sum(&|fate| *fate == Fate::InUse), whole], most)
}

/// When samples are thinned depends on how many there are, and which on what became of their blocks: nothing of that must show.
#[test]
fn released_samples_are_bounded_and_nothing_is_biased() {
    let mut random = Random::new(1);
    let runs: Vec<_> = (0..1500).map(|seed| simulate(&mut random, seed)).collect();
    assert!(runs.iter().all(|(_, most)| *most <= (u64::from(LIMIT) + LOOK) as usize));
    let truth =
        |stays: bool| (0..BLOCKS).map(block).filter(|block| !stays || block.1).map(|block| block.0).sum::<u64>();
    let estimates = |which: usize| runs.iter().map(|(estimates, _)| estimates[which]).collect::<Vec<_>>();
    assert_unbiased("allocated", &estimates(0), truth(false) as f64);
    assert_unbiased("in use", &estimates(1), truth(true) as f64);
    // Released samples do not take anything from those in use.
    assert_eq!(estimates(1), estimates(2));
}

#[test]
fn what_fits_is_left_alone() {
    let room = Room::new(3, Unit::Bytes, 1);
    assert!(!room.is_full(3) && room.is_full(4));
    assert_eq!(room.note(), None);
}
