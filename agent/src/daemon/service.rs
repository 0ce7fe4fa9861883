//! Puts the parts together, and ends them in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dr_proto::client::{self, Client};
use dr_proto::model::{HostName, Inventory};
use dr_proto::tls::{self, ConnectTimeouts, Connector, Files, Reloading, Role};
use dr_telemetry::endpoint::Endpoint;
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::desk::Desk;
use super::executor::{Executor, HostJobs};
use super::gate::Gate;
use super::identity::{self, Expiry, Renewal};
use super::inventory::Surveyor;
use super::journal::Journal;
use super::link::{self, Dial, DialError, Gateway, Introduction, Link, Standing};
use super::metrics::{Asked, Metrics};
use super::offline::Offline;
use super::prospect::Prospector;
use super::vitals::Vitals;
use super::{allow, systemd};
use crate::config::Coordinator;
use crate::error::{Class, Doing, Failure, Outcome};
use crate::exit::Code;
use crate::session::Session;
use crate::state::{Holder, Lock};

/// How often certificate files are looked at.
const CERTIFICATES: Duration = Duration::from_secs(30);

/// Runs the daemon until the session is told to stop, or a coordinator says that it must not go on.
///
/// # Errors
/// When it can not start, or must not go on.
pub async fn run(session: &Session) -> Outcome {
    let daemon = Daemon::open(session).await?;
    daemon.run().await
}

/// Dials with this host's certificate.
struct MutualTls {
    connector: Connector,
}

#[async_trait]
impl Dial for MutualTls {
    async fn dial(&self, endpoint: &str) -> Result<Gateway, DialError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| DialError {
            endpoint: endpoint.to_owned(),
            source,
        };
        let address = endpoint
            .parse()
            .map_err(|error: tls::ParseAddressError| failed(error.into()))?;
        let options = client::Options::new(vec![address], concat!("dr-agent/", env!("CARGO_PKG_VERSION")));
        let client = Client::connect(&self.connector, &options)
            .await
            .map_err(|error| failed(error.into()))?;
        Ok(client.gateway())
    }
}

/// Everything that the daemon is made of, ready to run.
struct Daemon {
    session: Session,
    host: HostName,
    tls: Arc<Reloading>,
    offline_lasts: Duration,
    endpoints: Vec<String>,
    desk: Desk,
    gate: Gate,
    vitals: Vitals,
    prospector: Prospector,
    surveyor: Surveyor,
    inventory: watch::Receiver<Option<Inventory>>,
    standing: watch::Sender<Standing>,
    metrics: Arc<Metrics>,
    endpoint: Option<Endpoint>,
    /// One daemon to a state folder.
    lock: Lock,
}

impl Daemon {
    async fn open(session: &Session) -> Result<Self, Failure> {
        let config = &session.config;
        let coordinator = coordinator(session)?;
        let host: HostName = config.agent.host.parse()?;
        let tls = certificates(coordinator, &host)?;
        let folder = session.state()?.root().join("daemon");
        crate::state::private_dir(&folder)?;
        let now = session.clock.now();
        let lock = Lock::take(&folder.join("lock"), Holder::this("run", now))
            .doing(|| "start the daemon".to_owned())?;
        let journal = Journal::open(&folder).doing(|| "open the journal".to_owned())?;
        let desk = Desk::open(journal, now).doing(|| "answer what was interrupted".to_owned())?;
        let gate = Gate::new(&config.agent.suspend_file);
        let vitals = Vitals::default();
        let (prospector, found) = Prospector::new(session.clone());
        let (surveyor, inventory, survey) = Surveyor::new(session.clone(), vitals.clone(), found);
        // From the start on: a coordinator that answers at once is asked before missed slots are made up for.
        let standing = watch::Sender::new(Standing::Away {
            since: now,
            reason: None,
        });
        let metrics = metrics(session, &vitals, &gate, standing.subscribe(), survey)?;
        let (remembering, metrics) = (metrics.clone(), metrics);
        desk.recall(move |memory| remembering.remember(memory)).await?;
        metrics.registry().register(Box::new(Expiry::new(tls.clone())?))?;
        let endpoint = match &config.agent.metrics {
            Some(metrics) => Some(Endpoint::bind(metrics.listen).await?),
            None => None,
        };
        Ok(Self {
            session: session.clone(),
            host,
            tls,
            offline_lasts: coordinator.offline_schedule.0,
            endpoints: coordinator.endpoints.clone(),
            desk,
            gate,
            vitals,
            prospector,
            surveyor,
            inventory,
            standing,
            metrics,
            endpoint,
            lock,
        })
    }

