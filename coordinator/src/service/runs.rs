//! `drill.v1.Runs`.

use std::pin::Pin;

use dr_proto::v1;
use dr_proto::v1::runs_server::Runs;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};
use tracing::Span;

use super::call::{actor, certificate};
use super::{answer, read, status};
use crate::access::refusals::Reason;
use crate::access::revocations::Revocations;
use crate::handle::{self, Error, RunFilter, Watch};

/// Runs of plans and of operators.
#[derive(Debug)]
pub(crate) struct RunsService {
    pub(crate) runs: handle::Runs,
    pub(crate) revocations: Revocations,
}

#[tonic::async_trait]
impl Runs for RunsService {
    type WatchRunStream = Pin<Box<dyn Stream<Item = Result<v1::RunEvent, Status>> + Send>>;

    async fn start_run(&self, request: Request<v1::StartRunRequest>) -> Result<Response<v1::Run>, Status> {
        let by = actor(&request)?;
        let v1::StartRunRequest { request_id, what } = request.into_inner();
        let request = handle::Request {
            id: request_id,
            by,
            traceparent: dr_telemetry::propagation::traceparent(&Span::current()),
        };
        let run = match what {
            Some(v1::start_run_request::What::Plan(plan)) => self.runs.start_plan(&plan, &request).await?,
            Some(v1::start_run_request::What::AdHoc(adhoc)) => {
                self.runs.start(&read::adhoc(adhoc)?, &request).await?
            }
            None => return Err(Error::from(dr_proto::wire::Error::Missing("what".to_owned())).into()),
        };
        Ok(Response::new(answer::run(run)))
    }

    async fn list_runs(
        &self,
        request: Request<v1::ListRunsRequest>,
    ) -> Result<Response<v1::ListRunsResponse>, Status> {
        let v1::ListRunsRequest {
            plan,
            host,
            active_only,
            limit,
            page,
        } = request.into_inner();
        let before = if page.is_empty() {
            None
        } else {
            Some(page.parse().map_err(page_error)?)
        };
        let filter = RunFilter {
            plan: (!plan.is_empty()).then_some(plan),
            host: read::maybe_host("host", &host)?,
            active_only,
            limit,
            before,
        };
        let (runs, next) = self.runs.list(&filter).await?;
        Ok(Response::new(v1::ListRunsResponse {
            runs: runs.into_iter().map(answer::run).collect(),
            next_page: next.map(|id| id.to_string()).unwrap_or_default(),
        }))
    }

    async fn get_run(&self, request: Request<v1::GetRunRequest>) -> Result<Response<v1::RunDetail>, Status> {
        let v1::GetRunRequest { id } = request.into_inner();
        let detail = self.runs.get(&id).await?;
        Ok(Response::new(answer::detail(detail)))
    }

    async fn watch_run(
        &self,
        request: Request<v1::WatchRunRequest>,
    ) -> Result<Response<Self::WatchRunStream>, Status> {
        let certificate = certificate(&request)?;
        let v1::WatchRunRequest { id } = request.into_inner();
        let watch = self.runs.watch(&id).await?;
        let revocations = self.revocations.clone();
        // A call that lives long outlives what was looked at when it began.
        let events = events(watch).map(move |event| match revocations.refuse(&certificate) {
            true => Err(status::refused(
                Reason::Revoked,
                "the certificate was revoked meanwhile",
                "",
            )),
            false => event,
        });
        Ok(Response::new(Box::pin(until_error(events))))
    }

    async fn cancel_run(&self, request: Request<v1::CancelRunRequest>) -> Result<Response<v1::Run>, Status> {
        let by = actor(&request)?;
        let v1::CancelRunRequest { id, reason } = request.into_inner();
        let reason = read::text("reason", reason)?;
        Ok(Response::new(answer::run(
            self.runs.cancel(&id, &reason, &by).await?,
        )))
    }

    async fn retry_run(&self, request: Request<v1::RetryRunRequest>) -> Result<Response<v1::Run>, Status> {
        let by = actor(&request)?;
        let v1::RetryRunRequest { id } = request.into_inner();
        Ok(Response::new(answer::run(self.runs.retry(&id, &by).await?)))
    }

    async fn get_report(
        &self,
        request: Request<v1::GetReportRequest>,
    ) -> Result<Response<v1::ReportDocument>, Status> {
        let v1::GetReportRequest { id } = request.into_inner();
        Ok(Response::new(answer::report(self.runs.report(&id).await?)))
    }

    async fn add_note(&self, request: Request<v1::AddNoteRequest>) -> Result<Response<v1::Note>, Status> {
        let by = actor(&request)?;
        let v1::AddNoteRequest { id, text, request_id } = request.into_inner();
        let note = self.runs.note(&id, &text, &request_id, &by).await?;
        Ok(Response::new(answer::note(note)))
    }
}

/// What a watch tells, one event at a time; nothing is read ahead of the client.
fn events(watch: Watch) -> impl Stream<Item = Result<v1::RunEvent, Status>> {
    let waiting = Vec::new().into_iter();
    futures::stream::try_unfold((watch, waiting), |(mut watch, mut waiting)| async move {
        loop {
            if let Some(event) = waiting.next() {
                return Ok(Some((answer::event(event), (watch, waiting))));
            }
            match watch.next().await? {
                Some(events) => waiting = events.into_iter(),
                None => return Ok(None),
            }
        }
    })
}

/// A stream ends with its first error.
fn until_error<T>(events: impl Stream<Item = Result<T, Status>>) -> impl Stream<Item = Result<T, Status>> {
    let mut failed = false;
    events.take_while(move |event| !std::mem::replace(&mut failed, event.is_err()))
}

fn page_error(error: dr_proto::model::ParseTaskError) -> Error {
    Error::Invalid {
        field: "page",
        reason: error.to_string(),
    }
}
