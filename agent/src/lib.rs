//! The agent of one data host: snapshots, restores, drills and their reports

pub mod config;
