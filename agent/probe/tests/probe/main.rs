//! The real program over a real socket, on good data and on damaged data.

mod fixtures;
mod folder;
mod rig;
