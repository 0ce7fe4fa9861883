//! The probe: opens Lance data for the agent, without keys, without network and without files of others.
//!
//! # Overview
//! One process does one [`Job`](dr_probe_wire::job::Job). It reads hostile bytes with decoders that are known to
//! panic on them, so it holds nothing worth stealing, takes little ([`limits`], [`confine`]), and says what happened even when
//! something breaks ([`report`]).
//!
//! # Layout
//! [`run`] takes the job and walks the tables; [`database`] opens them: through [`store`], where the socket is the
//! only file system, or with stock LanceDB in a folder. [`table`] measures one: [`scan`] reads every row once and
//! computes digests ([`canonical`], [`digest`]) and exact nearest neighbours ([`exact`]) on the way, as far as they are
//! not known ([`fragments`], [`deleted`]); [`conserved`] holds rewrites to what was measured before them, [`golden`] asks the indices, [`write_test`] writes. [`classify`] says what an error means.
//!
//! [`sample`] is the other program of this crate: an application that writes data worth backing up.

pub mod canonical;
pub mod classify;
pub mod confine;
pub mod conserved;
pub mod database;
pub mod deleted;
pub mod digest;
pub mod exact;
pub mod fragments;
pub mod golden;
pub mod limits;
pub mod report;
pub mod run;
pub mod sample;
pub mod scan;
pub mod store;
pub mod table;
pub mod write_test;
