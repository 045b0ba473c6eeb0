//! CPUs that do not sleep.
//!
//! A program that works a fifth of the time is woken a thousand times a second, on a CPU that the host has meanwhile given
//! to others: the CPU time of the same work then differs by half between one second and the next. With something that
//! always runs, and gives way to all else at once, it differs by some percent.

use std::{
    hint, io, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// Keeps all CPUs busy with threads that run where nothing else does (SCHED_IDLE, sched(7)). Dropping it ends them.
pub struct Awake {
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Awake {
    /// Starts a thread for each CPU; the kernel spreads them.
    ///
    /// # Errors
    /// When the kernel refuses threads, or the policy.
    pub fn start() -> io::Result<Self> {
        let mut awake = Self { end: Arc::default(), threads: Vec::new() };
        for _ in 0..thread::available_parallelism()?.get() {
            let (end, (tell, told)) = (Arc::clone(&awake.end), std::sync::mpsc::channel());
            awake.threads.push(thread::Builder::new().name("awake".into()).spawn(move || {
                let polite = give_way();
                let spin = polite.is_ok();
                let _ = tell.send(polite);
                while spin && !end.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            })?);
            told.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))?;
        }
        Ok(awake)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Has the calling thread run only where nothing else does.
fn give_way() -> io::Result<()> {
    // SAFETY: all zeros is a valid `sched_param`, and the priority that SCHED_IDLE asks for.
    let parameters: libc::sched_param = unsafe { mem::zeroed() };
    // SAFETY: the pointer is good for the call; 0 is the calling thread.
    let failed = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) } != 0;
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field 41 of /proc/PID/task/TID/stat, proc_pid_stat(5).
    fn policies() -> Vec<i32> {
        let process = procfs::process::Process::myself().unwrap();
        let tasks = process.tasks().unwrap().filter_map(|task| task.ok()?.stat().ok());
        tasks.filter(|stat| stat.comm == "awake").filter_map(|stat| stat.policy).map(u32::cast_signed).collect()
    }

    #[test]
    fn every_cpu_gets_a_thread_that_gives_way_and_ends() {
        let awake = Awake::start().unwrap();
        let cpus = thread::available_parallelism().unwrap().get();
        assert_eq!(policies(), vec![libc::SCHED_IDLE; cpus]);
        drop(awake);
        assert_eq!(policies(), Vec::<i32>::new());
    }
}
