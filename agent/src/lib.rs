//! The agent of one data host: snapshots, restores, drills and their reports.

pub mod config;
pub mod error;
pub mod exit;
pub mod state;
pub mod stop;
pub mod ui;
