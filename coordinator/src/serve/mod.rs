//! The coordinator as a whole: what it is made of, how it starts, and how it stops.
//!
//! # Overview
//! [`Coordinator::open`] reads certificates, opens the store, begins an incarnation and takes its addresses: whatever
//! can be wrong is told before anything runs. [`Coordinator::run`] serves until it is told to stop.
//!
//! # Cancellation
//! Told to stop, it first ends what would hand out more work, then says goodbye to agents and watchers, then waits a
//! bounded time for calls under way. Work on hosts goes on; agents come back to the next incarnation and tell.
//!
//! # Crash consistency
//! Nothing here is remembered: an end without a goodbye is the same to the store.

mod core;
mod error;
mod grpc;
mod guardian;
mod health;
pub mod inventory;
mod jobs;
mod state;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dr_proto::model::{Domain, Goodbye, GoodbyeReason, Role};
use dr_proto::tls::{self, Files, Reloading};
use dr_store::{Lock, SharedClock, Store};
use dr_telemetry::endpoint::Endpoint;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::core::Core;
pub use self::error::Error;
use self::inventory::Trouble;
use crate::access::refusals::{Auditor, Refusals};
use crate::access::revocations::Revocations;
use crate::config::Config;
use crate::gateway::Live;
use crate::metrics::Metrics;
use crate::pki::Authority;

/// Our own certificate is one of this role.
const ROLES: &[Role] = &[Role::Coordinator];
/// How long calls under way may take when the coordinator stops.
const GRACE: Duration = Duration::from_secs(10);

/// A coordinator that is ready to serve.
#[derive(Debug)]
pub struct Coordinator {
    core: Core,
    auditor: Auditor,
    listener: TcpListener,
    address: SocketAddr,
    endpoint: Option<Endpoint>,
    /// One coordinator to a store.
    lock: Lock,
}

impl Coordinator {
    /// Makes one ready: certificates are read, the store is open, its addresses are taken.
    pub async fn open(config: Config, clock: SharedClock) -> Result<Self, Error> {
        let files = Files {
            certificate: config.tls.certificate.clone(),
            private_key: config.tls.private_key.clone(),
            trust_bundle: config.tls.trust_bundle.clone(),
        };
        let tls = Reloading::open(files, ROLES, Arc::new(tls::SystemTime)).map_err(Error::Certificates)?;
        let domain = tls.current().certificate().identity.domain.clone();
        let authority = open_authority(&config, &domain)?;
        // Before the addresses: whoever starts a second one on the same configuration is told of the first.
        let lock = Lock::take(&config.store, &*clock)?;
        let listen = |source| Error::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let endpoint = match &config.metrics {
            Some(metrics) => Some(Endpoint::bind(metrics.listen).await.map_err(Error::Endpoint)?),
            None => None,
        };
        let store = Store::open(&config.store, clock.clone()).await?;
        let epoch = store.epochs().begin(env!("CARGO_PKG_VERSION")).await?;
        let metrics = Metrics::new()?;
        let live = Live::default();
        let revocations = Revocations::open(store.clone(), live.clone()).await?;
        let (refusals, auditor) = Refusals::new(store.clone(), metrics.clone());
        let core = Core {
            config: Arc::new(config),
            clock,
            store,
            epoch: epoch.number,
            domain,
            tls,
            authority,
            live,
            metrics,
            refusals,
            revocations,
            inventory: Trouble::default(),
        };
        Ok(Self {
            core,
            auditor,
            listener,
            address,
            endpoint,
            lock,
        })
    }

    /// Where agents and operators dial in.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where Prometheus asks, if it may.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.endpoint.as_ref().map(Endpoint::address)
    }

    /// The number of this incarnation.
    pub fn epoch(&self) -> u64 {
        self.core.epoch
    }

    /// The store that it works on.
    pub fn store(&self) -> &Store {
        &self.core.store
    }

    /// Serves until `stop`, then ends in order.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let Self {
            core,
            auditor,
            listener,
            address,
            endpoint,
            lock,
        } = self;
        let (jobs, sessions) = (TaskTracker::new(), TaskTracker::new());
        // What hands out work and whoever watches ends first, calls end later.
        let (working, serving) = (CancellationToken::new(), CancellationToken::new());
        let opened = jobs::start(&core, auditor, &jobs, &working)?;
        let server = grpc::serve(&core, listener, address, opened, &sessions, &working, &serving)?;
        let mut server = tokio::spawn(server);
        if let Some(endpoint) = endpoint {
            jobs.spawn(state::expose(core.clone(), endpoint, serving.clone()));
        }
        let (ended, server) = tokio::select! {
            () = stop.cancelled() => (Ok(()), Some(server)),
            epoch = guardian::taken_over(core.store.clone(), core.epoch) => {
                (Err(Error::TakenOver { epoch }), Some(server))
            }
            served = &mut server => (Err(Error::served(served)), None),
        };
        working.cancel();
        core.live.end_all(&Goodbye {
            reason: GoodbyeReason::Shutdown,
            message: "the coordinator stops; attach again soon".to_owned(),
        });
        serving.cancel();
        end_calmly(server, &sessions, &jobs).await;
        core.store.close().await;
        drop(lock);
        tracing::info!("the coordinator stopped");
        ended
    }
}

type Server = JoinHandle<Result<(), tonic::transport::Error>>;

/// Waits a bounded time for what is under way; `server` unless it has ended by itself.
async fn end_calmly(server: Option<Server>, sessions: &TaskTracker, jobs: &TaskTracker) {
    sessions.close();
    jobs.close();
    let cut = server.as_ref().map(JoinHandle::abort_handle);
    let calm = async {
        sessions.wait().await;
        jobs.wait().await;
        match server {
            Some(server) => server.await,
            None => Ok(Ok(())),
        }
    };
    match timeout(GRACE, calm).await {
        Ok(Ok(Ok(()))) => {}
        Ok(served) => {
            let error = Error::served(served);
            tracing::warn!(
                error = dr_terminal::in_one_line(&error),
                "serving ended with an error"
            );
        }
        Err(_) => {
            tracing::warn!(
                "calls were under way after {} s and were cut off",
                GRACE.as_secs()
            );
            if let Some(cut) = cut {
                cut.abort();
            }
        }
    }
}

/// The certificate authority, if one is named; it must be that of our own fleet.
fn open_authority(config: &Config, domain: &Domain) -> Result<Option<Authority>, Error> {
    let Some(named) = &config.authority else {
        return Ok(None);
    };
    let authority = Authority::open(&named.dir).map_err(Error::Authority)?;
    if authority.domain() != domain {
        return Err(Error::OtherDomain {
            dir: named.dir.clone(),
            authority: authority.domain().to_string(),
            own: domain.to_string(),
        });
    }
    Ok(Some(authority))
}
