//! BPF programs on malloc and free of the target.

use std::{num::NonZeroU32, path::PathBuf};

use anyhow::{Context as _, anyhow, ensure};
use tracer::{
    allocators::{self, End, ModuleSymbols, ProbePoint},
    probe::{
        live::{LiveOptions, LivePoints},
        multi::{MultiLink, Point},
        programs::{CALIBRATION, Options, Programs},
        uprobes::Probes as Attached,
    },
    record::{
        decode::{RawSample, Record, decode},
        processes::Processes,
    },
    target::Modules,
};
use tracer_ebpf::abi::settings::Settings;

/// Nothing is sampled: far more bytes than a benchmark allocates.
pub const NEVER: u64 = u32::MAX as u64;
/// Every allocation is sampled.
pub const ALWAYS: u64 = 0;
const RING_BYTES: u32 = 32 << 20;

/// Loaded programs and the C library to attach them to.
pub struct Probes {
    /// The programs.
    pub programs: Programs,
    library: PathBuf,
    /// malloc, where recordings have their breakpoint.
    pub malloc: Point,
    /// free, where recordings that follow blocks have theirs.
    pub free: Point,
    /// The first instruction of free.
    pub free_entry: Point,
    /// All functions that allocate or resize.
    pub allocating: Vec<Point>,
    /// What recordings that follow blocks attach.
    pub following: LivePoints,
    processes: Processes,
    // Keeps the library open.
    _modules: Modules,
}

impl Probes {
    /// Loads the programs and finds the C library of the process. `live`: blocks are followed, with session links or without.
    ///
    /// # Errors
    /// When the kernel refuses the programs, or no malloc is found.
    pub fn new(pid: u32, live: Option<bool>) -> anyhow::Result<Self> {
        let mut modules = Modules::new();
        modules.scan(pid)?;
        let library = modules.iter().find(|module| module.path.ends_with("/libc.so.6"));
        let library = library.context("the target has no libc.so.6")?;
        let path = library.descriptor_path().context("the C library is gone")?;
        let reader = library.elf().map_err(|missing| anyhow!("{missing}"))?;
        let symbols = ModuleSymbols::read(&library.path, &object::File::parse(&reader)?)?;
        let plan = allocators::discover(&[symbols], allocators::Options { releases: true, ..Default::default() })?;
        let find = |name: &str| {
            let is = |point: &&ProbePoint| point.function == name || point.aliases.iter().any(|a| a == name);
            plan.probes.iter().find(is).with_context(|| format!("no {name} in the C library"))
        };
        let (malloc, free) = (find("malloc")?, find("free")?);
        let cookie = malloc.cookie(0).context("malloc has no size")?.0;
        let malloc = Point { file_offset: malloc.file_offset, cookie };
        let free_entry = free.file_offset - u64::from(free.placement.offset);
        let release = free.release_cookie().context("free releases nothing")?.0;
        let free = Point { file_offset: free.file_offset, cookie: release };
        let (allocating, following) = points(&plan.probes);
        drop(reader);

        let settings = Settings {
            interval: NEVER,
            max_frames: 128,
            enabled: 1,
            wakeup_bytes: u64::from(RING_BYTES),
            ..Settings::default()
        };
        let live = live.map(|sessions| LiveOptions { blocks: 1 << 18, sessions });
        let programs = Programs::load_with(&Options { settings, ring_bytes: RING_BYTES, live }, &CALIBRATION)?;
        if let Some(refused) = programs.multi_refused() {
            return Err(anyhow!("{refused}"));
        }
        let processes = Processes::new(Modules::new(), 64 << 20);
        let free_entry = Point { file_offset: free_entry, cookie };
        Ok(Self {
            programs,
            library: path,
            malloc,
            free,
            free_entry,
            allocating,
            following,
            processes,
            _modules: modules,
        })
    }

