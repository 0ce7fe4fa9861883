//! What the services and the jobs of one coordinator share.

use std::sync::Arc;

use dr_proto::model::Domain;
use dr_proto::tls::Reloading;
use dr_store::{SharedClock, Store};

use super::inventory::Trouble;
use crate::access::refusals::Refusals;
use crate::access::revocations::Revocations;
use crate::config::Config;
use crate::gateway::{Desk, Live};
use crate::handle::{Fleet, Plans};
use crate::metrics::{Metrics, Sight};
use crate::pki::Authority;
use crate::reconcile::Nudge;

/// What the services and the jobs of one coordinator share. A clone shares the same.
#[derive(Debug, Clone)]
pub(super) struct Core {
    pub(super) config: Arc<Config>,
    pub(super) clock: SharedClock,
    pub(super) store: Store,
    /// The number of this incarnation.
    pub(super) epoch: u64,
    pub(super) domain: Domain,
    pub(super) tls: Arc<Reloading>,
    pub(super) authority: Option<Authority>,
    pub(super) live: Live,
    pub(super) metrics: Metrics,
    pub(super) refusals: Refusals,
    pub(super) revocations: Revocations,
    /// Why hosts of the inventory file are not expected at present.
    pub(super) inventory: Trouble,
}

impl Core {
    /// What all sessions share. `opened` is nudged when a stream takes tasks from then on.
    pub(super) fn desk(&self, opened: Nudge) -> Desk {
        Desk {
            store: self.store.clone(),
            clock: self.clock.clone(),
            live: self.live.clone(),
            refusals: self.refusals.clone(),
            revocations: self.revocations.clone(),
            metrics: self.metrics.clone(),
            opened,
            epoch: self.epoch,
            heartbeat: self.config.agents.heartbeat.0,
            lost_after: self.config.agents.lost_after.0,
        }
    }

    /// The hosts, as handles see them.
    pub(super) fn fleet(&self) -> Fleet {
        Fleet::new(
            self.store.clone(),
            self.clock.clone(),
            self.live.clone(),
            self.revocations.clone(),
            &self.config,
            self.inventory.clone(),
            self.epoch,
        )
    }

    /// Where gauges are derived from, at this moment.
    pub(super) fn sight(&self) -> Sight {
        let material = self.tls.current();
        let certificate = material.certificate();
        Sight {
            store: self.store.clone(),
            fleet: self.fleet(),
            plans: Plans::new(self.store.clone(), self.clock.clone()),
            now: self.clock.now(),
            per_host: self
                .config
                .metrics
                .as_ref()
                .is_none_or(|metrics| metrics.per_host),
            own_certificate: (certificate.identity.name.to_string(), certificate.not_after),
        }
    }
}
