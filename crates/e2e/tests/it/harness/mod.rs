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

/// Says that a scenario is not run because the product does not do this yet. Counted with what is skipped, so that it
/// is seen at the end of every run; a scenario leaves this list when what it wants is there.
#[allow(dead_code, reason = "at its best nothing is on this list")]
pub fn gap(test: &str, what: &str) {
    let line = format!("SKIPPED (known gap): {test}: {what}\n");
    // Straight to the descriptor: libtest keeps back what a passing test prints.
    std::io::Write::write_all(&mut std::io::stderr().lock(), line.as_bytes()).expect("stderr");
}
