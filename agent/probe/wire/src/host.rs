//! Starts a probe, lends it a file tree, and listens until it ends.
//!
//! # Overview
//! [`run`] is all that an agent needs: it makes the socket pair, starts the program with an empty environment,
//! serves the tree, reads the events, keeps the time, and says how it ended. A probe that breaks a rule, stalls or
//! outlives its deadline is killed; so is one whose caller goes away, for the child is killed on drop.
//!
//! # Cancellation
//! Cancelling kills the probe and ends with [`Ended::Cancelled`].

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use tracing::field::Empty;

use crate::event::{EXIT_LIMIT, EXIT_PANIC, Event, MAX_LINE, ProbeIdentity, Summary};
use crate::facts::Facts;
use crate::fault::{Fault, FaultKind, Step};
use crate::frame::shorten;
use crate::job::{Job, Limits};
use crate::measure::TableMeasure;
use crate::serve::{self, Served, serve};
use crate::tree::FileTree;

/// How to run a probe.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program.
    pub program: PathBuf,
    /// The longest that it may run.
    pub deadline: Duration,
    /// How long it may say nothing once it has told of a panic: a task of Lance that panicked can leave another
    /// waiting for ever.
    pub after_panic: Duration,
    /// Where it may put temporary files; only a write test needs that.
    pub temporary: Option<PathBuf>,
    /// Bounds on what it may take from the tree.
    pub serve: serve::Options,
}

impl Options {
    /// One hour for this program.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let deadline = Duration::from_secs(3600);
        Self {
            program: program.into(),
            deadline,
            after_panic: Duration::from_secs(120),
            temporary: None,
            serve: serve::Options::default(),
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Tables that were finished, whatever happened afterwards, and who measured them.
    pub facts: Facts,
    /// Tables that the probe said it would measure.
    pub found: Vec<String>,
    /// Panics that it told of.
    pub panics: Vec<String>,
    /// The end of what it wrote to standard error.
    pub stderr: String,
    /// What it was given.
    pub served: Served,
    /// How it ended.
    pub ended: Ended,
}

/// How a probe ended.
#[derive(Debug)]
pub enum Ended {
    /// It did all it was asked; the tables say what was found.
    Done(Summary),
    /// It gave up, for this reason.
    Failed(Fault),
    /// It exited without a last word.
    Exited {
        /// Its exit status.
        status: ExitStatus,
    },
    /// It broke the protocol and was killed.
    Misbehaved(String),
    /// It was killed at its deadline.
    Deadline(Duration),
    /// The caller cancelled.
    Cancelled,
    /// It could not be started.
    NotStarted(std::io::Error),
}

impl Ended {
    /// What this end means, when it is not the normal one: kind and message.
    pub fn fault(&self) -> Option<(FaultKind, String)> {
        let fault = match self {
            Self::Done(_) => return None,
            Self::Failed(fault) => (fault.kind, fault.to_string()),
            Self::Exited { status } => exit_fault(*status),
            Self::Misbehaved(why) => (
                FaultKind::Undecodable,
                format!("the probe broke the protocol: {why}"),
            ),
            Self::Deadline(limit) => (
                FaultKind::Limit,
                format!("the probe was not done after {} s", limit.as_secs()),
            ),
            Self::Cancelled => (FaultKind::Unavailable, "cancelled".to_owned()),
            Self::NotStarted(error) => (
                FaultKind::Unavailable,
                format!("the probe could not be started: {error}"),
            ),
        };
        Some(fault)
    }

    /// All words of [`Ended::reason`].
    pub const REASONS: [&str; 7] = [
        "done",
        "failed",
        "exited",
        "misbehaved",
        "deadline",
        "cancelled",
        "not_started",
    ];

    /// A word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Failed(_) => "failed",
            Self::Exited { .. } => "exited",
            Self::Misbehaved(_) => "misbehaved",
            Self::Deadline(_) => "deadline",
            Self::Cancelled => "cancelled",
            Self::NotStarted(_) => "not_started",
        }
    }
}

/// A decoder that aborts, overflows its stack or faults was brought to it by the bytes; a kill from outside and a
/// CPU limit were not.
fn exit_fault(status: ExitStatus) -> (FaultKind, String) {
    const SIGILL: i32 = 4;
    const SIGABRT: i32 = 6;
    const SIGBUS: i32 = 7;
    const SIGSEGV: i32 = 11;
    let kind = match status.signal() {
        Some(SIGILL | SIGABRT | SIGBUS | SIGSEGV) => FaultKind::Undecodable,
        Some(_) => FaultKind::Limit,
        None if status.code() == Some(i32::from(EXIT_PANIC)) => FaultKind::Undecodable,
        None if status.code() == Some(i32::from(EXIT_LIMIT)) => FaultKind::Limit,
        None => FaultKind::Unavailable,
    };
    (kind, format!("the probe ended without a result: {status}"))
}

