//! HTTP for S3: plain connections at once, TLS with its roots only when the first `https:` request is made.
//!
//! A store on a plain endpoint (a server beside the host, tests) thus costs no trust store in memory, while credentials
//! may still come from an `https:` service.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

/// Connections that nobody uses are closed after this: an idle agent holds none.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// A client that speaks both, and loads TLS when it is first needed.
pub(super) fn client(tls: TlsContext) -> SharedHttpClient {
    let plain = Builder::new().pool_idle_timeout(POOL_IDLE).build_http();
    SharedHttpClient::new(LazyTls {
        plain,
        secure: Arc::new(Secure {
            tls,
            client: OnceLock::new(),
        }),
    })
}

#[derive(Debug)]
struct LazyTls {
    plain: SharedHttpClient,
    secure: Arc<Secure>,
}

#[derive(Debug)]
struct Secure {
    tls: TlsContext,
    client: OnceLock<SharedHttpClient>,
}

impl Secure {
    fn client(&self) -> &SharedHttpClient {
        self.client.get_or_init(|| {
            Builder::new()
                .pool_idle_timeout(POOL_IDLE)
                .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
                .tls_context(self.tls.clone())
                .build_https()
        })
    }
}

impl HttpClient for LazyTls {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        parts: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(ByScheme {
            plain: self.plain.http_connector(settings, parts),
            secure: Arc::clone(&self.secure),
            settings: settings.clone(),
            parts: parts.clone(),
        })
    }
}

#[derive(Debug)]
struct ByScheme {
    plain: SharedHttpConnector,
    secure: Arc<Secure>,
    settings: HttpConnectorSettings,
    parts: RuntimeComponents,
}

impl HttpConnector for ByScheme {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        match request.uri().starts_with("https:") {
            true => self
                .secure
                .client()
                .http_connector(&self.settings, &self.parts)
                .call(request),
            false => self.plain.call(request),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};

    use super::*;

    async fn ask(endpoint: &str) -> Arc<Secure> {
        let secure = Arc::new(Secure {
            tls: TlsContext::default(),
            client: OnceLock::new(),
        });
        let http = LazyTls {
            plain: Builder::new().build_http(),
            secure: Arc::clone(&secure),
        };
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .endpoint_url(endpoint)
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
            .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
            .build();
        let answer = aws_sdk_s3::Client::from_conf(config)
            .head_object()
            .bucket("acme")
            .key("config")
            .send()
            .await;
        assert!(answer.is_err(), "nobody listens on port 1");
        secure
    }

    #[tokio::test]
    async fn only_an_https_request_loads_the_trust_store() {
        assert!(ask("http://127.0.0.1:1").await.client.get().is_none());
        assert!(ask("https://127.0.0.1:1").await.client.get().is_some());
    }
}
