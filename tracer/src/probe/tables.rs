//! Unwind tables on their way into the kernel.
//!
//! Shards are memory-mapped maps: only the words that changed are written, and no shard is copied as a whole.

use std::{
    collections::{HashMap, hash_map::Entry},
    os::fd::{AsFd as _, AsRawFd as _},
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};

use aya::maps::{Array, Map, MapData, MapError};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY;
use tracer_ebpf::abi::unwind::SHARD_WORDS;

use super::{
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
    /// No memory for a shard.
    #[error("mapping a shard of unwind tables failed: {0}")]
    Mapping(std::io::Error),
}

/// The shards that the kernel has.
#[derive(Debug, Default)]
pub struct Uploaded {
    shards: HashMap<u32, MappedShard>,
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
        for (index, rule) in (first..).zip(rules) {
            maps.rules.set(index, Value(*rule), 0)?;
        }
        for DirtyShard { shard, words, changed } in placements.take_dirty() {
            let mapped = match self.shards.entry(shard) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let (map, mapped) = new_shard()?;
                    maps.shards.set(shard, &map, 0)?;
                    entry.insert(mapped)
                }
            };
            if let Some(new) = words.get(changed.clone()) {
                mapped.write(changed.start, new);
            }
        }
        Ok(())
    }
}

/// An empty shard, and its memory.
fn new_shard() -> Result<(Array<MapData, Value<Shard>>, MappedShard), UploadError> {
    let description = aya_obj::Map::new_from_params(BPF_MAP_TYPE_ARRAY as u32, 4, SHARD_BYTES as u32, 1, MMAPABLE);
    let data = MapData::create(description, "shard", None)?;
    let mapped = MappedShard::new(&data)?;
    Ok((Array::try_from(Map::Array(data))?, mapped))
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
            _ => Err(UploadError::Mapping(std::io::Error::last_os_error())),
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