    async fn run(self) -> Outcome {
        let introduction = introduction(&self.session, self.host.clone());
        let stop = self.session.stop.token().clone();
        // The link outlives the executor: what that answers at the end is still sent.
        let (working, linked) = (stop.child_token(), CancellationToken::new());
        let mut parts: JoinSet<Result<(), Failure>> = JoinSet::new();
        let executor = Executor {
            desk: self.desk.clone(),
            jobs: Arc::new(HostJobs::new(self.session.clone(), self.vitals.clone())),
            observer: self.metrics.clone(),
            gate: self.gate.clone(),
            clock: self.session.clock.clone(),
        };
        let offline = Offline {
            host: self.host.clone(),
            lasts: self.offline_lasts,
            desk: self.desk.clone(),
            gate: self.gate.clone(),
            standing: self.standing.subscribe(),
            inventory: self.inventory.clone(),
            clock: self.session.clock.clone(),
        };
        let link = Link {
            endpoints: self.endpoints.clone(),
            dial: Arc::new(MutualTls {
                connector: Connector::new(self.tls.clone(), ConnectTimeouts::default()),
            }),
            introduction,
            desk: self.desk.clone(),
            gate: self.gate.clone(),
            inventory: self.inventory.clone(),
            vitals: self.vitals.clone(),
            standing: self.standing.clone(),
            clock: self.session.clock.clone(),
            chance: fastrand::Rng::new(),
        };
        let (executing, ended) = (working.clone(), linked.clone());
        parts.spawn(async move {
            let done = executor.run(executing).await;
            ended.cancel();
            Ok(done?)
        });
        let scheduling = working.clone();
        parts.spawn(async move { Ok(offline.run(scheduling).await?) });
        parts.spawn(async move { link.run(linked).await.map_err(parted) });
        systemd::ready(&format!("{} asks {}", self.host, self.endpoints.join(", ")));
        tracing::info!(
            host = %self.host, endpoints = ?self.endpoints, version = env!("CARGO_PKG_VERSION"),
            "the daemon is at work"
        );
        self.say_ready()?;
        let _lock = self.background(&working);
        finish(parts, &working).await
    }

    /// One line of JSON on stdout, for whoever started us with port 0.
    fn say_ready(&self) -> std::io::Result<()> {
        let ready = Ready {
            host: &self.host,
            metrics: self.endpoint.as_ref().map(Endpoint::address),
        };
        let line = serde_json::to_string(&ready).map_err(std::io::Error::other)?;
        self.session.ui.data(&line)
    }

    /// Keeps this host's certificate fresh.
    fn renewal(&self) -> Renewal {
        let options = identity::Options {
            // The configuration was refused if one of them were none.
            endpoints: self
                .endpoints
                .iter()
                .filter_map(|endpoint| endpoint.parse().ok())
                .collect(),
            time: Arc::new(tls::SystemTime),
            chance: fastrand::Rng::new(),
        };
        Renewal::new(self.tls.clone(), options)
    }

    /// What needs no order at the end; gives the lock back, to be held until then.
    fn background(self, working: &CancellationToken) -> Lock {
        let (renewal, renewing) = (self.renewal(), working.clone());
        tokio::spawn(async move { renewing.run_until_cancelled(renewal.run()).await });
        let scratch = self.session.config.agent.scratch_dir();
        tokio::spawn(self.vitals.measure(scratch, working.clone()));
        tokio::spawn(self.prospector.run(working.clone()));
        tokio::spawn(self.surveyor.run(working.clone()));
        tokio::spawn(systemd::watchdog(working.clone()));
        let (tls, following) = (self.tls, working.clone());
        tokio::spawn(async move {
            following.run_until_cancelled(tls.follow(CERTIFICATES)).await;
        });
        if let Some(endpoint) = self.endpoint {
            tracing::info!(address = %endpoint.address(), "metrics are served");
            let serving = endpoint.serve(self.metrics, working.clone());
            tokio::spawn(async move {
                if let Err(error) = serving.await {
                    tracing::error!(error = %crate::error::in_one_line(&error), "metrics are no longer served");
                }
            });
        }
        self.lock
    }
}

