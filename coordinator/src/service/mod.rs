//! The gRPC services: each call is read, handed to a handle, and answered. Nothing is decided here.

mod answer;
mod audit;
mod call;
mod enrolment;
mod fleet;
mod gateway;
mod plans;
mod read;
mod runs;
pub mod status;

pub(crate) use self::audit::AuditLog;
pub(crate) use self::enrolment::Door;
pub(crate) use self::fleet::FleetService;
pub(crate) use self::gateway::Gateway;
pub(crate) use self::plans::PlansService;
pub(crate) use self::runs::RunsService;
