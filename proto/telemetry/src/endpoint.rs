//! `/metrics`, `/healthz` and `/readyz` of a daemon, over HTTP/1.1 on an address of its own.
//!
//! `/healthz` answers as long as the process does. `/readyz` answers 200 when the daemon can do its work, and 503 with
//! one reason a line when it can not. `/metrics` is Prometheus's text format.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What a daemon says about itself.
pub trait Daemon: Send + Sync + 'static {
    /// Its metrics. Called for each scrape: gauges that are derived are set here.
    fn metrics(&self) -> &Registry;

    /// Why it can not do its work at present; empty if it can.
    fn hindrances(&self) -> Vec<String>;
}

/// Why the endpoint is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address could not be had.
    #[error("listen on {address} for metrics")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The server stopped by itself.
    #[error("serve metrics")]
    Serve(#[source] std::io::Error),
}

/// The endpoint, bound and not yet serving.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
    address: SocketAddr,
}

impl Endpoint {
    /// Takes the address; port 0 takes any free port.
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        let failed = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until cancelled.
    pub async fn serve(self, daemon: Arc<dyn Daemon>, cancel: CancellationToken) -> Result<(), Error> {
        let routes = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .with_state(daemon);
        axum::serve(self.listener, routes)
            .with_graceful_shutdown(cancel.cancelled_owned())
            .await
            .map_err(Error::Serve)
    }
}

async fn metrics(State(daemon): State<Arc<dyn Daemon>>) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&daemon.metrics().gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response(),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("encode metrics: {error}\n"),
        )
            .into_response(),
    }
}

async fn ready(State(daemon): State<Arc<dyn Daemon>>) -> Response {
    let hindrances = daemon.hindrances();
    if hindrances.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, hindrances.join("\n") + "\n").into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use prometheus::IntCounter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    struct Sample {
        registry: Registry,
        hindrances: Mutex<Vec<String>>,
    }

    impl Daemon for Sample {
        fn metrics(&self) -> &Registry {
            &self.registry
        }

        fn hindrances(&self) -> Vec<String> {
            self.hindrances.lock().unwrap().clone()
        }
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_daemon_that_can_not_work_is_alive_and_not_ready() {
        let registry = Registry::new();
        let counter = IntCounter::new("dr_test_total", "A test.").unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        counter.inc_by(7);
        let sample = Arc::new(Sample {
            registry,
            hindrances: Mutex::default(),
        });
        let endpoint = Endpoint::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let (address, cancel) = (endpoint.address(), CancellationToken::new());
        let server = tokio::spawn(endpoint.serve(Arc::clone(&sample) as Arc<dyn Daemon>, cancel.clone()));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/metrics").await.contains("\ndr_test_total 7\n"));
        sample
            .hindrances
            .lock()
            .unwrap()
            .push("the store is away".to_owned());
        let answer = get(address, "/readyz").await;
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.contains("the store is away"),
            "{answer}"
        );
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        cancel.cancel();
        server.await.unwrap().unwrap();
    }
}
