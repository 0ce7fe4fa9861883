//! Domain model of drills: what agents measure and everybody else reads.

#[cfg(feature = "model")]
pub mod model;
#[cfg(feature = "render")]
pub mod render;
