//! The gRPC server: services behind the guard, with bounds on what a peer can cost.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dr_proto::tls;
use dr_proto::v1;
use dr_proto::wire::limits::{ANSWER, MESSAGE};
use dr_telemetry::propagation;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::codegen::http;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tracing::Span;

use super::core::Core;
use super::{Error, health};
use crate::access::Guard;
use crate::handle::{Audit, Enrolment, Plans, Runs, Suspensions, Tokens};
use crate::reconcile::Nudge;
use crate::service::{AuditLog, Door, FleetService, Gateway, PlansService, RunsService};

/// How long a call may take until it is answered. Streams are answered at once.
const DEADLINE: Duration = Duration::from_secs(30);
/// Calls at a time on one connection.
const CALLS: usize = 64;
/// Streams at a time on one connection.
const STREAMS: u32 = 128;
/// Bytes of a call's headers.
const HEADERS: u32 = 16 << 10;
/// A connection that shows no life is asked after this, and closed if it does not answer.
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);

/// A generated server with our bounds on messages.
macro_rules! bounded {
    ($server:path, $service:expr) => {
        <$server>::new($service)
            .max_decoding_message_size(MESSAGE)
            .max_encoding_message_size(ANSWER)
    };
}

/// Serves on `listener` until `serving` is cancelled. Watches end with `working`; sessions of agents are spawned on
/// `sessions`, and nudge `opened` when they take tasks.
pub(super) fn serve(
    core: &Core,
    listener: TcpListener,
    address: SocketAddr,
    opened: Nudge,
    sessions: &TaskTracker,
    working: &CancellationToken,
    serving: &CancellationToken,
) -> Result<impl Future<Output = Result<(), tonic::transport::Error>> + Send + use<>, Error> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(Error::Reflection)?;
    let (reporter, health) = tonic_health::server::health_reporter();
    tokio::spawn(health::report(reporter, working.clone()));
    let guard = Guard::new(
        core.domain.clone(),
        core.revocations.clone(),
        core.refusals.clone(),
    );
    let parts = Parts::new(core, address, working);
    let desk = Arc::new(core.desk(opened));
    let gateway = Gateway::new(desk, parts.enrolment.clone(), sessions.clone());
    let door = Door {
        enrolment: parts.enrolment,
        refusals: core.refusals.clone(),
    };
    let runs = RunsService {
        runs: parts.runs,
        revocations: core.revocations.clone(),
    };
    let router = server()
        .layer(guard)
        .add_service(health)
        .add_service(reflection)
        .add_service(bounded!(v1::agent_gateway_server::AgentGatewayServer<_>, gateway))
        .add_service(bounded!(v1::enrollment_server::EnrollmentServer<_>, door))
        .add_service(bounded!(v1::fleet_server::FleetServer<_>, parts.fleet))
        .add_service(bounded!(
            v1::plans_server::PlansServer<_>,
            PlansService(parts.plans)
        ))
        .add_service(bounded!(v1::runs_server::RunsServer<_>, runs))
        .add_service(bounded!(v1::audit_server::AuditServer<_>, AuditLog(parts.audit)));
    let refusals = Arc::new(core.refusals.clone());
    let incoming = tls::accept(listener, core.tls.clone(), tls::Limits::default(), refusals);
    let end = serving.clone().cancelled_owned();
    Ok(router.serve_with_incoming_shutdown(incoming, end))
}

/// What tokens tell a new agent to dial.
fn endpoints(core: &Core, address: SocketAddr) -> Vec<String> {
    if core.config.advertise.is_empty() {
        vec![format!("https://{address}")]
    } else {
        core.config.advertise.clone()
    }
}

/// The handles behind the services.
struct Parts {
    enrolment: Enrolment,
    fleet: FleetService,
    plans: Plans,
    runs: Runs,
    audit: Audit,
}

impl Parts {
    fn new(of: &Core, address: SocketAddr, working: &CancellationToken) -> Self {
        let (store, clock) = (of.store.clone(), of.clock.clone());
        let week = Duration::from_secs(7 * 86_400);
        let lifetime = of
            .config
            .authority
            .as_ref()
            .map_or(week, |authority| authority.agent_certificates.0);
        let (authority, domain) = (of.authority.clone(), of.domain.clone());
        let tokens = Tokens::new(
            store.clone(),
            clock.clone(),
            authority.clone(),
            domain.clone(),
            endpoints(of, address),
        );
        Self {
            enrolment: Enrolment::new(store.clone(), clock.clone(), authority, domain, lifetime),
            fleet: FleetService {
                fleet: of.fleet(),
                tokens,
                suspensions: Suspensions::new(store.clone()),
            },
            plans: Plans::new(store.clone(), clock.clone()),
            runs: Runs::new(store.clone(), clock, of.live.clone(), working.clone()),
            audit: Audit::new(store),
        }
    }
}

fn server() -> Server {
    Server::builder()
        .trace_fn(span)
        .timeout(DEADLINE)
        .concurrency_limit_per_connection(CALLS)
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADERS)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
        .tcp_nodelay(true)
}

/// The span of a call: a part of the caller's trace, if the caller has one.
fn span(request: &http::Request<()>) -> Span {
    let span = tracing::info_span!("call", method = request.uri().path());
    propagation::extract(&span, &MetadataMap::from_headers(request.headers().clone()));
    span
}
