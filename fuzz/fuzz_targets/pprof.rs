//! Any bytes as the content of a recording: an error, or a recording with which everything can be done.
#![no_main]

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use libfuzzer_sys::fuzz_target;
use tracer::{
    output::Format,
    profile::{Options, Profile, Rules},
    recording::pprof::{Limits, read},
};

fuzz_target!(|profile: &[u8]| {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
    let Ok(file) = gzip.write_all(profile).and_then(|()| gzip.finish()) else { return };
    let Ok(recording) = read(&file[..], &Limits { decompressed: 1 << 20, ..Limits::default() }) else { return };
    let mut rules = Rules::default();
    rules.add_option("a=a").expect("the rule is sound");
    let profile = Profile::with_options(&recording, &Options { rules, ..Options::default() });
    for format in Format::ALL {
        format.write(&recording, &profile, &mut Vec::new()).expect("memory takes everything");
    }
});
