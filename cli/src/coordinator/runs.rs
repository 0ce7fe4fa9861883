//! Questions about runs.

use std::time::Duration;

use dr_proto::model::{HostName, Selector, Work};
use dr_proto::view::{Document, Note, Run, RunDetail, RunEvent};
use dr_proto::{v1, wire};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use uuid::Uuid;

use super::call::request;
use super::{CallError, Coordinator, read, read_all};

/// What to start.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// A plan, now, as one more slot.
    Plan(String),
    /// Given work.
    Work {
        /// Which hosts.
        hosts: Where,
        /// What they are asked.
        work: Box<Work>,
        /// How long each may take; `None`: the coordinator's default.
        deadline: Option<Duration>,
        /// Why.
        reason: Option<String>,
    },
}

/// Which hosts.
#[derive(Debug, Clone)]
pub(crate) enum Where {
    /// One.
    Host(HostName),
    /// All that match.
    Select(Selector),
}

/// A run to start. The id makes it one run however often it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    id: Uuid,
    what: What,
}

impl Start {
    /// A run asked for at `at`.
    pub(crate) fn new(what: What, at: Timestamp) -> Self {
        Self { id: new_id(at), what }
    }
}

/// An id for what is asked for at `at`.
fn new_id(at: Timestamp) -> Uuid {
    let seconds = at.as_second().max(0).unsigned_abs();
    let nanos = at.subsec_nanosecond().max(0).unsigned_abs();
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos))
}

/// Which runs to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) plan: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) active_only: bool,
    pub(crate) limit: u32,
}

impl From<Start> for v1::StartRunRequest {
    fn from(start: Start) -> Self {
        use v1::ad_hoc::Hosts;
        use v1::start_run_request::What as Wire;
        let what = match start.what {
            What::Plan(name) => Wire::Plan(name),
            What::Work {
                hosts,
                work,
                deadline,
                reason,
            } => Wire::AdHoc(v1::AdHoc {
                hosts: Some(match hosts {
                    Where::Host(host) => Hosts::Host(host.to_string()),
                    Where::Select(select) => Hosts::Select(select.to_string()),
                }),
                work: Some((*work).into()),
                deadline: deadline.map(wire::duration),
                reason: reason.unwrap_or_default(),
            }),
        };
        Self {
            request_id: start.id.to_string(),
            what: Some(what),
        }
    }
}

impl Coordinator {
    pub(crate) async fn start(&self, start: Start) -> Result<Run, CallError> {
        const DOING: &str = "start the run";
        let ask = async |request| self.client.runs().start_run(request).await;
        let answer = self.ask(DOING, v1::StartRunRequest::from(start), ask).await?;
        read(DOING, answer)
    }

    /// The newest runs, as many as were asked for, over as many pages as the coordinator makes of them.
    pub(crate) async fn list_runs(&self, filter: Filter) -> Result<Vec<Run>, CallError> {
        const DOING: &str = "list runs";
        let limit = filter.limit as usize;
        let mut question = v1::ListRunsRequest {
            plan: filter.plan.unwrap_or_default(),
            host: filter.host.unwrap_or_default(),
            active_only: filter.active_only,
            limit: filter.limit.min(PAGE),
            page: String::new(),
        };
        let mut runs: Vec<Run> = Vec::new();
        loop {
            let ask = async |request| self.client.runs().list_runs(request).await;
            let answer = self.ask(DOING, question.clone(), ask).await?;
            let got = answer.runs.len();
            runs.extend(read_all::<_, Run>(DOING, answer.runs)?);
            // A page that brings nothing would go on for ever.
            if runs.len() >= limit || answer.next_page.is_empty() || got == 0 {
                runs.truncate(limit);
                return Ok(runs);
            }
            question.page = answer.next_page;
        }
    }

    pub(crate) async fn run(&self, id: String) -> Result<RunDetail, CallError> {
        const DOING: &str = "ask for a run";
        let ask = async |request| self.client.runs().get_run(request).await;
        let answer = self.ask(DOING, v1::GetRunRequest { id }, ask).await?;
        read(DOING, answer)
    }

    /// The run as it stands, then its changes. The stream ends with the run, or breaks.
    pub(crate) async fn watch(
        &self,
        id: String,
    ) -> Result<impl Stream<Item = Result<RunEvent, CallError>> + use<>, CallError> {
        const DOING: &str = "watch the run";
        let mut runs = self.client.runs();
        // No deadline for the stream; but that it begins is an answer like others.
        let begun = runs.watch_run(request(v1::WatchRunRequest { id }, None));
        let limit = self.timeout;
        let stream = match tokio::time::timeout(limit, begun).await {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => return Err(CallError::refused(DOING, status).blame(&self.connector)),
            Err(_) => return Err(CallError::TimedOut { doing: DOING, limit }),
        };
        let connector = self.connector.clone();
        Ok(stream.map(move |event| match event {
            Ok(event) => read(DOING, event),
            Err(status) => Err(CallError::refused(DOING, status).blame(&connector)),
        }))
    }

    pub(crate) async fn cancel(&self, id: String, reason: String) -> Result<Run, CallError> {
        const DOING: &str = "cancel the run";
        let ask = async |request| self.client.runs().cancel_run(request).await;
        let answer = self.ask(DOING, v1::CancelRunRequest { id, reason }, ask).await?;
        read(DOING, answer)
    }

    pub(crate) async fn retry(&self, id: String) -> Result<Run, CallError> {
        const DOING: &str = "retry the run";
        let ask = async |request| self.client.runs().retry_run(request).await;
        let answer = self.ask(DOING, v1::RetryRunRequest { id }, ask).await?;
        read(DOING, answer)
    }

    pub(crate) async fn report(&self, id: String) -> Result<Document, CallError> {
        let ask = async |request| self.client.runs().get_report(request).await;
        let answer = self
            .ask("ask for a report", v1::GetReportRequest { id }, ask)
            .await?;
        Ok(answer.into())
    }
}

impl Coordinator {
    /// Adds a note that is written at `at`.
    pub(crate) async fn add_note(&self, id: String, text: String, at: Timestamp) -> Result<Note, CallError> {
        const DOING: &str = "add the note";
        let ask = async |request| self.client.runs().add_note(request).await;
        let question = v1::AddNoteRequest {
            id,
            text,
            request_id: new_id(at).to_string(),
        };
        let answer = self.ask(DOING, question, ask).await?;
        read(DOING, answer)
    }
}

/// The most runs that the coordinator gives at once.
const PAGE: u32 = 1_000;
