//! The work itself: each task is the job that the command of the same name runs.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use dr_proto::model::{CheckWork, DrillWork, Existing, HoldWork, RestoreWork, SnapshotWork, StartTask, Work};
use dr_vault::progress::Progress;
use dr_vault::restore::{self, Place};
use dr_vault::storage::circuit::Circuit;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::Instrument;

use super::{Ended, Halt, Jobs, answer};
use crate::daemon::allow::{self, Refusal};
use crate::daemon::vitals::Vitals;
use crate::error::{Class, Failure};
use crate::job;
use crate::session::Session;

/// How long a task waits for a command that an operator runs on the host.
const WAIT_FOR_LOCK: Duration = Duration::from_secs(600);
/// How often it looks.
const LOOK: Duration = Duration::from_secs(2);

/// The jobs of this host.
#[derive(Debug, Clone)]
pub struct HostJobs {
    session: Session,
    vitals: Vitals,
}

impl HostJobs {
    /// Jobs with what the daemon has at hand.
    pub fn new(session: Session, vitals: Vitals) -> Self {
        Self { session, vitals }
    }
}

#[async_trait]
impl Jobs for HostJobs {
    async fn run(&self, task: &StartTask, halt: &Halt, progress: &Progress) -> Ended {
        let mut session = self.session.clone();
        session.stop = halt.stop().clone();
        // What an earlier task found says nothing of now.
        session.circuit = Circuit::default();
        let (work, progress) = (task.work.clone(), progress.clone());
        // A thread of its own: it may block for a while without holding up the link, and a panic in it ends the task,
        // not the daemon.
        let (span, runtime) = (tracing::Span::current(), Handle::current());
        let _held = matches!(work, Work::Snapshot(_)).then(|| self.vitals.snapshot());
        let asked = work.clone();
        let running = tokio::task::spawn_blocking(move || {
            runtime.block_on(patiently(session, asked, progress).instrument(span))
        });
        let ended = match running.await {
            Ok(ended) => ended,
            Err(error) => answer::failed(&work, &error.into()),
        };
        self.vitals.found(&ended.sources, &ended.message);
        // Ends what still watches the token: the suspend file's watch, the follower of upload limits.
        halt.stop().token().cancel();
        ended
    }
}

/// Does the work; waits a while for a command that an operator runs.
async fn patiently(session: Session, work: Work, progress: Progress) -> Ended {
    let patience = Instant::now() + WAIT_FOR_LOCK;
    loop {
        let failure = match Box::pin(perform(&session, &work, &progress)).await {
            Ok(ended) => return ended,
            Err(failure) => failure,
        };
        if failure.class() != Class::Busy || Instant::now() >= patience {
            return answer::failed(&work, &failure);
        }
        tracing::debug!(reason = %failure, "the task waits");
        let stopped = session
            .stop
            .token()
            .run_until_cancelled(tokio::time::sleep(LOOK))
            .await
            .is_none();
        if stopped {
            return answer::failed(&work, &failure);
        }
    }
}

async fn perform(session: &Session, work: &Work, progress: &Progress) -> Result<Ended, Failure> {
    if let Err(refusal) = allow::judge(session, work) {
        return Ok(Ended::refused(&refusal));
    }
    let session = match work
        .from_host()
        .map(|host| allow::neighbour(&session.config, host))
    {
        None => session.clone(),
        Some(Ok(repository)) => {
            let mut other = session.clone();
            other.config.repository = Some(repository);
            other
        }
        Some(Err(refusal)) => return Ok(Ended::refused(&refusal)),
    };
    match work {
        Work::Snapshot(work) => snapshot(&session, work, progress).await,
        Work::Drill(work) => drill(&session, work, progress).await,
        Work::Restore(work) => restore(&session, work, progress).await,
        Work::Check(work) => check(&session, work, progress).await,
        Work::Hold(work) => hold(&session, work).await,
    }
}

async fn snapshot(session: &Session, work: &SnapshotWork, progress: &Progress) -> Result<Ended, Failure> {
    let ask = job::snapshot::Ask {
        sources: work.sources.clone(),
        reread: work.reread,
        reason: work.reason.clone(),
        hold: work.hold.clone(),
        accept: work.accept,
        facts: true,
    };
    let taken = job::snapshot::run(session, ask, progress).await?;
    Ok(answer::snapshot(&taken))
}

async fn drill(session: &Session, work: &DrillWork, progress: &Progress) -> Result<Ended, Failure> {
    let ask = job::drill::Ask {
        kind: work.kind,
        snapshot: work.snapshot.clone(),
        bytes_budget: work.bytes_budget,
        bytes_cycle: work.bytes_cycle,
        content_cycle: work.content_cycle,
        loss: work.loss,
        recall_tolerance: work.recall_tolerance.unwrap_or(job::drill::RECALL_TOLERANCE),
        only: work.only,
        hooks: work.hooks.clone(),
    };
    let drilled = job::drill::run(session, ask, progress).await?;
    Ok(answer::drill(&drilled.report))
}

async fn restore(session: &Session, work: &RestoreWork, progress: &Progress) -> Result<Ended, Failure> {
    let ask = job::restore::Ask {
        snapshot: work.snapshot.clone(),
        sources: work.sources.clone(),
        table: work.table.clone(),
        paths: work.paths.clone(),
        place: Place::BySource(work.to.clone()),
        existing: match work.existing {
            Existing::Refuse => restore::Existing::Refuse,
            Existing::Exchange => restore::Existing::Exchange,
            Existing::Entries => restore::Existing::Entries,
        },
        fetch_all: work.fetch_all,
        plan_only: work.plan_only,
    };
    // The plan says where everything goes once links are followed: it is judged before anything is written.
    let refused: Arc<OnceLock<Refusal>> = Arc::default();
    let judge = |plan: &restore::Plan| {
        allow::judge_plan(&session.config, plan).map_err(|refusal| {
            let failure = Failure::new(Class::Denied, refusal.message.clone());
            refused.get_or_init(|| refusal);
            failure
        })
    };
    let done = job::restore::run(session, ask, progress, judge).await;
    if let Some(refusal) = refused.get() {
        return Ok(Ended::refused(refusal));
    }
    Ok(match done? {
        job::restore::Restored::Planned(plan) => {
            let sources: Vec<String> = plan.placements.iter().map(|p| p.source.clone()).collect();
            answer::restored(&plan, sources)
        }
        job::restore::Restored::Done(report, _) => {
            let sources: Vec<String> = report.placed.iter().map(|p| p.source.clone()).collect();
            answer::restored(&report, sources)
        }
    })
}

async fn check(session: &Session, work: &CheckWork, progress: &Progress) -> Result<Ended, Failure> {
    let ask = job::check::Ask {
        kind: work.kind,
        sources: work.sources.clone(),
        integrity: job::check::Integrity::default(),
    };
    let answer = job::check::run(session, ask, progress).await?;
    Ok(answer::checked(&answer))
}

async fn hold(session: &Session, work: &HoldWork) -> Result<Ended, Failure> {
    let ask = job::hold::Ask {
        snapshot: work.snapshot.clone(),
        change: work.change.clone(),
    };
    Ok(answer::held(&job::hold::run(session, ask).await?))
}
