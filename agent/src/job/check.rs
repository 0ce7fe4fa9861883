//! Looks at the live sources and at their protection; read-only.

use std::collections::BTreeMap;
use std::time::Duration;

use dr_auditlog::LogState;
use dr_proto::model::{CheckKind, Verdict};
use dr_vault::progress::Progress;
use serde::Serialize;

use crate::check::{self, Checked, audit_log, integrity, vector_db};
use crate::config::{Period, ResolvedSource, Size, SourceKind};
use crate::error::{Class, Doing, Failure};
use crate::session::Session;
use crate::stamp::Stamp;

/// What to look at.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The check.
    pub kind: CheckKind,
    /// Only these sources; all of the kind if none is named.
    pub sources: Vec<String>,
    /// What the check of the recovery itself holds against the host.
    pub integrity: Integrity,
}

/// What the check of the recovery itself holds against the host.
#[derive(Debug, Clone, Copy)]
pub struct Integrity {
    /// The newest snapshot may be this old.
    pub snapshot_age: Period,
    /// The newest passed drill may be this old.
    pub proof_age: Period,
    /// The most bytes to re-hash; the next check goes on where this one stops.
    pub budget: Size,
}

impl Default for Integrity {
    fn default() -> Self {
        const HOUR: u64 = 3600;
        Self {
            snapshot_age: Period(Duration::from_secs(24 * HOUR)),
            proof_age: Period(Duration::from_secs(35 * 24 * HOUR)),
            budget: Size(20 << 30),
        }
    }
}

/// A check's answer.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// The check.
    pub check: CheckKind,
    /// The worst verdict.
    pub verdict: Verdict,
    /// One entry for each source, or each question.
    pub checked: Vec<Checked>,
}

/// Looks.
///
/// # Errors
/// When the question could not be asked of anything; what is wrong with the data is in the answer.
pub async fn run(session: &Session, ask: Ask, progress: &Progress) -> Result<Answer, Failure> {
    let checked = match ask.kind {
        CheckKind::VectorDb => {
            let sources = of_kind(session, &ask.sources, SourceKind::Lancedb)?;
            let cancel = session.stop.token().clone();
            on_threads(session, sources, progress, move |source| {
                vector_db::check(source, &cancel)
            })
            .await?
        }
        CheckKind::AuditLog => {
            let sources = of_kind(session, &ask.sources, SourceKind::AuditLog)?;
            let (cancel, known) = (session.stop.token().clone(), captured(session).await);
            let now = session.clock.now();
            let check = move |source: &ResolvedSource| {
                audit_log::check(source, known.get(&source.name), now, &cancel)
            };
            on_threads(session, sources, progress, check).await?
        }
        CheckKind::DrIntegrity => dr_integrity(session, ask.integrity, progress).await?,
    };
    Ok(Answer {
        check: ask.kind,
        verdict: check::verdict(&checked),
        checked,
    })
}

fn of_kind(session: &Session, names: &[String], kind: SourceKind) -> Result<Vec<ResolvedSource>, Failure> {
    let mut sources = session.sources(names)?;
    sources.retain(|source| source.kind == kind);
    if sources.is_empty() {
        return Err(Failure::new(
            Class::NotFound,
            format!("no source of kind `{}` is configured", kind.as_str()),
        )
        .hint("`dr-agent discover DIR` finds them"));
    }
    Ok(sources)
}

/// One source after the other, on a thread that may block.
async fn on_threads(
    session: &Session,
    sources: Vec<ResolvedSource>,
    progress: &Progress,
    check: impl Fn(&ResolvedSource) -> Checked + Send + 'static,
) -> Result<Vec<Checked>, Failure> {
    let progress = progress.clone();
    let told = move |source: &ResolvedSource| {
        progress.step(format!("checking {}", source.name));
        check(source)
    };
    let work = tokio::task::spawn_blocking(move || sources.iter().map(told).collect());
    session.until_stopped(async { Ok(work.await?) }).await
}

/// What the last snapshot captured of each log; nothing where no repository can be asked.
async fn captured(session: &Session) -> BTreeMap<String, LogState> {
    if session.config.repository.is_none() {
        return BTreeMap::new();
    }
    let asked = async {
        let repository = session.repository().await?;
        let info = repository.resolve("latest").await?;
        Ok::<_, Failure>(repository.manifest(&info.id).await?)
    };
    match asked.await {
        Ok(manifest) => manifest
            .sources
            .iter()
            .filter_map(|source| match Stamp::read(&source.stamp) {
                Some(Stamp::AuditLog(log)) => Some((source.name.clone(), log.state())),
                _ => None,
            })
            .collect(),
        Err(failure) => {
            session.ui.warn(&format!(
                "logs are not compared with the last snapshot: {failure}"
            ));
            BTreeMap::new()
        }
    }
}

async fn dr_integrity(
    session: &Session,
    limits: Integrity,
    progress: &Progress,
) -> Result<Vec<Checked>, Failure> {
    let _lock = session.begin_yielding("check dr-integrity").await?;
    let options = integrity::Options {
        snapshot_age: limits.snapshot_age,
        proof_age: limits.proof_age,
        budget: limits.budget,
        cursor: session.state()?.root().join("rehash.json"),
    };
    let repository = session.repository().await?;
    let now = session.clock.now();
    integrity::check(&repository, &options, now, progress, session.stop.token())
        .await
        .doing(|| "check the recovery of this host".to_owned())
}
