//! The node agent: images, volumes, environment, containers of pods.

pub mod env;
pub mod images;
pub mod volumes;
