//! The SDK's client: credentials, region, endpoint, checksums and timeouts.

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    Credentials, RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider,
};
use aws_smithy_http_client::tls::TlsContext;
use secrecy::{ExposeSecret, SecretString};

use super::transport;
use crate::storage::{Error, Result, Timeouts};

/// How to reach an S3 store. The default is AWS, with region and credentials from the environment, profile files, web
/// identity, container or instance, as every AWS tool finds them.
#[derive(Debug, Clone, Default)]
pub struct S3Options {
    /// Region; without one the environment, the profile or the instance says, and `us-east-1` stands with an endpoint.
    pub region: Option<String>,
    /// `http(s)://host:port` of a store other than AWS.
    pub endpoint: Option<String>,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`; without a value, true with an endpoint.
    pub path_style: Option<bool>,
    /// Profile of the shared configuration files.
    pub profile: Option<String>,
    /// Where credentials come from.
    pub credentials: S3Credentials,
    /// Send no CRC32 with a PUT: only for stores that refuse requests with one.
    pub without_checksums: bool,
}

/// Where S3 credentials come from.
#[derive(Debug, Clone, Default)]
pub enum S3Credentials {
    /// The default chain: environment, profile, web identity, container, instance.
    #[default]
    DefaultChain,
    /// These.
    Static {
        /// Access key id.
        access_key: String,
        /// Secret access key.
        secret_key: SecretString,
        /// For temporary credentials.
        session_token: Option<SecretString>,
    },
}

/// A client, and the endpoint for messages.
pub(super) async fn build(options: &S3Options, timeouts: &Timeouts) -> Result<(Client, Option<String>)> {
    check_endpoint(options.endpoint.as_deref())?;
    let shared = load(options, timeouts).await;
    let endpoint = shared
        .endpoint_url()
        .map(str::to_owned)
        .or_else(|| std::env::var("AWS_ENDPOINT_URL_S3").ok());
    let mut config = aws_sdk_s3::config::Builder::from(&shared)
        .retry_config(RetryConfig::disabled())
        .force_path_style(options.path_style.unwrap_or(endpoint.is_some()))
        .timeout_config(request_timeouts(timeouts))
        // What is read is proven above by hashes and sealed chunks, which also tell damage at rest from a bad line.
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .request_checksum_calculation(match options.without_checksums {
            true => RequestChecksumCalculation::WhenRequired,
            false => RequestChecksumCalculation::WhenSupported,
        });
    if shared.region().is_none() && endpoint.is_some() {
        config = config.region(Region::from_static("us-east-1"));
    } else if shared.region().is_none() {
        let reason =
            "no region for S3: set the s3 option region, or AWS_REGION, or region in the AWS profile";
        return Err(Error::Configuration {
            reason: reason.to_owned(),
        });
    }
    Ok((Client::from_conf(config.build()), endpoint))
}

async fn load(options: &S3Options, timeouts: &Timeouts) -> SdkConfig {
    let connect = TimeoutConfig::builder()
        .connect_timeout(timeouts.connect)
        .read_timeout(timeouts.credentials)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(transport::client(TlsContext::default()))
        .timeout_config(connect);
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    } else if options.endpoint.is_some() && std::env::var_os("AWS_REGION").is_none() {
        // Asking an instance for its region takes seconds where there is none.
        loader = loader.region(Region::from_static("us-east-1"));
    }
    if let Some(endpoint) = &options.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    if let S3Credentials::Static {
        access_key,
        secret_key,
        session_token,
    } = &options.credentials
    {
        let token = session_token
            .as_ref()
            .map(|token| token.expose_secret().to_owned());
        let credentials = Credentials::new(
            access_key,
            secret_key.expose_secret(),
            token,
            None,
            "configuration",
        );
        loader = loader.credentials_provider(SharedCredentialsProvider::new(credentials));
    }
    loader.load().await
}

fn request_timeouts(timeouts: &Timeouts) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(timeouts.connect)
        // Counted from the first byte sent: a large PUT on a slow line would never end. The SDK's protection against
        // stalled streams and the timeout of the whole request stand instead.
        .disable_read_timeout()
        .operation_attempt_timeout(timeouts.request)
        .operation_timeout(timeouts.request)
        .build()
}

fn check_endpoint(endpoint: Option<&str>) -> Result<()> {
    let Some(endpoint) = endpoint else { return Ok(()) };
    let problem = match url::Url::parse(endpoint) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            let reason = "the s3 endpoint holds credentials: take them out, and give them by the environment or a profile";
            return Err(Error::Configuration {
                reason: reason.to_owned(),
            });
        }
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => return Ok(()),
        Ok(_) => "it is no http:// or https:// address".to_owned(),
        Err(error) => error.to_string(),
    };
    let reason = format!("s3 endpoint {endpoint}: {problem}; write https://host:port");
    Err(Error::Configuration { reason })
}
