//! Hosts that should be there: handing a list over, and what it and the fleet differ in.

use std::collections::BTreeSet;
use std::time::Duration;

use dr_proto::model::HostName;
use dr_proto::model::expected::ExpectedHost;
use dr_store::expected::{ExpectedList, Imported};

use super::super::Error;
use super::Fleet;
use crate::reconcile::missing::{self, Difference};

/// What the list and the fleet differ in, with where the list comes from.
#[derive(Debug, Clone)]
pub struct DiffView {
    /// The list.
    pub list: ExpectedList,
    /// What differs.
    pub difference: Difference,
    /// How long a host of the list may be away.
    pub missing_after: Duration,
}

impl Fleet {
    /// Replaces the list of hosts that should be there.
    pub async fn import(&self, hosts: &[ExpectedHost], by: &str) -> Result<Imported, Error> {
        if let Some(file) = &self.config.inventory.file {
            return Err(Error::OwnInventory { file: file.clone() });
        }
        Ok(self.store.expected().replace(hosts, by).await?)
    }

    /// What the list and the fleet differ in.
    pub async fn difference(&self) -> Result<DiffView, Error> {
        let list = self.store.expected().list().await?.ok_or(Error::NoInventory)?;
        let missing_after = self.config.inventory.missing_after.0;
        let connected: BTreeSet<HostName> = self.live.all().into_keys().collect();
        let hosts = self.store.hosts().list().await?;
        let now = self.clock.now();
        Ok(DiffView {
            difference: missing::compare(&list, &hosts, &connected, missing_after, now),
            list,
            missing_after,
        })
    }

    /// How many hosts of the list are missing for longer than hosts may be away; none without a list.
    pub async fn overdue(&self) -> Result<usize, Error> {
        match self.difference().await {
            Ok(view) => Ok(view.difference.missing.iter().filter(|host| host.overdue).count()),
            Err(Error::NoInventory) => Ok(0),
            Err(error) => Err(error),
        }
    }
}
