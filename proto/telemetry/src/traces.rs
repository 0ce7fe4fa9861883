//! Starting and ending telemetry.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer};

use crate::logs::{self, LogFormat};
use crate::past::{self, Chosen};
use crate::sampling::{self, Shares, TailSampler};

/// How long one export may take, and how long the last one at the end.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a process tells of itself.
#[derive(Debug, Clone)]
pub struct Options {
    /// `dr-agent`, `dr-coordinator` or `drctl`.
    pub service: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The host, or whatever tells one instance from another.
    pub instance: String,
    /// A filter of tracing's syntax for events: `info`, `dr_agent=debug,warn`.
    pub filter: String,
    /// How events are written to standard error.
    pub logs: LogFormat,
    /// Where spans go; `None`: nowhere, but traces are still carried on.
    pub otlp: Option<Otlp>,
}

/// An OpenTelemetry collector.
#[derive(Debug, Clone, PartialEq)]
pub struct Otlp {
    /// `http://host:4317`, OTLP over gRPC.
    pub endpoint: String,
    /// The shares of traces that are sent there.
    pub shares: Shares,
    /// Whether [`crate::sampling::judge`] will be told how runs of other processes ended.
    pub judged: bool,
}

/// Why telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter makes no sense.
    #[error("read the log filter `{filter}`")]
    Filter {
        /// The filter.
        filter: String,
        /// Why.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The exporter could not be built.
    #[error("prepare to send traces to {endpoint}")]
    Exporter {
        /// The collector.
        endpoint: String,
        /// Why.
        #[source]
        source: ExporterBuildError,
    },
    /// Another subscriber is installed already.
    #[error("install the log subscriber")]
    Installed(#[from] TryInitError),
}

/// Keeps telemetry going; dropping it sends what is left, within five seconds.
#[derive(Debug)]
#[must_use = "dropping it ends telemetry"]
pub struct Guard {
    provider: SdkTracerProvider,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(EXPORT_TIMEOUT) {
            tracing::debug!(%error, "the last spans could not be sent");
        }
    }
}

/// Starts logs and traces of this process. Needs a running tokio runtime if an OTLP endpoint is given.
pub fn start(options: Options) -> Result<Guard, Error> {
    let filter = EnvFilter::try_new(&options.filter).map_err(|source| Error::Filter {
        filter: options.filter.clone(),
        source,
    })?;
    let provider = provider(&options)?;
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(options.service))
        .with_error_events_to_status(true)
        .with_location(false)
        .with_threads(false)
        .with_filter(traces_filter());
    tracing_subscriber::registry()
        .with(spans)
        .with(logs::layer(options.logs).with_filter(filter))
        .try_init()?;
    Ok(Guard { provider })
}

/// Our own spans at `info` and above are traced whatever the log shows: a trace with holes misleads. Those of
/// libraries are not: there would be one for each frame of HTTP/2.
fn traces_filter() -> tracing_subscriber::filter::Targets {
    tracing_subscriber::filter::Targets::new()
        .with_target("dr_", tracing::Level::INFO)
        .with_target("drctl", tracing::Level::INFO)
}

fn provider(options: &Options) -> Result<SdkTracerProvider, Error> {
    let resource = Resource::builder()
        .with_service_name(options.service)
        .with_attributes([
            KeyValue::new("service.version", options.version),
            KeyValue::new("service.instance.id", options.instance.clone()),
        ])
        .build();
    let builder = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_id_generator(Chosen::default());
    let Some(otlp) = &options.otlp else {
        return Ok(builder.build());
    };
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&otlp.endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|source| Error::Exporter {
            endpoint: otlp.endpoint.clone(),
            source,
        })?;
    let batch = BatchSpanProcessor::builder(exporter).build();
    let sampler = if otlp.judged {
        TailSampler::judged(batch, otlp.shares)
    } else {
        TailSampler::new(batch, otlp.shares)
    };
    sampling::install(&sampler);
    let provider = builder.with_span_processor(sampler).build();
    past::install(&provider, options.service, otlp.shares);
    Ok(provider)
}
