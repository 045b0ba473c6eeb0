//! Makes switching uprobes quick.
//!
//! Whoever puts a uprobe in or takes it out holds `dup_mmap_sem` for writing (kernel/events/uprobes.c). The first writer after a
//! pause waits for a grace period, 4 to 30 ms, and while probes wait to go they cost what they cost. Writers that come
//! before another grace period is over do not wait (kernel/rcu/sync.c). So a thread switches a uprobe on nothing, in a file
//! that nobody maps, shortly before a switch that matters, and again and again until then. Meanwhile readers of the semaphore, which
//! are those who fork, find its slow path: a memory barrier more, and microseconds of waiting where they meet a writer. Writers wait
//! for forks that are under way, and one behind the other: so never more than one of these switches is.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::{AsRawFd as _, OwnedFd},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::probe::multi::{MultiProgram, Point};

/// Between two switches of the uprobe on nothing: less than any grace period takes.
const STEP: Duration = Duration::from_millis(2);
/// Nobody needs switches to be quick for so long.
const LONGEST: Duration = Duration::from_millis(200);
/// Switches that did not wait take less.
const WAITED: Duration = Duration::from_millis(1);
/// How long before a switch to begin, before it is known how long a grace period takes; and the least and the most of it.
const LEAD: [Duration; 3] = [Duration::from_millis(12), Duration::from_millis(6), Duration::from_millis(40)];
/// Threads that may wait for the kernel at once, each with links to close.
const MAX_CLOSING: usize = 8;

/// See the module. Dropping it ends its thread.
#[derive(Debug)]
pub struct Primer {
    commands: Option<Sender<bool>>,
    ready: Receiver<()>,
    /// Nanoseconds, see [`Primer::lead`].
    lead: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
    /// Between [`Primer::begin`] and [`Primer::end`].
    on: bool,
}

impl Primer {
    /// A thread that waits to be told. It has the priority of the calling one.
    ///
    /// # Errors
    /// When there is no memory, or no thread to be had.
    pub fn new(program: Arc<MultiProgram>) -> io::Result<Self> {
        let nothing = Nothing::new(program)?;
        let (commands, received) = channel();
        let (tell, ready) = channel();
        let lead = Arc::new(AtomicU64::new(LEAD[0].as_nanos() as u64));
        let mut work = Work { nothing, received, tell, lead: Arc::clone(&lead), closing: Vec::new() };
        let thread = thread::Builder::new().name("primer".to_owned()).spawn(move || work.run())?;
        Ok(Self { commands: Some(commands), ready, lead, thread: Some(thread), on: false })
    }

    /// Has switches be quick, about [`Primer::lead`] from now on. Returns at once.
    pub fn begin(&mut self) {
        if !self.on {
            while self.ready.try_recv().is_ok() {}
            self.on = true;
            self.tell(true);
        }
    }

    /// Waits until switches are quick, unless they are not going to be.
    pub fn wait(&mut self, at_most: Duration) {
        if self.on && self.ready.recv_timeout(at_most).is_err() {
            // It may still come, and must not be taken for the next one's.
            self.end();
        }
    }

    /// Quick switches are not needed any more.
    pub fn end(&mut self) {
        if self.on {
            self.on = false;
            self.tell(false);
        }
    }

    /// How long it takes.
    pub fn lead(&self) -> Duration {
        Duration::from_nanos(self.lead.load(Ordering::Relaxed))
    }

    fn tell(&self, on: bool) {
        if let Some(commands) = &self.commands {
            // It listens until this is dropped.
            let _ = commands.send(on);
        }
    }
}

impl Drop for Primer {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread works with.
struct Work {
    nothing: Nothing,
    received: Receiver<bool>,
    tell: Sender<()>,
    lead: Arc<AtomicU64>,
    /// What is closed waits for the kernel in threads of its own.
    closing: Vec<JoinHandle<()>>,
}

impl Work {
    fn run(&mut self) {
        while let Ok(on) = self.received.recv() {
            if on && !self.hold() {
                return;
            }
        }
    }

    /// Keeps switches quick until told otherwise; false when there is nobody to tell.
    fn hold(&mut self) -> bool {
        let begin = Instant::now();
        let mut links: Vec<OwnedFd> = self.nothing.attach().into_iter().collect();
        self.learn(begin.elapsed());
        // Where it cannot be done nobody shall wait for it.
        let mut stays = self.tell.send(()).is_ok();
        while stays && begin.elapsed() < LONGEST {
            match self.received.recv_timeout(STEP) {
                Ok(true) => {}
                Ok(false) => break,
                Err(RecvTimeoutError::Disconnected) => stays = false,
                Err(RecvTimeoutError::Timeout) => links.extend(self.nothing.attach()),
            }
        }
        self.close(links);
        stays
    }

    fn learn(&self, took: Duration) {
        if took >= WAITED {
            let before = Duration::from_nanos(self.lead.load(Ordering::Relaxed));
            let lead = (took + STEP).max(before.mul_f64(0.9)).clamp(LEAD[1], LEAD[2]);
            self.lead.store(lead.as_nanos() as u64, Ordering::Relaxed);
        }
    }

    /// One by one, for each waits until the kernel has seen the last hit end.
    fn close(&mut self, links: Vec<OwnedFd>) {
        self.closing.retain(|closing| !closing.is_finished());
        // Where there is no thread to be had, it waits here.
        if self.closing.len() < MAX_CLOSING {
            self.closing.extend(thread::Builder::new().name("primer".to_owned()).spawn(move || drop(links)));
        }
    }
}

/// A file that nobody maps.
#[derive(Debug)]
struct Nothing {
    program: Arc<MultiProgram>,
    file: File,
}

impl Nothing {
    fn new(program: Arc<MultiProgram>) -> io::Result<Self> {
        let memory = rustix::fs::memfd_create("nothing", rustix::fs::MemfdFlags::CLOEXEC)?;
        let mut file = File::from(memory);
        // A uprobe lies within its file.
        file.write_all(&[0x90; 64])?;
        Ok(Self { program, file })
    }

    /// `None` where the kernel refuses it.
    fn attach(&self) -> Option<OwnedFd> {
        let path = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        self.program.attach_here(&path, &[Point { file_offset: 0, cookie: 0 }]).ok()
    }
}
