//! Takes a recording of a running program. The one place where the tests meet the session.

use std::{os::unix::net::UnixStream, sync::MutexGuard, sync::PoisonError, thread};

use tracer::{
    record::{interval::IntervalSetting, raw::RawRecording, request::Request, session::Session},
    target::Process,
};

/// Every keyed allocation of the shim, and hardly any other: the keys are far larger than any draw from this mean.
pub const ONLY_KEYED: IntervalSetting = IntervalSetting::Fixed(1 << 40);
/// Every allocation.
pub const EVERY: IntervalSetting = IntervalSetting::Fixed(0);

/// What the tests ask for unless they say otherwise.
pub fn request(interval: IntervalSetting) -> Request {
    Request {
        duration: None,
        event: None,
        interval,
        max_overhead: None,
        max_samples: 1 << 24,
        max_frames: 1024,
        ring_bytes: 64 << 20,
        table_bytes: 64 << 20,
        children: false,
        live: None,
    }
}

/// Records the process `pid` while `act` runs.
pub fn record<T: Send>(pid: u32, request: Request, act: impl FnOnce() -> T + Send) -> (RawRecording, T) {
    record_and_inspect(&[pid], request, act, |_| {})
}

/// The same of several processes, with a look at the session when `act` is over.
pub fn record_and_inspect<T: Send>(
    pids: &[u32],
    request: Request,
    act: impl FnOnce() -> T + Send,
    inspect: impl FnOnce(&Session),
) -> (RawRecording, T) {
    record_with(pids, request, act, || {}, inspect)
}

/// The same. `looked` is called when the recording has looked at its counters, and goes on when that returns.
pub fn record_with<T: Send>(
    pids: &[u32],
    request: Request,
    act: impl FnOnce() -> T + Send,
    looked: impl Fn(),
    inspect: impl FnOnce(&Session),
) -> (RawRecording, T) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let _in_runtime = runtime.enter();
    let mut session = Session::new(request).unwrap_or_else(|error| panic!("{error}"));
    for &pid in pids {
        let target = Process::open(pid).expect("the program runs");
        let points = session.discover(&target).expect("the program has an allocator");
        session.add(target, &points).unwrap_or_else(|error| panic!("{error}"));
    }
    session.begin().expect("the settings can be changed");
    // One end is dropped when `act` is over, by return or by panic: that ends the recording.
    let (acting, stop) = UnixStream::pair().expect("a socket pair can be made");
    stop.set_nonblocking(true).expect("a socket can be made non-blocking");
    let stop = tokio::net::UnixStream::from_std(stop).expect("the runtime takes the socket");
    thread::scope(|scope| {
        let act = scope.spawn(move || {
            let _acting = acting;
            act()
        });
        let stopped = async { stop.readable().await.expect("the socket can be waited for") };
        let ended = runtime.block_on(session.run(stopped, |_| looked())).unwrap_or_else(|error| panic!("{error}"));
        inspect(&session);
        let recording = session.finish(ended).unwrap_or_else(|error| panic!("{error}"));
        (recording, act.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// What every test of this suite begins with: `None`, and the reason on standard error, where it cannot run. The tests run one at
/// a time as long as they hold the guard, whatever the number of test threads.
pub fn alone() -> Option<MutexGuard<'static, ()>> {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    // SAFETY: takes no arguments and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: needs root, to load BPF programs");
        return None;
    }
    Some(ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
}
