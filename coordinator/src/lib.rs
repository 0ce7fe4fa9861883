//! The coordinator: tracks the drill schedule, drives the agents, keeps what they proved.

pub mod reconcile;
