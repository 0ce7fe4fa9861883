//! When the certificate ends, for Prometheus.

use std::collections::HashMap;
use std::sync::Arc;

use dr_proto::tls::Reloading;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};

/// The metric's name; the coordinator has one of the same name for all certificates that it knows.
const NAME: &str = "dr_certificate_expiry_timestamp_seconds";
const HELP: &str = "When the certificate in use ends.";

/// `dr_certificate_expiry_timestamp_seconds{role,name}` of the certificate in use at each scrape.
#[derive(Debug)]
pub struct Expiry {
    tls: Arc<Reloading>,
    desc: Desc,
}

impl Expiry {
    /// For the certificate that `tls` has in use.
    ///
    /// # Errors
    /// When the metric's name is none: a mistake of ours.
    pub fn new(tls: Arc<Reloading>) -> Result<Self, prometheus::Error> {
        let labels = ["role", "name"].map(ToOwned::to_owned).to_vec();
        let desc = Desc::new(NAME.to_owned(), HELP.to_owned(), labels, HashMap::new())?;
        Ok(Self { tls, desc })
    }

    fn gather(&self) -> Result<Vec<MetricFamily>, prometheus::Error> {
        let gauge = IntGaugeVec::new(Opts::new(NAME, HELP), &["role", "name"])?;
        let material = self.tls.current();
        let certificate = material.certificate();
        let labels = [
            certificate.identity.role.as_str(),
            certificate.identity.name.as_str(),
        ];
        gauge
            .with_label_values(&labels)
            .set(certificate.not_after.as_second());
        Ok(gauge.collect())
    }
}

impl Collector for Expiry {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gather().unwrap_or_else(|error| {
            tracing::error!(%error, "the end of the certificate could not be told");
            Vec::new()
        })
    }
}
