//! Channels and clients of the services.
//!
//! # Overview
//! [`Client::connect`] tries the endpoints of a coordinator in order and keeps the first that answers; the clients of
//! all services come from it, with the wire's limits set. A channel that breaks dials the same endpoint again at its
//! next call; whoever wants another endpoint connects again.
//!
//! # Retries
//! None here: an agent's loop, a watch and a person each wait in their own way. Every step of a connect has a limit,
//! and so has the whole. Calls have the deadline that their caller sets.

use std::fmt;
use std::time::Duration;

use tokio::time::timeout;
use tonic::codegen::http::HeaderValue;
use tonic::transport::{Channel, Endpoint};

use crate::tls::{Address, Connector};
use crate::v1::agent_gateway_client::AgentGatewayClient;
use crate::v1::audit_client::AuditClient;
use crate::v1::enrollment_client::EnrollmentClient;
use crate::v1::fleet_client::FleetClient;
use crate::v1::plans_client::PlansClient;
use crate::v1::runs_client::RunsClient;
use crate::wire::limits;

/// Where a coordinator is and how long to wait for it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Tried in this order.
    pub endpoints: Vec<Address>,
    /// All endpoints together.
    pub connect_within: Duration,
    /// How often a connection on which nothing happens is asked whether it lives.
    pub keep_alive_every: Duration,
    /// How long it has to answer.
    pub keep_alive_timeout: Duration,
    /// Who calls, for the coordinator's log: `drctl/0.1.0`.
    pub user_agent: &'static str,
}

impl Options {
    /// The usual times for these endpoints.
    pub fn new(endpoints: Vec<Address>, user_agent: &'static str) -> Self {
        Self {
            endpoints,
            connect_within: Duration::from_secs(30),
            keep_alive_every: Duration::from_secs(15),
            keep_alive_timeout: Duration::from_secs(10),
            user_agent,
        }
    }
}

/// A connection to a coordinator. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    address: Address,
}

impl Client {
    /// Connects to the first endpoint that answers.
    ///
    /// # Errors
    /// When none does in time, or there is none.
    pub async fn connect(connector: &Connector, options: &Options) -> Result<Self, Error> {
        let within = options.connect_within;
        timeout(within, first(connector, options))
            .await
            .unwrap_or_else(|_| {
                Err(Error::TimedOut {
                    endpoints: Endpoints(options.endpoints.clone()),
                    within,
                })
            })
    }

    /// The endpoint that answered.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// For services that this crate does not know, such as health and reflection.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Hosts, what they protect, and whether they may work.
    pub fn fleet(&self) -> FleetClient<Channel> {
        FleetClient::new(self.channel())
            .max_decoding_message_size(limits::ANSWER)
            .max_encoding_message_size(limits::MESSAGE)
    }

    /// Plans.
    pub fn plans(&self) -> PlansClient<Channel> {
        PlansClient::new(self.channel())
            .max_decoding_message_size(limits::ANSWER)
            .max_encoding_message_size(limits::MESSAGE)
    }

    /// Runs and their reports.
    pub fn runs(&self) -> RunsClient<Channel> {
        RunsClient::new(self.channel())
            .max_decoding_message_size(limits::ANSWER)
            .max_encoding_message_size(limits::MESSAGE)
    }

    /// The coordinator's audit log.
    pub fn audit(&self) -> AuditClient<Channel> {
        AuditClient::new(self.channel())
            .max_decoding_message_size(limits::ANSWER)
            .max_encoding_message_size(limits::MESSAGE)
    }

    /// An agent's stream and certificate.
    pub fn gateway(&self) -> AgentGatewayClient<Channel> {
        AgentGatewayClient::new(self.channel())
            .max_decoding_message_size(limits::MESSAGE)
            .max_encoding_message_size(limits::MESSAGE)
    }

    /// A host's first certificate.
    pub fn enrollment(&self) -> EnrollmentClient<Channel> {
        EnrollmentClient::new(self.channel())
            .max_decoding_message_size(limits::MESSAGE)
            .max_encoding_message_size(limits::MESSAGE)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.address)
    }
}

async fn first(connector: &Connector, options: &Options) -> Result<Client, Error> {
    let user_agent = HeaderValue::from_static(options.user_agent);
    let mut last = Error::NoEndpoint;
    for address in &options.endpoints {
        let endpoint = Endpoint::from(address.uri())
            .user_agent(user_agent.clone())
            .map_err(|source| Error::UserAgent { source })?
            .http2_keep_alive_interval(options.keep_alive_every)
            .keep_alive_timeout(options.keep_alive_timeout)
            .keep_alive_while_idle(true);
        match endpoint.connect_with_connector(connector.clone()).await {
            Ok(channel) => {
                return Ok(Client {
                    channel,
                    address: address.clone(),
                });
            }
            Err(source) => {
                tracing::debug!(%address, error = &source as &dyn std::error::Error, "endpoint not reached");
                last = Error::Unreachable {
                    address: address.clone(),
                    source,
                };
            }
        }
    }
    Err(last)
}

/// Why there is no connection to a coordinator.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None is configured.
    #[error("no endpoint of a coordinator is configured")]
    NoEndpoint,
    /// The last endpoint was not reached; nor were those before it.
    #[error("reach the coordinator at {address}")]
    Unreachable {
        /// The endpoint.
        address: Address,
        /// Why not; somewhere behind it is a [`ConnectError`](crate::tls::ConnectError).
        source: tonic::transport::Error,
    },
    /// It took too long to try them.
    #[error("reach the coordinator at {endpoints}: no answer within {within:?}")]
    TimedOut {
        /// All of them.
        endpoints: Endpoints,
        /// The limit.
        within: Duration,
    },
    /// The name that we go by can not stand in a header.
    #[error("say who calls")]
    UserAgent {
        /// Why not.
        source: tonic::transport::Error,
    },
}

/// Endpoints, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints(pub Vec<Address>);

impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(Address::to_string).collect();
        f.write_str(&names.join(", "))
    }
}

#[cfg(test)]
mod tests;
