//! The tools that are compared: this one, and others that are installed. Those that are not are said to be absent.

mod bpftrace;
mod inside;
mod memleak;
mod perf;
mod tracer;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

pub use inside::{Inside, insides};

use super::{attachment::Attachment, report::Section, target::folder};
use crate::demo::background::Background;

/// After the first breakpoint: others are being put in, and tracer finds its interval.
const SETTLING: Duration = Duration::from_secs(1);

/// tracer with its default budget.
pub const TRACER: &str = "tracer";
/// tracer, trapping every call.
pub const TRACER_ALWAYS: &str = "tracer, no budget";
/// What entry-only tracing with a stack is compared with.
pub const BPFTRACE_SUM: &str = "bpftrace, `@[ustack] = sum(arg0)`";
/// tracer, following sampled blocks.
pub const TRACER_LIVE: &str = "tracer --live, no budget";
/// What following blocks is compared with.
pub const MEMLEAK: &str = "bcc memleak";
/// The same.
pub const BPFTRACE_LEAKS: &str = "bpftrace, leaks";

/// A tool that watches a process by its id.
pub struct Tool {
    /// As shown.
    pub name: &'static str,
    command: Start,
    /// Whether it is only tried on the loop: it is like another.
    only_loop: bool,
}

type Start = Box<dyn Fn(&Watched<'_>) -> anyhow::Result<Command>>;

/// A process to be watched.
pub struct Watched<'a> {
    /// Its id.
    pub pid: u32,
    /// Whose malloc it uses.
    pub library: &'a Path,
}

/// All tools, and why some are absent.
pub struct Tools {
    /// Those that are there.
    pub tools: Vec<Tool>,
    absent: Vec<String>,
    folder: PathBuf,
}

impl Tools {
    /// Finds them.
    ///
    /// # Errors
    /// When tracer does not build.
    pub fn find() -> anyhow::Result<Self> {
        let folder = folder()?;
        let mut found = Self { tools: tracer::tools(&folder)?, absent: Vec::new(), folder: folder.clone() };
        found.add("bpftrace", bpftrace::tools());
        found.add("bcc memleak", memleak::tools(&folder));
        found.add("perf", perf::tools(&folder));
        Ok(found)
    }

    fn add(&mut self, what: &str, tools: anyhow::Result<Vec<Tool>>) {
        match tools {
            Ok(tools) => self.tools.extend(tools),
            Err(error) => self.absent.push(format!("{what} ({error:#})")),
        }
    }

    /// Without those that are only tried on the loop.
    #[must_use]
    pub fn for_programs(mut self) -> Self {
        self.tools.retain(|tool| !tool.only_loop);
        self
    }

    /// Has a tool watch a process; returns when its breakpoints are in and it has settled.
    ///
    /// # Errors
    /// When it does not attach.
    pub fn watch(&self, tool: &Tool, pid: u32, attachment: &Attachment) -> anyhow::Result<Background> {
        let mut command = (tool.command)(&Watched { pid, library: attachment.library() })?;
        let mut running = Background::start(&mut command, &self.folder.join("tool.log"))?;
        attachment.wait(true, || running.expect_running())?;
        thread::sleep(SETTLING);
        running.expect_running()?;
        Ok(running)
    }

    /// Says which are not there.
    pub fn name_absent(&self, section: &mut Section) {
        if !self.absent.is_empty() {
            section.line(&format!("Not measured: {}.", self.absent.join("; ")));
        }
    }
}

impl Drop for Tools {
    fn drop(&mut self) {
        perf::delete_event();
        // Large, and of no interest: they fail only where nothing was recorded.
        for file in ["perf.data", "heaptrack.raw", "tool.pb.gz"] {
            fs::remove_file(self.folder.join(file)).ok();
        }
    }
}
