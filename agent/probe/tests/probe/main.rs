//! The real programs over a real socket, on good data and on damaged data.

mod damage;
mod detection;
mod fixtures;
mod folder;
mod limits;
mod rig;
mod sample;
mod unpack;
