//! What is taken off the kernel's balance of connections to have the ones that are open: `connection_offsets`.
//!
//! User space writes it and the programs never look at it. It is a pinned map all the same, since it holds for exactly
//! as long as the counters that it belongs to.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use aya::maps::{Array, Map, MapData};
use portmeter_ebpf::layout::CONNECTION_OFFSETS;

use super::KernelError;

/// The offsets by slot; 0 for a slot that has none.
pub(super) struct Offsets(Mutex<State>);

struct State {
    /// `None` where the maps are only read.
    map: Option<Array<MapData, i64>>,
    /// What the map holds: reading it would be a system call for each port.
    values: HashMap<u32, i64>,
}

impl Offsets {
    /// No offsets, and none to come: for maps whose connections nobody asks for.
    pub(super) fn none() -> Self {
        Self(Mutex::new(State {
            map: None,
            values: HashMap::new(),
        }))
    }

    /// The pinned offsets of `slots`.
    pub(super) fn open(pin: &Path, slots: impl Iterator<Item = u32>) -> Result<Self, KernelError> {
        let failed = |error: &dyn std::error::Error| KernelError::map(CONNECTION_OFFSETS, error);
        let data = MapData::from_pin(pin).map_err(|error| failed(&error))?;
        let map = Map::from_map_data(data).map_err(|error| failed(&error))?;
        let map: Array<_, i64> = map.try_into().map_err(|error| failed(&error))?;
        let mut values = HashMap::new();
        for slot in slots {
            let value = map.get(&slot, 0).map_err(|error| failed(&error))?;
            if value != 0 {
                values.insert(slot, value);
            }
        }
        Ok(Self(Mutex::new(State { map: Some(map), values })))
    }

    pub(super) fn get(&self, slot: u32) -> i64 {
        self.lock().values.get(&slot).copied().unwrap_or_default()
    }

    /// Sets what `change` makes of the present offset.
    pub(super) fn change(&self, slot: u32, change: impl FnOnce(i64) -> i64) -> Result<(), KernelError> {
        let mut state = self.lock();
        let value = change(state.values.get(&slot).copied().unwrap_or_default());
        if let Some(map) = &mut state.map {
            map.set(slot, value, 0)
                .map_err(|error| KernelError::map(CONNECTION_OFFSETS, &error))?;
        }
        state.values.insert(slot, value);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}
