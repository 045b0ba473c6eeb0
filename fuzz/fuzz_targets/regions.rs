//! Any text as a file of rules, and any as an option: an error of one line, or rules that can be used.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer::{
    profile::{Options, Profile, Rules},
    recording::{Function, Line, Location, Recording, Sample, Stack, StackEnd},
};

fuzz_target!(|text: &str| {
    let mut rules = Rules::default();
    for added in [rules.add_file("fuzz.toml", text), rules.add_option(text)] {
        if let Err(error) = added {
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
        }
    }
    let recording = Recording {
        functions: vec![Function { name: text.to_owned(), ..Function::default() }],
        locations: vec![Location { lines: vec![Line::default()], ..Location::default() }],
        stacks: vec![Stack { frames: vec![0], end: StackEnd::Complete, frame_pointer_frames: 0 }],
        samples: vec![Sample { size: 1, ..Sample::default() }],
        ..Recording::default()
    };
    let any = !rules.is_empty();
    let profile = Profile::with_options(&recording, &Options { rules, ..Options::default() });
    assert_eq!(profile.regions.is_some(), any);
});