/// Runs one job. `watch` sees every event as it comes.
pub async fn run(
    options: &Options,
    job: &Job,
    tree: Option<Arc<dyn FileTree>>,
    watch: impl FnMut(&Event) + Send,
    cancel: &CancellationToken,
) -> Outcome {
    let span = tracing::info_span!(
        "probe",
        otel.status_code = Empty,
        version = Empty,
        ended = Empty,
        tables = Empty,
        requests = Empty,
        bytes = Empty
    );
    let outcome = run_one(options, job, tree, watch, cancel)
        .instrument(span.clone())
        .await;
    span.record("version", outcome.probe().probe.as_str());
    span.record("ended", outcome.ended.reason());
    span.record("tables", outcome.facts.tables.len());
    span.record("requests", outcome.served.requests);
    span.record("bytes", outcome.served.bytes);
    if outcome.ended.fault().is_some() || !outcome.served.damaged.is_empty() {
        span.record("otel.status_code", "ERROR");
    }
    outcome
}

async fn run_one(
    options: &Options,
    job: &Job,
    tree: Option<Arc<dyn FileTree>>,
    mut watch: impl FnMut(&Event) + Send,
    cancel: &CancellationToken,
) -> Outcome {
    let mut outcome = Outcome {
        facts: Facts::default(),
        found: Vec::new(),
        panics: Vec::new(),
        stderr: String::new(),
        served: Served::default(),
        ended: Ended::Cancelled,
    };
    let (mut child, socket) = match start(options, &job.limits) {
        Ok(started) => started,
        Err(error) => {
            outcome.ended = Ended::NotStarted(error);
            return outcome;
        }
    };
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        outcome.ended = Ended::NotStarted(std::io::Error::other("its output was not piped"));
        return outcome;
    };
    let hang_up = cancel.child_token();
    let serving = serve(socket, job, tree, options.serve, &hang_up);
    let listening = async {
        let ended = tokio::select! {
            ended = listen(stdout, &mut outcome, &mut watch, options.after_panic) => ended,
            () = tokio::time::sleep(options.deadline) => Some(Ended::Deadline(options.deadline)),
            () = cancel.cancelled() => Some(Ended::Cancelled),
        };
        let ended = finish(&mut child, ended).await;
        hang_up.cancel();
        ended
    };
    let ((served, result), ended, said) = tokio::join!(serving, listening, tail(stderr));
    outcome.served = served;
    outcome.stderr = said;
    outcome.ended = match (ended, result) {
        (Ended::Exited { .. }, Err(error @ (serve::Error::Protocol(_) | serve::Error::Stalled(_)))) => {
            Ended::Misbehaved(error.to_string())
        }
        (Ended::Exited { .. }, Err(error @ (serve::Error::JobTooLarge(_) | serve::Error::JobJson(_)))) => {
            Ended::NotStarted(std::io::Error::other(error))
        }
        (ended, _) => ended,
    };
    outcome
}

fn start(options: &Options, limits: &Limits) -> std::io::Result<(Child, UnixStream)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let child = Command::new(&options.program)
        .env_clear()
        .envs(environment(limits))
        .envs(options.temporary.as_deref().map(|folder| ("TMPDIR", folder)))
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    Ok((child, UnixStream::from_std(ours)?))
}

/// Lance takes these from the environment alone, and by default allows itself gigabytes of read-ahead.
fn environment(limits: &Limits) -> Vec<(&'static str, String)> {
    let threads = limits.threads.max(1).to_string();
    let share = |part: u64| (limits.memory / part).max(1 << 20).to_string();
    vec![
        ("LANCE_CPU_THREADS", threads.clone()),
        ("RAYON_NUM_THREADS", threads),
        ("LANCE_IO_THREADS", "16".to_owned()),
        ("LANCE_DEFAULT_IO_BUFFER_SIZE", share(16)),
        ("LANCE_MEM_POOL_SIZE", share(4)),
        ("LANCE_MAX_IOP_SIZE", crate::frame::MAX_READ.to_string()),
        ("MALLOC_ARENA_MAX", "2".to_owned()),
    ]
}

/// Waits a moment for a probe that has said its last word, then kills it.
async fn finish(child: &mut Child, ended: Option<Ended>) -> Ended {
    const GRACE: Duration = Duration::from_secs(10);
    let expects_exit = matches!(ended, None | Some(Ended::Done(_) | Ended::Failed(_)));
    if expects_exit && let Ok(Ok(status)) = tokio::time::timeout(GRACE, child.wait()).await {
        return ended.unwrap_or(Ended::Exited { status });
    }
    // It is gone already when the kill fails; either way the wait collects it.
    let _ = child.start_kill();
    match child.wait().await {
        Ok(status) => ended.unwrap_or(Ended::Exited { status }),
        Err(error) => ended.unwrap_or(Ended::Misbehaved(format!("wait for the probe: {error}"))),
    }
}

