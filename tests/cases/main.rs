//! System tests: one binary, because linking is what costs. A file here is a group of cases.

#![expect(
    clippy::unwrap_used,
    reason = "a case fails by panicking; its helpers are no exception"
)]

mod crash;
mod damage;
mod doubt;
mod evidence;
mod facts;
mod fixtures;
mod fleet_holds;
mod fleet_identity;
mod fleet_offline;
mod fleet_plans;
mod fleet_replace;
mod fleet_restore;
mod fleet_scripts;
mod fleet_storm;
mod fleet_telemetry;
mod fleet_trouble;
mod fleet_uncovered;
mod fleet_watch;
mod hooks;
mod integrity;
mod limits;
mod logs;
mod mended;
mod mistakes;
mod probes;
mod restore;
mod runner;
mod storage;
mod surroundings;
mod writer;
mod zoo;
