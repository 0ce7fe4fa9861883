//! Holds a snapshot against retention, or releases it.

use dr_proto::model::{HoldChange, HoldInfo};
use dr_vault::SnapshotId;
use serde::Serialize;

use crate::error::{Doing, Failure};
use crate::hold;
use crate::session::Session;

/// What to do with the holds of which snapshot.
#[derive(Debug, Clone)]
pub struct Ask {
    /// `latest`, an id, or the beginning of one.
    pub snapshot: String,
    /// What becomes of its holds.
    pub change: HoldChange,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The hold that was set; `None`: a release.
    pub set: Option<HoldInfo>,
    /// The holds that were ended.
    pub released: Vec<HoldInfo>,
}

/// Does it, under the lock.
///
/// # Errors
/// When there is no such snapshot, or the repository can not be read or written.
pub async fn run(session: &Session, ask: Ask) -> Result<Changed, Failure> {
    let _lock = session.begin("hold")?;
    let repository = session.repository().await?;
    let snapshot = repository.resolve(&ask.snapshot).await?.id;
    let work = async {
        Ok(match &ask.change {
            HoldChange::Set(terms) => Changed {
                snapshot,
                set: Some(
                    hold::set(&repository, &snapshot, terms, session.clock.now())
                        .await
                        .doing(|| format!("hold snapshot {snapshot}"))?,
                ),
                released: Vec::new(),
            },
            HoldChange::Release { reason } => Changed {
                snapshot,
                set: None,
                released: hold::release(&repository, &snapshot, reason)
                    .await
                    .doing(|| format!("release snapshot {snapshot}"))?,
            },
        })
    };
    session.until_stopped(work).await
}
