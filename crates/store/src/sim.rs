//! A simulated disk for the simulator: it knows which bytes were synced, fills up, and loses or tears the rest when the
//! power is cut. Frames and recovery are those of the real log.

use crate::frame;
use crate::log::{Log, LogError};
use crate::recover::Past;
use crate::sequencer::lock;
use crate::state::LogRecords;
use bytes::Bytes;
use meta::Snapshot;
use std::sync::{Arc, Mutex};

/// Clones share one disk: give one to the store and keep one to make trouble with.
#[derive(Clone, Default)]
pub struct SimLog(Arc<Mutex<Disk>>);

#[derive(Default)]
struct Disk {
    bytes: Vec<u8>,
    synced: usize,
    full: bool,
    power_fails: bool,
}

impl SimLog {
    pub fn new() -> Self {
        Self::default()
    }

    /// While full, appends are refused and leave nothing.
    pub fn set_full(&self, full: bool) {
        lock(&self.0).full = full;
    }

    /// The power goes in the middle of the next append: its batch is written but not synced, and its committers get
    /// an error. Then `crash` says what is left.
    pub fn cut_power_at_next_append(&self) {
        lock(&self.0).power_fails = true;
    }

    /// Bytes that a crash may lose.
    pub fn unsynced_bytes(&self) -> usize {
        let disk = lock(&self.0);
        disk.bytes.len() - disk.synced
    }

    /// A power cut that leaves the first `kept` unsynced bytes, and of those spoils the one at `spoiled`, if any.
    pub fn crash(&self, kept: usize, spoiled: Option<usize>) {
        let mut disk = lock(&self.0);
        let end = disk.bytes.len().min(disk.synced + kept);
        disk.bytes.truncate(end);
        let at = spoiled.map(|s| disk.synced + s);
        if let Some(byte) = at.and_then(|at| disk.bytes.get_mut(at)) {
            *byte ^= 0x40;
        }
        disk.power_fails = false;
    }

    /// What a restart finds. Cuts a torn last batch, as the real log does; an error says what is damaged.
    pub fn recover(&self) -> Result<Past, String> {
        let mut disk = lock(&self.0);
        let bytes = Bytes::copy_from_slice(&disk.bytes);
        let scan = frame::scan(&bytes, 0)
            .map_err(|e| format!("damaged at byte {}, whole at {}", e.offset, e.next_whole))?;
        let mut past = Past::default();
        past.extend(&scan.frames)
            .map_err(|(at, why)| format!("damaged at byte {at}: {why}"))?;
        disk.bytes.truncate(scan.end);
        disk.synced = scan.end;
        Ok(past)
    }
}

impl Log for SimLog {
    fn append(&mut self, records: &LogRecords, _: &Snapshot) -> Result<(), LogError> {
        let mut disk = lock(&self.0);
        if disk.full {
            return Err(LogError::Full("the simulated disk".into()));
        }
        frame::write_frame(&mut disk.bytes, records.revision, &records.bytes);
        if disk.power_fails {
            return Err(LogError::Failed("the simulated power was cut".into()));
        }
        disk.synced = disk.bytes.len();
        Ok(())
    }

    fn close(&mut self) -> Result<(), LogError> {
        Ok(())
    }
}