/// Reads events until the last one; `None` when the output ends before it.
///
/// A panic that the probe goes on after is its business. One that leaves it without a word is its end: it was brought
/// to both by the bytes.
async fn listen(
    stdout: impl AsyncRead + Unpin,
    outcome: &mut Outcome,
    watch: &mut (impl FnMut(&Event) + Send),
    after_panic: Duration,
) -> Option<Ended> {
    let mut lines = BufReader::new(stdout);
    let mut panicked: Option<Fault> = None;
    loop {
        let next = next_event(&mut lines);
        let event = match panicked.take() {
            None => next.await,
            Some(fault) => match tokio::time::timeout(after_panic, next).await {
                Err(_) => return Some(Ended::Failed(fault)),
                Ok(event) => {
                    panicked = Some(fault);
                    event
                }
            },
        };
        let event = match event {
            Ok(Some(event)) => event,
            Ok(None) => return None,
            Err(why) => return Some(Ended::Misbehaved(why)),
        };
        watch(&event);
        match &event {
            Event::Panic { .. } => panicked = left_waiting(&event, after_panic),
            Event::Table(_) => panicked = None,
            _ => {}
        }
        if let Some(ended) = outcome.take(event) {
            return Some(ended);
        }
    }
}

/// The fault of a probe that panics and then says nothing more.
fn left_waiting(event: &Event, quiet: Duration) -> Option<Fault> {
    let Event::Panic {
        table, step, message, ..
    } = event
    else {
        return None;
    };
    Some(Fault {
        kind: FaultKind::Undecodable,
        step: step.unwrap_or(Step::Connect),
        subject: table.clone(),
        file: None,
        message: format!(
            "a panic left it waiting, without a word for {} s: {}",
            quiet.as_secs(),
            shorten(message, 1000)
        ),
    })
}

async fn next_event(lines: &mut (impl AsyncBufReadExt + Unpin)) -> Result<Option<Event>, String> {
    let mut line = Vec::new();
    let most = MAX_LINE as u64 + 1;
    let read = lines.take(most).read_until(b'\n', &mut line).await;
    let read = read.map_err(|error| format!("read its output: {error}"))?;
    if read == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        // Cut off by its death, or endless.
        return if read > MAX_LINE {
            Err(format!("a line of more than {MAX_LINE} bytes"))
        } else {
            Ok(None)
        };
    }
    let event = serde_json::from_slice(&line).map_err(|error| {
        let start = String::from_utf8_lossy(&line[..line.len().min(120)])
            .trim_end()
            .to_owned();
        format!("a line that is no event ({error}): {start}")
    })?;
    Ok(Some(event))
}

impl Outcome {
    /// The most tables and panics that one probe may tell of.
    const MOST: usize = 100_000;

    fn take(&mut self, event: Event) -> Option<Ended> {
        match event {
            Event::Hello { protocol, .. } if protocol != crate::PROTOCOL => Some(Ended::Misbehaved(format!(
                "it speaks protocol {protocol}, this is {}",
                crate::PROTOCOL
            ))),
            Event::Hello { probe, .. } => {
                self.facts.probe = probe;
                None
            }
            Event::Found { tables } => {
                self.found = tables;
                None
            }
            Event::Progress { .. } => None,
            Event::Table(measure) => self.take_table(*measure),
            Event::Panic { message, at, .. } => {
                if self.panics.len() < Self::MOST {
                    let at = at.map(|at| format!(" at {at}")).unwrap_or_default();
                    self.panics.push(format!("{}{at}", shorten(&message, 1000)));
                }
                None
            }
            Event::Failed(fault) => Some(Ended::Failed(fault)),
            Event::Done(summary) => Some(Ended::Done(summary)),
        }
    }

    fn take_table(&mut self, measure: TableMeasure) -> Option<Ended> {
        if self.facts.tables.len() >= Self::MOST || self.facts.table(&measure.path).is_some() {
            return Some(Ended::Misbehaved(format!(
                "it told of the table {} twice",
                measure.path
            )));
        }
        self.facts.tables.push(measure);
        None
    }

    /// Who measured.
    pub fn probe(&self) -> &ProbeIdentity {
        &self.facts.probe
    }
}

/// Keeps the last few thousand bytes, however many come.
async fn tail(mut from: impl AsyncRead + Unpin) -> String {
    const KEEP: usize = 8 << 10;
    let mut kept: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 4096];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&kept).into_owned(),
            Ok(read) => {
                kept.extend_from_slice(&buffer[..read]);
                let excess = kept.len().saturating_sub(KEEP);
                kept.drain(..excess);
            }
        }
    }
}

#[cfg(test)]
mod tests;
