//! Takes a snapshot of the configured sources.

use dr_lance::pins::FreeSpace;
use dr_proto::model::HoldTerms;
use dr_vault::progress::{Phase, Progress};

use super::probes;
use crate::config::Floor;
use crate::error::Failure;
use crate::session::Session;
use crate::snapshot::{self, FactsOptions, Outcome, PinLimits, Request};
use crate::state::scratch::Area;

/// What to take.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Only these sources; all that are configured if none is named.
    pub sources: Vec<String>,
    /// Read every file again, also those that can not have changed.
    pub reread: bool,
    /// Why, for whoever reads the list.
    pub reason: Option<String>,
    /// Hold it once it is committed.
    pub hold: Option<HoldTerms>,
    /// The cut is right although it may look suspect: somebody looked.
    pub accept: bool,
    /// Measure digests and golden answers afterwards.
    pub facts: bool,
}

/// Takes it, under the lock.
///
/// # Errors
/// When nothing was committed.
pub async fn run(session: &Session, ask: Ask, progress: &Progress) -> Result<Outcome, Failure> {
    progress.enter(Phase::Preparing);
    let _lock = session.begin_yielding("snapshot").await?;
    let sources = session.sources(&ask.sources)?;
    let repository = session.repository().await?;
    let staging = Area::new(session.state()?.staging()).claim("snapshot", session.clock.now())?;
    let request = Request {
        host: session.config.agent.host.clone(),
        sources,
        whole: ask.sources.is_empty(),
        staging: staging.path().to_owned(),
        reread: ask.reread,
        reason: ask.reason,
        hold: ask.hold,
        accept: ask.accept,
        writer: session.state()?.writer()?.to_string(),
        pins: pin_limits(session),
        facts: ask.facts.then(|| facts(session, progress)),
    };
    let taken = snapshot::run(
        &repository,
        request,
        &session.clock,
        progress,
        session.stop.token(),
    );
    let taken = taken.await?;
    if let Some(what) = super::rolled_back(&repository).await {
        session.ui.warn(&what);
    }
    Ok(taken)
}

fn pin_limits(session: &Session) -> PinLimits {
    let pins = &session.config.limits.pins;
    PinLimits {
        max_age: pins.max_age.0,
        min_free: match pins.min_free {
            Floor::Share(percent) => FreeSpace::Percent(percent.0),
            Floor::Bytes(size) => FreeSpace::Bytes(size.0),
        },
    }
}

fn facts(session: &Session, progress: &Progress) -> FactsOptions {
    FactsOptions {
        probes: session.config.agent.probes.clone(),
        beside: probes::beside(),
        memory: probes::memory(session),
        budget: probes::DEADLINE,
        queries: 8,
        k: 10,
        exits: session.probe_exits.clone(),
        progress: progress.clone(),
    }
}
