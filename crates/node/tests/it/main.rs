//! The node's parts against the real kernel; needs root.

mod images;
mod layers;
mod pull;
mod volumes;
