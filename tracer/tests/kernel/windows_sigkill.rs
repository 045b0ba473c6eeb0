//! tracer is killed while probes come and go, again and again: the target's code is put back, and it goes on.

use std::{
    hash::{BuildHasher as _, RandomState},
    path::Path,
    thread,
    time::Duration,
};

use crate::{
    recording::alone,
    sigkill::{Code, LOOK, Tracer, wait_until},
    storm::{Rhythm, Storm},
};

/// How often tracer is killed; `TRACER_KILLS` for more.
const KILLS: u32 = 6;

/// When it is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// As soon as a breakpoint is seen: others are on their way.
    Attaching,
    /// At some time after that.
    Recording,
}

#[test]
fn a_tracer_killed_between_windows_and_in_them_leaves_the_target_alone() {
    let Some(_guard) = alone() else { return };
    kill_again_and_again(Moment::Recording);
}

#[test]
fn a_tracer_killed_while_it_attaches_leaves_the_target_alone() {
    let Some(_guard) = alone() else { return };
    kill_again_and_again(Moment::Attaching);
}

fn kill_again_and_again(moment: Moment) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let kills = std::env::var("TRACER_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let mut storm = Storm::endless(1, Rhythm::STEADY);
    let code = Code::of(storm.pid());
    assert_eq!(code.changed(), 0, "something else has changed the code: is another tracer at work?");
    storm.go();
    for _ in 0..kills {
        kill(moment, &storm, &code, directory.path());
        wait_until("the probes are gone", LOOK, || code.changed() == 0);
    }
    let truth = storm.stop();
    assert!(truth.calls > 0);
    storm.finish();
    println!("{moment:?}: {kills} kills");
}

fn kill(moment: Moment, storm: &Storm, code: &Code, directory: &Path) {
    let mut tracer = Tracer::start(storm.pid(), &[], directory);
    // Attaching takes less than a millisecond.
    let look = Duration::from_micros(50);
    wait_until("the probes are there", look, || {
        tracer.assert_runs();
        code.changed() > 0
    });
    if let Moment::Recording = moment {
        thread::sleep(Duration::from_micros(RandomState::new().hash_one(0) % 1_500_000));
    }
    tracer.assert_runs();
    tracer.kill();
}
