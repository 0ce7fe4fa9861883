//! The wire of drctl, and the domain model that everybody shares.
//!
//! # Overview
//! [`model`] holds what agents, coordinator and command line speak of: drills and reports, runs and tasks, plans and
//! hosts. With the feature `grpc` there is also the wire: [`v1`] is generated from the `.proto` files, [`wire`]
//! converts between it and the model, [`view`] holds what the operator's services answer, [`tls`] knows who is at the
//! other end, [`client`] makes channels.
//!
//! # Layout
//! Nobody outside this crate touches a generated `Option`: a receiver validates once, with `TryFrom`, and a sender
//! converts with an infallible `From`.

pub mod causes;
#[cfg(feature = "grpc")]
pub mod client;
pub mod model;
#[cfg(feature = "render")]
pub mod render;
#[cfg(feature = "grpc")]
pub mod tls;
#[cfg(feature = "grpc")]
pub mod view;
#[cfg(feature = "grpc")]
pub mod wire;

/// Generated from `proto/drill/v1`: messages, clients and servers.
#[cfg(feature = "grpc")]
#[expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    clippy::too_many_lines,
    reason = "generated"
)]
pub mod v1 {
    tonic::include_proto!("drill.v1");

    /// The descriptors of all files, for gRPC reflection.
    pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("drill_descriptor");
}
