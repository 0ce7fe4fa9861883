//! What a caller can set when it opens a store.

use std::time::Duration;

use crate::storage::circuit::Circuit;
use crate::storage::counting::Counters;
use crate::storage::retrying::RetryOptions;
use crate::storage::s3::S3Options;
use crate::storage::throttled::RateLimit;

/// How to reach a store: everything but its URL. The default suits AWS with its own credential chain.
#[derive(Debug, Clone, Default)]
pub struct StorageOptions {
    /// For `s3://` only.
    pub s3: S3Options,
    /// How long one request may take.
    pub timeouts: Timeouts,
    /// How often and how long a request that got no answer is tried again.
    pub retries: RetryOptions,
    /// Ceiling of bytes sent; shared by all stores that are opened with a clone of it.
    pub upload: Option<RateLimit>,
    /// Ceiling of bytes received; shared like `upload`.
    pub download: Option<RateLimit>,
    /// Where requests and bytes are counted; shared like `upload`.
    pub counters: Counters,
    /// What is known of whether the store answers; shared like `upload`.
    pub circuit: Circuit,
}

/// Limits of one request; the retries around it have their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To a connection, TLS included.
    pub connect: Duration,
    /// To the answer of a service that hands out credentials.
    pub credentials: Duration,
    /// Of the whole request with its body. A pack of 32 MiB takes two minutes at 2.2 Mbit/s.
    pub request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            credentials: Duration::from_secs(10),
            request: Duration::from_secs(120),
        }
    }
}
