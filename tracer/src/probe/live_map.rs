//! The map of sampled blocks that are in use, read many at once: there may be hundreds of thousands.

use std::{io, os::fd::AsFd as _};

use aya::maps::{Map, MapData, MapError};
use aya_obj::generated::bpf_cmd;
use tracer_ebpf::abi::live::{Block, BlockKey};

use super::bpf::{bpf_command, zeroed_attribute};

/// See the module.
#[derive(Debug)]
pub struct LiveMap(MapData);

/// Entries read at once. A bucket of the hash table must fit (`__htab_map_lookup_and_delete_batch` in kernel/bpf/hashtab.c).
const BATCH: usize = 4096;

const NO_KEY: BlockKey = BlockKey { pointer: 0, process: 0, padding: 0 };
const NO_BLOCK: Block = Block { time_ns: 0, released_ns: 0, thread: 0, released_by: 0 };

impl LiveMap {
    pub(super) fn new(map: Map) -> Result<Self, MapError> {
        match map {
            Map::HashMap(data) => Ok(Self(data)),
            _ => Err(MapError::InvalidName { name: "LIVE".to_owned() }),
        }
    }

    /// All entries. Those that come or go meanwhile may be missing.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read(&self) -> io::Result<Vec<(BlockKey, Block)>> {
        let mut all = Vec::new();
        let (mut keys, mut blocks) = (vec![NO_KEY; BATCH], vec![NO_BLOCK; BATCH]);
        let (mut position, mut next, mut first) = (0u32, 0u32, true);
        loop {
            let mut attribute = zeroed_attribute();
            // SAFETY: every field of the union is plain data.
            let batch = unsafe { &mut attribute.batch };
            batch.in_batch = if first { 0 } else { &raw mut position as u64 };
            batch.out_batch = &raw mut next as u64;
            batch.keys = keys.as_mut_ptr() as u64;
            batch.values = blocks.as_mut_ptr() as u64;
            batch.count = BATCH as u32;
            batch.map_fd = self.fd();
            let result = bpf_command(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attribute);
            // SAFETY: as above.
            let count = unsafe { attribute.batch.count } as usize;
            let is_end = result.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ENOENT));
            if !is_end {
                result?;
            }
            all.extend(keys.iter().copied().zip(blocks.iter().copied()).take(count));
            if is_end {
                return Ok(all);
            }
            (position, first) = (next, false);
        }
    }

    /// Adds a block: for benchmarks. In a recording the kernel side adds them.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn insert(&self, mut key: BlockKey, mut block: Block) -> io::Result<()> {
        let mut attribute = zeroed_attribute();
        // SAFETY: every field of the union is plain data.
        let element = unsafe { &mut attribute.__bindgen_anon_2 };
        element.map_fd = self.fd();
        element.key = &raw mut key as u64;
        element.__bindgen_anon_1.value = &raw mut block as u64;
        bpf_command(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attribute).map(drop)
    }

    /// Removes a block unless another has its place by now; whether it was there.
    ///
    /// # Errors
    /// What the kernel says. [`io::ErrorKind::ResourceBusy`] when another block was removed in its place: it was allocated in
    /// the moment between reading and removing.
    pub fn remove(&self, mut key: BlockKey, block: Block) -> io::Result<bool> {
        let mut removed = NO_BLOCK;
        let mut attribute = zeroed_attribute();
        // SAFETY: every field of the union is plain data.
        let element = unsafe { &mut attribute.__bindgen_anon_2 };
        element.map_fd = self.fd();
        element.key = &raw mut key as u64;
        element.__bindgen_anon_1.value = &raw mut removed as u64;
        match bpf_command(bpf_cmd::BPF_MAP_LOOKUP_AND_DELETE_ELEM, &mut attribute) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
            Ok(_) if (removed.time_ns, removed.thread) == (block.time_ns, block.thread) => Ok(true),
            Ok(_) => Err(io::ErrorKind::ResourceBusy.into()),
        }
    }

    fn fd(&self) -> u32 {
        use std::os::fd::AsRawFd as _;
        self.0.fd().as_fd().as_raw_fd() as u32
    }
}