/// What the daemon says when it is up.
#[derive(Serialize)]
struct Ready<'a> {
    host: &'a HostName,
    /// Where `/metrics` is served.
    metrics: Option<SocketAddr>,
}

/// Waits for all parts. The first that ends, for whatever reason, ends the others.
async fn finish(mut parts: JoinSet<Result<(), Failure>>, working: &CancellationToken) -> Outcome {
    let ending = working.clone();
    let told = tokio::spawn(async move {
        ending.cancelled().await;
        systemd::stopping();
        tracing::info!("the daemon ends: work stops at its next safe point");
    });
    let mut failed = None;
    while let Some(done) = parts.join_next().await {
        working.cancel();
        match done {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => {
                failed.get_or_insert(failure);
            }
            Err(error) => {
                failed.get_or_insert(error.into());
            }
        }
    }
    told.await?;
    match failed {
        Some(failure) => Err(failure),
        None => Ok(Code::Done),
    }
}

/// The `[coordinator]` section: without one there is nothing for a daemon to do.
fn coordinator(session: &Session) -> Result<&Coordinator, Failure> {
    session.config.coordinator.as_ref().ok_or_else(|| {
        Failure::new(
            Class::Configuration,
            "no coordinator is configured: `dr-agent run` does what a coordinator asks",
        )
        .hint(
            "name its endpoints and this host's certificate under [coordinator] in agent.toml; on a stand-alone host \
             let a timer run `dr-agent snapshot` and `dr-agent drill`",
        )
    })
}

/// The host's certificate, which must be this host's.
fn certificates(coordinator: &Coordinator, host: &HostName) -> Result<Arc<Reloading>, Failure> {
    let files = Files {
        certificate: coordinator.tls.certificate.clone(),
        private_key: coordinator.tls.private_key.clone(),
        trust_bundle: coordinator.tls.trust_bundle.clone(),
    };
    let tls = Reloading::open(files, &[Role::Agent], Arc::new(tls::SystemTime)).map_err(|error| {
        let why = format!(
            "use this host's certificate: {}",
            crate::error::in_one_line(&error)
        );
        Failure::new(Class::Configuration, why).hint(
            "`dr-agent enroll --token TEXT` gets this host a certificate; `drctl agent token` makes a token",
        )
    })?;
    let identity = tls.current().certificate().identity.clone();
    if identity.name != *host {
        return Err(Failure::new(
            Class::Configuration,
            format!("the certificate is that of {identity}, and `[agent].host` is {host}"),
        )
        .hint("correct `[agent].host`, or enrol this host again"));
    }
    Ok(tls)
}

fn metrics(
    session: &Session,
    vitals: &Vitals,
    gate: &Gate,
    standing: watch::Receiver<Standing>,
    survey: Arc<Notify>,
) -> Result<Arc<Metrics>, Failure> {
    let asked = Asked {
        counters: session.counters.clone(),
        probes: session.probe_exits.clone(),
    };
    let metrics = Metrics::new(asked, vitals.clone(), gate.clone(), standing, survey)?;
    let names = session.config.sources.iter().map(|source| source.name.as_str());
    metrics.expect_sources(names);
    Ok(Arc::new(metrics))
}

fn introduction(session: &Session, host: HostName) -> Introduction {
    let config = &session.config;
    let repository = config.repository.as_ref();
    Introduction {
        host,
        incarnation: Uuid::new_v4().to_string(),
        allow: allow::stated(config),
        repository: repository.map(|repository| repository.url.clone()),
        encrypted: repository.is_some_and(|own| own.key_file.is_some() || own.key_command.is_some()),
        probes: crate::probe::installed(
            config.agent.probes.as_deref(),
            crate::job::probes::beside().as_deref(),
        ),
    }
}

/// Why this daemon must not go on, and what to do about it.
fn parted(error: link::Error) -> Failure {
    match &error {
        link::Error::Replaced { .. } => Failure::new(Class::Busy, error.to_string())
            .hint("two agents run with one identity: stop one of them, or enrol it under a name of its own"),
        link::Error::Revoked { .. } => Failure::new(Class::Denied, error.to_string())
            .hint("enrol this host again with a new token if it is to come back"),
        link::Error::Desk(_) => error.into(),
    }
}
