//! What makes a batch durable before it is acknowledged.

use crate::state::LogRecords;
use meta::Snapshot;

/// Why a batch is not durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// No room; the log is as it was before, and a later append may work.
    #[error("{0}")]
    Full(String),
    /// What the log holds now is unknown until it is opened again; no append may follow.
    #[error("{0}")]
    Failed(String),
}

/// Where batches go. Called by the sequencer alone.
pub trait Log: Send {
    /// Returns when the batch would survive a power cut. `state` is what the store holds with this batch.
    fn append(&mut self, records: &LogRecords, state: &Snapshot) -> Result<(), LogError>;

    /// Ends the log in good order.
    fn close(&mut self) -> Result<(), LogError>;
}

/// Keeps nothing: the store of tests.
pub struct NoLog;

impl Log for NoLog {
    fn append(&mut self, _: &LogRecords, _: &Snapshot) -> Result<(), LogError> {
        Ok(())
    }

    fn close(&mut self) -> Result<(), LogError> {
        Ok(())
    }
}
