//! `grpc.health.v1`: what load balancers and `grpcurl` ask. Ready is a question of its own, see the metrics endpoint.

use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// The services that clients ask for by name; the empty name is the server as a whole.
const SERVICES: [&str; 7] = [
    "",
    "drill.v1.AgentGateway",
    "drill.v1.Enrollment",
    "drill.v1.Fleet",
    "drill.v1.Plans",
    "drill.v1.Runs",
    "drill.v1.Audit",
];

/// Says that everything serves until `working` is cancelled, and then that it does not.
pub(super) async fn report(reporter: HealthReporter, working: CancellationToken) {
    for service in SERVICES {
        reporter.set_service_status(service, ServingStatus::Serving).await;
    }
    working.cancelled().await;
    for service in SERVICES {
        reporter
            .set_service_status(service, ServingStatus::NotServing)
            .await;
    }
}