    /// Gives the kernel the unwind tables of a process.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn add_tables(&mut self, pid: u32) -> anyhow::Result<()> {
        Ok(self.processes.follow(&mut self.programs.maps, pid)?)
    }

    /// How densely the allocation program samples.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_interval(&mut self, interval: u64) -> anyhow::Result<()> {
        Ok(self.programs.maps.settings.change(|settings| settings.interval = interval)?)
    }

    /// Does `work` with a program attached to a point in a process.
    ///
    /// # Errors
    /// What the kernel says, or `work`.
    pub fn attached<T>(
        &mut self,
        program: &str,
        point: Point,
        pid: u32,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let pid = NonZeroU32::new(pid);
        if program == "allocation" {
            let probes = self.programs.attach(&self.library, &[point], pid)?;
            let result = work();
            drop(probes);
            return result;
        }
        let link = self.programs.attach_program(program, &self.library, &[point], pid)?;
        let result = work();
        drop(link);
        result
    }

    /// Attaches a program to a point in a process, until the link is dropped.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn link(&self, program: &str, point: Point, pid: u32) -> anyhow::Result<MultiLink> {
        Ok(self.programs.attach_program(program, &self.library, &[point], NonZeroU32::new(pid))?)
    }

    /// Attaches what follows blocks, until the links are dropped.
    ///
    /// # Errors
    /// What the kernel says, or when the programs were not loaded.
    pub fn follow(&self, points: &LivePoints, pid: u32) -> anyhow::Result<Vec<MultiLink>> {
        let live = self.programs.live.as_ref().context("the programs that follow blocks were not loaded")?;
        Ok(live.attach(&self.library, points, NonZeroU32::new(pid))?)
    }

    /// Attaches the allocation program to all functions that allocate, by a multi link.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn attach_all(&mut self, pid: u32) -> anyhow::Result<Attached> {
        Ok(self.programs.attach(&self.library, &self.allocating, NonZeroU32::new(pid))?)
    }

    /// The same to one function, by a perf event.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn attach_perf_event(&mut self, point: Point, pid: u32) -> anyhow::Result<Attached> {
        Ok(self.programs.attach_perf_events(&self.library, &[point], NonZeroU32::new(pid))??)
    }

    /// Throws away what is in the ring buffer.
    ///
    /// # Errors
    /// When it was taken.
    pub fn discard(&mut self) -> anyhow::Result<()> {
        let ring = self.programs.maps.events.as_mut().context("the ring buffer was taken")?;
        while ring.next().is_some() {}
        Ok(())
    }

    /// Takes the samples out of the ring buffer.
    ///
    /// # Errors
    /// When there is something else in it than samples and process events.
    pub fn samples(&mut self) -> anyhow::Result<Vec<RawSample>> {
        let ring = self.programs.maps.events.as_mut().context("the ring buffer was taken")?;
        let mut samples = Vec::new();
        while let Some(item) = ring.next() {
            if let Record::Sample(sample) = decode(&item)? {
                samples.push(sample);
            }
        }
        Ok(samples)
    }

    /// Fails when the programs could not do their work on some hit: then they were not measured.
    ///
    /// # Errors
    /// That is the point.
    pub fn expect_no_loss(&self) -> anyhow::Result<()> {
        let losses = tracer::probe::counters::losses(&self.programs.maps)?;
        ensure!(losses.iter().all(|&loss| loss == 0), "the programs lost hits: {losses:?}");
        Ok(())
    }
}

/// The points of all functions that allocate, and those of recordings that follow blocks.
fn points(probes: &[ProbePoint]) -> (Vec<Point>, LivePoints) {
    let (mut allocating, mut following) = (Vec::new(), LivePoints::default());
    for (slot, probe) in (0..).zip(probes) {
        let at =
            |cookie: tracer_ebpf::abi::allocation::Cookie| Point { file_offset: probe.file_offset, cookie: cookie.0 };
        following.releasing.extend(probe.release_cookie().map(at));
        let place = probe.cookie(slot).map(at);
        allocating.extend(place);
        match &probe.end {
            End::Return => following.returning.extend(place),
            End::Exits(exits) => {
                following.leaving.extend(place);
                following.exits.extend(exits.iter().map(|&file_offset| Point { file_offset, cookie: 0 }));
            }
            End::Unwatched | End::Unseen(_) => {}
        }
    }
    (allocating, following)
}
