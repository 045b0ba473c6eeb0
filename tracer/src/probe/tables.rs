//! Unwind tables on their way into the kernel.
//!
//! Shards are maps that are mapped while they are written: only the words that changed are, and no shard is copied as a whole. The kernel
//! maps all pages at once (`array_map_mmap` in kernel/bpf/arraymap.c), so that they would count as memory of tracer's for as long
//! as they stay mapped.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    os::fd::{AsFd as _, AsRawFd as _},
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};

use aya::maps::{Array, IterableMap as _, Map, MapData, MapError};
use aya_obj::generated::{bpf_cmd, bpf_map_type::BPF_MAP_TYPE_ARRAY};
use tracer_ebpf::abi::unwind::{Rule, SHARD_WORDS};

use super::{
    bpf::{bpf_command, zeroed_attribute},
    programs::Maps,
    value::{Shard, Value},
};
use crate::unwind::{DirtyShard, Placements};

/// `BPF_F_MMAPABLE` (include/uapi/linux/bpf.h).
const MMAPABLE: u32 = 1 << 10;
const SHARD_BYTES: usize = SHARD_WORDS as usize * 4;

/// Why tables could not be handed to the kernel.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// A map.
    #[error("BPF map for unwind tables: {0}")]
    Map(#[from] MapError),
    /// The rules of tables.
    #[error("handing over the rules of unwind tables failed: {0}")]
    Rules(io::Error),
    /// No memory for a shard.
    #[error("mapping a shard of unwind tables failed: {0}")]
    Mapping(io::Error),
}

/// The shards that the kernel has.
#[derive(Debug, Default)]
pub struct Uploaded {
    /// The kernel's ids of their maps. Its array of shards keeps them.
    shards: HashMap<u32, u32>,
}

/// The words of one shard, shared with the kernel.
#[derive(Debug)]
struct MappedShard {
    words: NonNull<AtomicU32>,
}

impl Uploaded {
    /// Hands over everything that is new: first rules, then words. Mappings that use them come after this.
    ///
    /// # Errors
    /// See [`UploadError`].
    pub fn upload(&mut self, maps: &mut Maps, placements: &mut Placements) -> Result<(), UploadError> {
        let (first, rules) = placements.take_new_rules();
        upload_rules(&maps.rules, first, rules).map_err(UploadError::Rules)?;
        for DirtyShard { shard, words, changed } in placements.take_dirty() {
            let mapped = match self.shards.entry(shard) {
                Entry::Occupied(entry) => MappedShard::new(&MapData::from_id(*entry.get())?)?,
                Entry::Vacant(entry) => {
                    let data = new_shard()?;
                    let (id, mapped) = (data.info()?.id(), MappedShard::new(&data)?);
                    let map: Array<MapData, Value<Shard>> = Array::try_from(Map::Array(data))?;
                    maps.shards.set(shard, &map, 0)?;
                    entry.insert(id);
                    mapped
                }
            };
            if let Some(new) = words.get(changed.clone()) {
                mapped.write(changed.start, new);
            }
        }
        Ok(())
    }
}

/// Hands over rules, all in one system call: a large program has more than a thousand.
fn upload_rules(map: &Array<MapData, Value<Rule>>, first: u32, rules: &[Rule]) -> io::Result<()> {
    if rules.is_empty() {
        return Ok(());
    }
    let indices: Vec<u32> = (first..).take(rules.len()).collect();
    let mut attribute = zeroed_attribute();
    // SAFETY: every field of the union is plain data.
    let batch = unsafe { &mut attribute.batch };
    batch.keys = indices.as_ptr() as u64;
    batch.values = rules.as_ptr() as u64;
    batch.count = indices.len() as u32;
    batch.map_fd = map.map().fd().as_fd().as_raw_fd() as u32;
    bpf_command(bpf_cmd::BPF_MAP_UPDATE_BATCH, &mut attribute).map(drop)
}

/// An empty shard.
fn new_shard() -> Result<MapData, MapError> {
    let description = aya_obj::Map::new_from_params(BPF_MAP_TYPE_ARRAY as u32, 4, SHARD_BYTES as u32, 1, MMAPABLE);
    MapData::create(description, "shard", None)
}

impl MappedShard {
    fn new(map: &MapData) -> Result<Self, UploadError> {
        let fd = map.fd().as_fd().as_raw_fd();
        // SAFETY: a new shared mapping at an address that the kernel chooses; the map is as long as a shard.
        let address = unsafe {
            libc::mmap(std::ptr::null_mut(), SHARD_BYTES, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, fd, 0)
        };
        match NonNull::new(address) {
            Some(address) if address.as_ptr() != libc::MAP_FAILED => Ok(Self { words: address.cast() }),
            _ => Err(UploadError::Mapping(io::Error::last_os_error())),
        }
    }

    /// The kernel may read at any time; it does not look at words before a mapping refers to them.
    fn write(&self, start: usize, words: &[u32]) {
        let Some(end) = start.checked_add(words.len()).filter(|&end| end <= SHARD_WORDS as usize) else { return };
        // SAFETY: the mapping lives as long as `self` and holds SHARD_WORDS aligned words.
        let shared = unsafe { std::slice::from_raw_parts(self.words.as_ptr(), SHARD_WORDS as usize) };
        for (to, from) in shared[start..end].iter().zip(words) {
            to.store(*from, Ordering::Relaxed);
        }
    }
}

impl Drop for MappedShard {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made; nothing refers to it any more.
        unsafe { libc::munmap(self.words.as_ptr().cast(), SHARD_BYTES) };
    }
}
