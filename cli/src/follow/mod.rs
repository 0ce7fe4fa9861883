//! Watches a run until its end.
//!
//! # Overview
//! The coordinator streams the run as it stands and then every change; [`Watched`] keeps the newest of everything.
//! On a terminal lines move, worst hosts first; elsewhere a line tells each step and, now and then, figures.
//!
//! # Retries
//! A stream that breaks is opened anew, on whatever endpoint answers, with growing pauses; after a quarter of an hour
//! without any answer the watch gives up. Since each stream begins with the run as it stands, nothing is missed. The
//! questions before and after the stream are asked with the same patience ([`patiently`]). A coordinator that was never
//! reached is not waited for: its address may be wrong.
//!
//! # Cancellation
//! A signal ends the watch. The run goes on, unless the watch was asked to cancel it.

mod lines;
#[cfg(test)]
pub(crate) mod samples;
mod watched;

use std::time::Duration;

use dr_proto::model::exit::Code;
use dr_proto::model::units::Period;
use dr_proto::view::RunDetail;
use dr_terminal::progress::{LIVE, Lines, PLAIN};
use futures::StreamExt;
use tokio::time::Instant;

use watched::Watched;
pub(crate) use watched::worst_first;

use crate::coordinator::{CallError, Coordinator};
use crate::error::Failure;
use crate::session::Session;

/// The first pause before a stream is opened anew; doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// After how long without an answer the watch gives up.
const OUTAGE: Duration = Duration::from_secs(15 * 60);

/// How to watch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// Cancel the run when a signal ends the watch.
    pub(crate) cancel_on_interrupt: bool,
    /// Give up after this time.
    pub(crate) at_most: Option<Duration>,
}

/// How a watch ended.
#[derive(Debug)]
pub(crate) enum End {
    /// With the run.
    Ended(Box<RunDetail>),
    /// A signal ended it; the run goes on.
    Interrupted(Code),
    /// The time was up; the run goes on.
    GaveUp(Duration),
}

/// Why one stream ended.
enum Stopped {
    Run,
    Broken(CallError),
    Interrupted(Code),
    GaveUp(Duration),
}

