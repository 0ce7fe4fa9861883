//! Which tables' digests were proved when, so that a drill need not scan them again within the plan's cycle.
//!
//! # Overview
//! The repository's ledger keeps what drills have verified. A drill that scanned a table in place and found the digest
//! of its cut adds the table, its version and that digest; a later drill of the same version does not hash its rows
//! again until the cycle is over, and names it. A table that has changed is another version, and is scanned.
//!
//! # Consistency
//! Entries only ever save work: one that is lost or can not be read means that its tables are scanned again.

use std::collections::HashMap;
use std::time::Duration;

use dr_probe_wire::facts::Facts;
use dr_probe_wire::job::KnownTable;
use dr_probe_wire::measure::TableMeasure;
use dr_proto::model::units::Period;
use dr_vault::Repository;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// One table of one version, and its digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Proof {
    source: String,
    table: String,
    version: u64,
    rows: u64,
    digest: String,
}

impl Proof {
    /// What a proof of this table would say; `None` if it has no digest.
    pub(super) fn of(source: &str, table: &TableMeasure) -> Option<Self> {
        let digest = &table.content.as_ref()?.digest;
        Some(Self {
            source: source.to_owned(),
            table: table.path.clone(),
            version: table.version?,
            rows: digest.rows,
            digest: digest.sum.to_string(),
        })
    }
}

/// An entry of the ledger; the vault's own have other fields.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Entry {
    content: Vec<Proof>,
}

/// The proofs of one cycle.
#[derive(Debug, Default)]
pub(super) struct Proved {
    cycle: Duration,
    times: HashMap<Proof, Timestamp>,
}

impl Proved {
    /// Reads what the ledger tells of the last `cycle`.
    pub(super) async fn read(
        repository: &Repository,
        cycle: Duration,
        now: Timestamp,
    ) -> Result<Self, dr_vault::Error> {
        let length = SignedDuration::try_from(cycle).unwrap_or(SignedDuration::MAX);
        let since = now.saturating_sub(length).unwrap_or(Timestamp::MIN);
        let mut times = HashMap::new();
        for info in repository.ledger().await? {
            if info.time < since {
                continue;
            }
            let body = match repository.record(&info.object).await {
                Ok(body) => body,
                // What can not be read proves nothing: that is hashed again.
                Err(error) if error.is_damage() => continue,
                Err(error) => return Err(error),
            };
            // Nor does what another release wrote otherwise.
            let entry: Entry = serde_json::from_slice(&body).unwrap_or_default();
            for proof in entry.content {
                let last = times.entry(proof).or_insert(info.time);
                *last = info.time.max(*last);
            }
        }
        Ok(Self { cycle, times })
    }

    /// When this was proved.
    fn when(&self, proof: &Proof) -> Option<Timestamp> {
        self.times.get(proof).copied()
    }

    /// What of the facts need not be hashed again.
    pub(super) fn known(&self, source: &str, recorded: &Facts) -> Vec<KnownTable> {
        let is_proved = |path: &str| {
            let table = recorded.table(path);
            let proof = table.and_then(|table| Proof::of(source, table));
            proof.is_some_and(|proof| self.when(&proof).is_some())
        };
        let mut known = recorded.known();
        known.retain(|table| is_proved(&table.path));
        known
    }

    /// Why this table was not scanned, if it was not: when its digest was proved.
    pub(super) fn excuse(&self, source: &str, table: &TableMeasure) -> Option<String> {
        let read = table.content.as_ref()?.rows_read;
        let when = self.when(&Proof::of(source, table)?)?;
        (read == 0 && table.rows != Some(0)).then(|| {
            format!(
                "not scanned: its digest was proved at {when:.0}, and has its next turn {} after that",
                Period(self.cycle)
            )
        })
    }
}

/// Adds what was proved to the ledger. A store that refuses it does not change the verdict.
pub(super) async fn append(repository: &Repository, content: Vec<Proof>) {
    if content.is_empty() {
        return;
    }
    let stored = match serde_json::to_vec(&Entry { content }) {
        Ok(entry) => repository.append_ledger(&entry).await.map(drop),
        Err(error) => Err(dr_vault::Error::Internal {
            reason: format!("encode what was proved: {error}"),
        }),
    };
    if let Err(error) = stored {
        tracing::warn!(%error, "what was proved is not in the ledger: the next drill scans it again");
    }
}

#[cfg(test)]
mod tests {
    use dr_probe_wire::measure::{Content, Digest};

    use super::*;
    use crate::drill::testing::Rig;

    fn table(path: &str, version: u64, rows: u64, rows_read: u64) -> TableMeasure {
        TableMeasure {
            path: path.to_owned(),
            version: Some(version),
            rows: Some(rows),
            content: Some(Content {
                digest: Digest {
                    rows,
                    ..Digest::default()
                },
                rows_read,
                ..Content::default()
            }),
            ..TableMeasure::default()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_table_has_its_turn_again_when_the_cycle_is_over_or_it_changed() {
        let rig = Rig::new().await;
        let cache = tempfile::tempdir().unwrap();
        let repository = rig.open_through(rig.storage.clone(), &cache).await;
        let hour = Duration::from_secs(3_600);
        let (old, changed) = (table("a.lance", 3, 10, 10), table("a.lance", 4, 10, 0));
        append(&repository, Proof::of("memory", &old).into_iter().collect()).await;
        let facts = |table: &TableMeasure| Facts {
            tables: vec![table.clone()],
            ..Facts::default()
        };
        let known = async |source: &str, table: &TableMeasure, after: Duration| {
            let now = rig.now() + after;
            let proved = Proved::read(&repository, hour, now).await.unwrap();
            (!proved.known(source, &facts(table)).is_empty(), proved)
        };
        let (within, proved) = known("memory", &old, hour / 2).await;
        assert!(within);
        assert_eq!(
            proved.excuse("memory", &old),
            None,
            "its rows were read after all"
        );
        let unread = table("a.lance", 3, 10, 0);
        assert!(
            proved
                .excuse("memory", &unread)
                .is_some_and(|why| why.contains("1h"))
        );
        assert!(!known("memory", &changed, hour / 2).await.0);
        assert!(!known("other", &old, hour / 2).await.0);
        assert!(!known("memory", &old, hour * 2).await.0);
    }
}
