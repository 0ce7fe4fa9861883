//! The coordinator's own audit log.

use dr_store::Store;
use dr_store::audit::{AuditRecord, Chain};

use super::Error;

/// Entries that a call gets if it does not say.
const USUAL: u32 = 100;
/// Entries that a call gets at the most.
const MOST: u32 = 1_000;

/// Reads and verifies the audit log.
#[derive(Debug, Clone)]
pub struct Audit {
    store: Store,
}

impl Audit {
    /// A handle on the log in `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Entries before `before` (0: all), newest first.
    pub async fn list(&self, before: u64, limit: u32) -> Result<Vec<AuditRecord>, Error> {
        let limit = if limit == 0 { USUAL } else { limit.min(MOST) };
        Ok(self.store.audit().list(before, limit).await?)
    }

    /// Walks the chain.
    pub async fn verify(&self) -> Result<Chain, Error> {
        Ok(self.store.audit().verify(None).await?)
    }
}
