//! What every scenario stands on: tools, commands with a limit, a cluster that cleans up after itself, and views of the
//! machine.

pub mod cluster;
pub mod command;
pub mod host;
pub mod tools;
pub mod watch;

pub use cluster::Cluster;
pub use command::words;
pub use tools::Tool;
