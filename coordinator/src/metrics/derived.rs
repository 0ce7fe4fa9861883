//! Gauges that are derived from the store: built as a whole, exchanged as a whole.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// The families of the last pass.
#[derive(Debug, Default)]
pub struct State(Mutex<Vec<MetricFamily>>);

impl State {
    pub(super) fn set(&self, families: Families) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = families.into_families();
    }
}

/// Gives the registry the families of the last pass.
#[derive(Debug)]
pub(super) struct Snapshot(pub(super) std::sync::Arc<State>);

impl Collector for Snapshot {
    fn desc(&self) -> Vec<&Desc> {
        // Its series come and go with hosts and plans.
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Gauges in the making.
#[derive(Debug, Default)]
pub struct Families(BTreeMap<&'static str, MetricFamily>);

impl Families {
    /// Adds one value. `help` counts the first time that a name is used.
    pub fn set(&mut self, name: &'static str, help: &'static str, labels: &[(&str, &str)], value: f64) {
        let family = self.0.entry(name).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(MetricType::GAUGE);
            family
        });
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = Metric::from_gauge(gauge);
        let mut pairs: Vec<LabelPair> = labels
            .iter()
            .map(|(name, value)| {
                let mut pair = LabelPair::default();
                pair.set_name((*name).to_owned());
                pair.set_value((*value).to_owned());
                pair
            })
            .collect();
        pairs.sort_by(|left, right| left.name().cmp(right.name()));
        metric.set_label(pairs);
        family.mut_metric().push(metric);
    }

    fn into_families(self) -> Vec<MetricFamily> {
        self.0.into_values().collect()
    }
}
