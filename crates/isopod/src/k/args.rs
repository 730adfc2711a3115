//! What `isopod k` understands.

#[derive(clap::Args, Debug)]
pub struct Args {}
