//! The coordinator as commands see it: one method a question, typed answers, one kind of error.

mod audit;
mod call;
mod fleet;
mod plans;
mod runs;

use std::sync::Arc;
use std::time::Duration;

use dr_proto::client::{Client, Options};
use dr_proto::tls::{self, ConnectTimeouts, Connector, Reloading, Role};

use tonic::{Request, Response, Status};

pub(crate) use call::CallError;
pub(crate) use fleet::Terms;
pub(crate) use runs::{Filter, Start, What, Where};

use crate::contexts::Resolved;
use crate::error::Failure;

/// Who calls, for the coordinator's log.
const USER_AGENT: &str = concat!("drctl/", env!("CARGO_PKG_VERSION"));

/// A connection to a coordinator. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Coordinator {
    connector: Connector,
    options: Arc<Options>,
    client: Client,
    timeout: Duration,
}

impl Coordinator {
    /// Dials the endpoints in order until one answers. Each call may take `timeout`, and so may this.
    pub(crate) async fn connect(resolved: &Resolved, timeout: Duration) -> Result<Self, Failure> {
        let tls = open(resolved)?;
        let connector = Connector::new(tls, ConnectTimeouts::default());
        let options = Options {
            connect_within: timeout,
            ..Options::new(resolved.endpoints.clone(), USER_AGENT)
        };
        Ok(Self {
            client: dial(&connector, &options).await?,
            connector,
            options: Arc::new(options),
            timeout,
        })
    }

    /// What our certificate says; the files are read and judged, nobody is dialled.
    pub(crate) fn identify(resolved: &Resolved) -> Result<tls::Certificate, tls::MaterialError> {
        Ok(open(resolved)?.current().certificate().clone())
    }

    /// Dials anew: another endpoint may have taken over.
    pub(crate) async fn again(&self) -> Result<Self, CallError> {
        Ok(Self {
            client: dial(&self.connector, &self.options).await?,
            ..self.clone()
        })
    }

    /// Asks one question.
    async fn ask<Q: Clone, A>(
        &self,
        doing: &'static str,
        question: Q,
        call: impl AsyncFn(Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, CallError> {
        let answer = call::unary(doing, self.timeout, question, call).await;
        answer.map_err(|error| error.blame(&self.connector))
    }

    /// The endpoint that answered.
    pub(crate) fn address(&self) -> &tls::Address {
        self.client.address()
    }
}

fn open(resolved: &Resolved) -> Result<Arc<Reloading>, tls::MaterialError> {
    Reloading::open(
        resolved.files.clone(),
        &[Role::Operator, Role::Viewer],
        Arc::new(tls::SystemTime),
    )
}

async fn dial(connector: &Connector, options: &Options) -> Result<Client, CallError> {
    Ok(Client::connect(connector, options).await?)
}

/// An answer as a view of it, or why it makes no sense.
fn read<W, V: TryFrom<W, Error = dr_proto::wire::Error>>(
    doing: &'static str,
    answer: W,
) -> Result<V, CallError> {
    V::try_from(answer).map_err(|source| CallError::Answer { doing, source })
}

/// A list of answers.
fn read_all<W, V: TryFrom<W, Error = dr_proto::wire::Error>>(
    doing: &'static str,
    answers: Vec<W>,
) -> Result<Vec<V>, CallError> {
    answers.into_iter().map(|answer| read(doing, answer)).collect()
}
