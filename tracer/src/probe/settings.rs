//! What the programs are asked for, changed from several threads: one of them chooses the interval, another opens and closes
//! windows.

use std::sync::{Arc, Mutex, PoisonError};

use aya::maps::{Array, MapData, MapError};
use tracer_ebpf::abi::settings::Settings;

use super::value::Value;

/// The entry of the map `SETTINGS`. Clones are the same entry.
#[derive(Clone)]
pub struct SharedSettings(Arc<Mutex<Entry>>);

struct Entry {
    map: Array<MapData, Value<Settings>>,
    settings: Settings,
}

impl SharedSettings {
    /// Takes the map over and writes `settings`.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn new(map: Array<MapData, Value<Settings>>, settings: Settings) -> Result<Self, MapError> {
        let shared = Self(Arc::new(Mutex::new(Entry { map, settings })));
        shared.change(|_| {})?;
        Ok(shared)
    }

    /// What is in force.
    pub fn get(&self) -> Settings {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).settings
    }

    /// Changes them. The programs see it when this returns.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn change(&self, change: impl FnOnce(&mut Settings)) -> Result<(), MapError> {
        let entry = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut entry.settings);
        entry.map.set(0, Value(entry.settings), 0)
    }
}
