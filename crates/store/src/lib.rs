//! The store: one sequencer gives revisions, one fsync makes a batch durable, readers see whole revisions and never wait.
//! `State` is the pure core, `Store` the handle that everyone holds, `Log` what makes a batch durable.

mod changes;
mod disk;
mod files;
mod frame;
mod history;
mod log;
mod recover;
mod sequencer;
mod sim;
mod state;
mod store;

pub use changes::Changes;
pub use files::{OpenError, VERSION};
pub use history::{Compacted, History, Limits};
pub use log::{Log, LogError, NoLog};
pub use recover::Past;
pub use sim::SimLog;
pub use state::{CommitError, Committed, Expect, LogRecords, State, Write};
pub use store::{Clock, Options, Store};
