//! The coordinator: tracks the drill schedule, drives the agents, keeps what they proved.
//!
//! # Overview
//! Agents dial in and keep one stream open each ([`gateway`]); operators call services ([`service`]), which hand
//! everything on to [`handle`]s. Both pass the guard of [`access`] first. What should happen is decided by
//! [`reconcile`]rs, which compare what is wanted with what is in the store, again and again; nothing else hands out
//! work. [`serve`] puts it together.
//!
//! # Layout
//! [`dr_store`] is the memory; [`pki`] is the fleet's own certificate authority; [`metrics`] is what Prometheus sees;
//! [`config`] and [`cli`] are what an administrator sees.
//!
//! # Crash consistency
//! Everything that counts is in the store before anybody is told of it. A coordinator that dies is started again on
//! the same store, as a new incarnation: agents attach again and say what they have, and the two are compared.

pub mod access;
pub mod cli;
pub mod config;
pub mod error;
pub mod gateway;
pub mod handle;
pub mod metrics;
pub mod pki;
pub mod reconcile;
mod scope;
pub mod serve;
pub mod service;