/// Asks a coordinator that has answered before, and anew, on whatever endpoint answers, while it is away: for as long as
/// a watch waits for it.
pub(crate) async fn patiently<T>(
    session: &Session,
    coordinator: &mut Coordinator,
    ask: impl AsyncFn(&Coordinator) -> Result<T, CallError>,
) -> Result<T, Failure> {
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match session
            .until_interrupted(async { Ok(ask(coordinator).await) })
            .await?
        {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if !error.is_outage() || began.elapsed() >= OUTAGE {
            return Err(error.into());
        }
        if pause == FIRST_PAUSE {
            say_lost(session, &error);
        }
        let wait = async {
            tokio::time::sleep(pause).await;
            Ok(coordinator.again().await.ok())
        };
        if let Some(other) = session.until_interrupted(wait).await? {
            *coordinator = other;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn say_lost(session: &Session, broken: &CallError) {
    session.ui.say(&format!(
        "Lost the coordinator ({broken}); the work goes on, trying again for {}",
        Period(OUTAGE)
    ));
}

/// Watches the run until it ends. `coordinator` is the one that answered last.
pub(crate) async fn follow(
    session: &Session,
    coordinator: &mut Coordinator,
    id: &str,
    options: Options,
) -> Result<End, Failure> {
    let mut watch = Watch::new(session, id, options);
    loop {
        let mut stopped = watch.stream(coordinator).await;
        if let Stopped::Broken(error) = &stopped {
            let may_heal = error.is_outage() && watch.heard.elapsed() < OUTAGE;
            if may_heal {
                match watch.pause(error).await {
                    Some(other) => stopped = other,
                    None => {
                        if let Ok(other) = coordinator.again().await {
                            *coordinator = other;
                        }
                        continue;
                    }
                }
            }
        }
        match stopped {
            Stopped::Interrupted(_) if options.cancel_on_interrupt => {
                let asked = watch.cancel(coordinator).await;
                asked.map_err(|error| Failure::from(error).hint(come_back(id)))?;
            }
            Stopped::Interrupted(code) => return Ok(End::Interrupted(code)),
            Stopped::GaveUp(after) => return Ok(End::GaveUp(after)),
            Stopped::Run => {
                watch.lines.clear();
                let asked = patiently(session, coordinator, async |coordinator| {
                    coordinator.run(id.to_owned()).await
                });
                return Ok(End::Ended(Box::new(asked.await?)));
            }
            Stopped::Broken(error) => return Err(Failure::from(error).hint(come_back(id))),
        }
    }
}

/// How to come back to a run that goes on.
pub(crate) fn come_back(id: &str) -> String {
    format!("the work goes on: `drctl run watch {id}` comes back to it, `drctl run cancel {id}` ends it")
}

struct Watch<'a> {
    session: &'a Session,
    id: &'a str,
    options: Options,
    watched: Watched,
    lines: Lines<'a>,
    began: Instant,
    /// When the coordinator last said something.
    heard: Instant,
    pause: Duration,
    /// The signal was turned into a request to cancel.
    cancelling: bool,
}

impl<'a> Watch<'a> {
    fn new(session: &'a Session, id: &'a str, options: Options) -> Self {
        let now = Instant::now();
        Self {
            session,
            id,
            options,
            watched: Watched::default(),
            lines: Lines::new(&session.ui),
            began: now,
            heard: now,
            pause: FIRST_PAUSE,
            cancelling: false,
        }
    }

    /// Reads one stream until it ends.
    async fn stream(&mut self, coordinator: &Coordinator) -> Stopped {
        let events = tokio::select! {
            events = coordinator.watch(self.id.to_owned()) => events,
            stopped = self.stopped() => return stopped,
        };
        let mut events = match events {
            Ok(events) => events,
            Err(error) => return Stopped::Broken(error),
        };
        let every = if self.lines.is_live() { LIVE } else { PLAIN };
        let mut tick = tokio::time::interval_at(Instant::now() + every, every);
        loop {
            tokio::select! {
                biased;
                stopped = self.stopped() => return stopped,
                event = events.next() => match event {
                    Some(Ok(event)) => {
                        self.heard = Instant::now();
                        self.pause = FIRST_PAUSE;
                        let steps = self.watched.take(event);
                        if !self.lines.is_live() {
                            steps.iter().for_each(|step| self.session.ui.say(step));
                        }
                    }
                    Some(Err(error)) => return Stopped::Broken(error),
                    None if self.watched.is_over() => return Stopped::Run,
                    None => return Stopped::Broken(CallError::StreamEnded),
                },
                _ = tick.tick() => self.draw(),
            }
        }
    }

    fn draw(&mut self) {
        if self.lines.is_live() {
            self.lines.show(&lines::live(&self.watched));
        } else if let Some(line) = lines::plain(&self.watched) {
            self.session.ui.say(&line);
        }
    }

    /// Waits until a signal or the time ends the watch.
    async fn stopped(&self) -> Stopped {
        let time_is_up = async {
            match self.options.at_most {
                Some(most) => {
                    tokio::time::sleep_until(self.began + most).await;
                    most
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            most = time_is_up => Stopped::GaveUp(most),
            // Once it was turned into a request to cancel, only a second signal counts, and that ends the process.
            () = self.session.interrupt.wait(), if !self.cancelling => {
                Stopped::Interrupted(self.session.interrupt.code().unwrap_or(Code::Interrupted))
            }
        }
    }

    /// Turns the signal into a request to cancel. The end comes over a fresh stream.
    async fn cancel(&mut self, coordinator: &Coordinator) -> Result<(), CallError> {
        self.cancelling = true;
        self.session
            .ui
            .say("Cancelling the work and waiting for its end; a second signal ends the watch at once");
        let reason = "the watch was interrupted".to_owned();
        coordinator.cancel(self.id.to_owned(), reason).await.map(drop)
    }

    /// Says that the connection is gone and waits before the next try.
    async fn pause(&mut self, broken: &CallError) -> Option<Stopped> {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        if pause == FIRST_PAUSE {
            say_lost(self.session, broken);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => None,
            stopped = self.stopped() => Some(stopped),
        }
    }
}
