//! Waiting for a run's end, and what is said then: for people, for programs, for build servers.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use dr_proto::model::exit::Code;
use dr_proto::model::units::Period;
use dr_proto::view::Run;
use dr_terminal::arguments::period;
use serde::Serialize;

use crate::coordinator::{Coordinator, Start, What};
use crate::error::{Class, Doing, Failure, Outcome};
use crate::evidence::{self, Evidence, outputs};
use crate::follow::{self, End, come_back};
use crate::session::Session;

/// For commands that start work and may wait for its end.
#[derive(Debug, Clone, Args)]
pub(super) struct Waiting {
    /// Wait for the end; the worst host decides the exit code
    #[arg(long)]
    pub(super) wait: bool,
    #[command(flatten)]
    pub(super) following: Following,
}

/// For commands that wait.
#[derive(Debug, Clone, Args)]
pub(super) struct Following {
    /// Give up waiting after this time, with exit code 2; the work goes on
    #[arg(long, value_name = "TIME", value_parser = period)]
    wait_for: Option<Period>,
    /// Cancel the work when a signal ends the wait
    #[arg(long)]
    cancel_on_interrupt: bool,
    /// Write a JUnit file of the result
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

impl Waiting {
    /// Options of the wait without a wait are a mistake in the command line.
    fn check(&self) -> Result<(), Failure> {
        let following = &self.following;
        let given = [
            (following.wait_for.is_some(), "--wait-for"),
            (following.cancel_on_interrupt, "--cancel-on-interrupt"),
            (following.junit.is_some(), "--junit"),
        ];
        match given.into_iter().find(|(given, _)| *given && !self.wait) {
            Some((_, flag)) => Err(Failure::new(Class::Usage, format!("{flag} needs --wait"))),
            None => Ok(()),
        }
    }
}

/// A run that was started, or changed.
#[derive(Serialize)]
struct Started<'a> {
    run: &'a Run,
}

/// A run whose end was not waited for.
#[derive(Serialize)]
struct Unfinished {
    run_id: String,
    outcome: &'static str,
}

/// Starts a run and, if asked to, waits for its end.
pub(super) async fn start(session: &Session, what: What, waiting: &Waiting) -> Outcome {
    waiting.check()?;
    let coordinator = session.coordinator().await?;
    let start = Start::new(what, (session.now)());
    let run = session
        .until_interrupted(async { Ok(coordinator.start(start).await?) })
        .await?;
    begun(session, &coordinator, run, waiting).await
}

/// Says that a run goes on, or waits for its end.
pub(super) async fn begun(
    session: &Session,
    coordinator: &Coordinator,
    run: Run,
    waiting: &Waiting,
) -> Outcome {
    waiting.check()?;
    if waiting.wait {
        return follow(session, coordinator, &run.id, &waiting.following).await;
    }
    if session.ui.is_json() {
        session.answer(&Started { run: &run })?;
    } else {
        session
            .ui
            .data(&format!("run {}: {} is {}", run.id, run.work, run.state))?;
        session.ui.say(&format!("Hint: {}", come_back(&run.id)));
    }
    Ok(Code::Done)
}

/// Watches a run until its end and prints it.
pub(super) async fn follow(
    session: &Session,
    coordinator: &Coordinator,
    id: &str,
    following: &Following,
) -> Outcome {
    let options = follow::Options {
        cancel_on_interrupt: following.cancel_on_interrupt,
        at_most: following.wait_for.map(|period| period.0),
    };
    session.ui.say(&format!("Run {id}"));
    let mut coordinator = coordinator.clone();
    match follow::follow(session, &mut coordinator, id, options).await? {
        End::Ended(detail) => {
            let code = evidence::code(&detail);
            // A whole fleet's reports are fetched only for somebody who reads them.
            let read = detail.tasks.len() == 1
                || following.junit.is_some()
                || session.ui.is_ci()
                || session.ui.is_json();
            let evidence = if read {
                let gathered = evidence::gather(&coordinator, *detail).await;
                gathered.doing(|| format!("gather what run {id} measured"))?
            } else {
                Evidence::without_reports(*detail)
            };
            outputs::write(session, &evidence, following.junit.as_deref())?;
            print(session, &evidence)?;
            // Somebody wanted it to end: so it ended, whatever hosts had done by then.
            Ok(session
                .interrupt
                .code()
                .filter(|_| following.cancel_on_interrupt)
                .unwrap_or(code))
        }
        End::Interrupted(code) => {
            goes_on(session, id, "interrupted", "Interrupted")?;
            Ok(code)
        }
        End::GaveUp(after) => {
            let after = Period(Duration::from_secs(after.as_secs().max(1)));
            goes_on(session, id, "running", &format!("Not done after {after}"))?;
            Ok(Code::Inconclusive)
        }
    }
}

fn goes_on(session: &Session, id: &str, outcome: &'static str, what: &str) -> std::io::Result<()> {
    if session.ui.is_json() {
        return session.answer(&Unfinished {
            run_id: id.to_owned(),
            outcome,
        });
    }
    session.ui.complain(&format!("{what}; {}", come_back(id)));
    Ok(())
}

/// Prints a run that has ended, with the report where it has one host.
fn print(session: &Session, evidence: &Evidence) -> std::io::Result<()> {
    let ui = &session.ui;
    if ui.is_json() {
        return session.answer(evidence);
    }
    if let [only] = evidence.tasks.as_slice()
        && let (Some(report), Some(kind)) = (&only.report, only.kind())
    {
        evidence::draw(ui, kind, report)?;
        ui.data("")?;
    }
    let tasks: Vec<_> = evidence.tasks.iter().map(|piece| piece.task.clone()).collect();
    evidence::tasks(ui, &tasks)?;
    evidence::left_out(ui, &evidence.left_out)?;
    evidence::verdict(ui, &evidence.run)
}
