//! The laws of the cluster over thousands of seeds, and proof that they bite.

mod failures;
mod mutations;
mod placement;
mod seeds;
