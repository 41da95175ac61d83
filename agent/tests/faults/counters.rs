//! The counters: a file that outlives whoever reads it, as the kernel's maps do.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

use portmeter::counters::{Counter, CounterReader, MapLifeId};
use uuid::Uuid;

pub(crate) const PORTS: [u16; 6] = [10_001, 10_002, 10_003, 10_004, 10_005, 10_006];
const FIGURES: usize = 5;
const RECORD_BYTES: usize = FIGURES * 8;
/// The life's id and the id of the ledger that books it, both as raw bytes.
const HEAD_BYTES: usize = 32;

/// A life of the maps.
pub(crate) struct Counters {
    file: File,
    life: MapLifeId,
    figures: Mutex<[Counter; PORTS.len()]>,
}

impl Counters {
    /// A new life in a new file.
    pub(crate) fn make(path: &Path) {
        let mut bytes = vec![0; HEAD_BYTES + PORTS.len() * RECORD_BYTES];
        bytes[..16].copy_from_slice(Uuid::new_v4().as_bytes());
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn open(path: &Path) -> Self {
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut bytes = vec![0; HEAD_BYTES + PORTS.len() * RECORD_BYTES];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let figures = std::array::from_fn(|index| {
            let at = HEAD_BYTES + index * RECORD_BYTES;
            Counter {
                rx_bytes: number(at),
                rx_packets: number(at + 8),
                tx_bytes: number(at + 16),
                tx_packets: number(at + 24),
                connections_opened: number(at + 32),
            }
        });
        Self {
            file,
            life: MapLifeId(Uuid::from_slice(&bytes[..16]).unwrap()),
            figures: Mutex::new(figures),
        }
    }

    /// The ledger that books this life; none yet in a new one.
    pub(crate) fn ledger_id(&self) -> Option<Uuid> {
        let mut bytes = [0; 16];
        self.file.read_exact_at(&mut bytes, 16).unwrap();
        Some(Uuid::from_bytes(bytes)).filter(|id| !id.is_nil())
    }

    pub(crate) fn set_ledger_id(&self, id: Uuid) {
        self.file.write_all_at(id.as_bytes(), 16).unwrap();
    }

    /// Counts. The file has it before anybody can read it.
    pub(crate) fn pass(&self, index: usize, traffic: Counter) {
        let mut figures = self.figures.lock().unwrap();
        let counter = figures[index] + traffic;
        let numbers = [
            counter.rx_bytes,
            counter.rx_packets,
            counter.tx_bytes,
            counter.tx_packets,
            counter.connections_opened,
        ];
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let at = HEAD_BYTES + index * RECORD_BYTES;
        self.file.write_all_at(&bytes, at as u64).unwrap();
        figures[index] = counter;
    }

    /// Everything that was counted.
    pub(crate) fn sum(&self) -> Counter {
        let figures = self.figures.lock().unwrap();
        figures.iter().fold(Counter::default(), |sum, counter| sum + *counter)
    }
}

impl CounterReader for Counters {
    fn map_life(&self) -> MapLifeId {
        self.life
    }

    fn ports(&self) -> &[u16] {
        &PORTS
    }

    fn read(&self, port: u16) -> Counter {
        let index = PORTS.binary_search(&port).unwrap();
        self.figures.lock().unwrap()[index]
    }

    fn active_connections(&self, _: u16) -> Option<u64> {
        Some(0)
    }
}
