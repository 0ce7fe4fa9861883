//! A coordinator that answers what a test tells it to, over real mutual TLS on a free port.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use dr_proto::tls::{self, Files, Limits, Refusal, Refusals, Reloading, Role};
use dr_proto::v1;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::samples;

/// What was asked, and what shall be answered.
#[derive(Clone, Default)]
pub(crate) struct Script(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Methods in the order of calls, each with the request as text and the `traceparent`.
    calls: Vec<(&'static str, String, Option<String>)>,
    /// What a method answers instead, as often as it says.
    refusals: HashMap<&'static str, Vec<Status>>,
    /// What each watch tells: one list a stream; after its last event the stream ends.
    watches: Vec<Vec<Result<v1::RunEvent, Status>>>,
    /// What a run is, instead of the sample.
    run: Option<v1::RunDetail>,
    /// Reports by task.
    reports: HashMap<String, v1::ReportDocument>,
}

impl Script {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics with the lock")
    }

    pub(crate) fn refuse(&self, method: &'static str, status: Status) {
        let mut state = self.state();
        state.refusals.entry(method).or_default().push(status);
    }

    pub(crate) fn watch(&self, events: Vec<Result<v1::RunEvent, Status>>) {
        self.state().watches.push(events);
    }

    pub(crate) fn run_is(&self, detail: v1::RunDetail) {
        self.state().run = Some(detail);
    }

    pub(crate) fn report(&self, document: v1::ReportDocument) {
        self.state().reports.insert(document.task.clone(), document);
    }

    /// The methods that were called.
    pub(crate) fn called(&self) -> Vec<&'static str> {
        self.state().calls.iter().map(|call| call.0).collect()
    }

    /// The requests to a method, as text.
    pub(crate) fn asked(&self, method: &str) -> Vec<String> {
        let state = self.state();
        let calls = state.calls.iter().filter(|call| call.0 == method);
        calls.map(|call| call.1.clone()).collect()
    }

    /// The `traceparent` of each call.
    pub(crate) fn traces(&self) -> Vec<Option<String>> {
        self.state().calls.iter().map(|call| call.2.clone()).collect()
    }

    /// Notes a call; answers with the refusal that the test has in store, if there is one.
    fn note<T: std::fmt::Debug>(&self, method: &'static str, request: &Request<T>) -> Result<(), Status> {
        let trace = request.metadata().get("traceparent");
        let trace = trace.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut state = self.state();
        state
            .calls
            .push((method, format!("{:?}", request.get_ref()), trace));
        match state
            .refusals
            .get_mut(method)
            .filter(|refusals| !refusals.is_empty())
        {
            Some(refusals) => Err(refusals.remove(0)),
            None => Ok(()),
        }
    }

    fn run(&self) -> v1::RunDetail {
        self.state().run.clone().unwrap_or_else(samples::ended_run)
    }

    /// The endpoint's URL; the server ends with the runtime.
    pub(crate) async fn serve(&self, files: &Files) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("its address");
        let tls = Reloading::open(files.clone(), &[Role::Coordinator], Arc::new(tls::SystemTime))
            .expect("the certificates are good");
        let incoming = tls::accept(listener, tls, Limits::default(), Arc::new(Silent));
        let server = tonic::transport::Server::builder()
            .add_service(v1::fleet_server::FleetServer::new(self.clone()))
            .add_service(v1::plans_server::PlansServer::new(self.clone()))
            .add_service(v1::runs_server::RunsServer::new(self.clone()))
            .add_service(v1::audit_server::AuditServer::new(self.clone()))
            .serve_with_incoming(incoming);
        tokio::spawn(server);
        format!("https://{address}")
    }
}

struct Silent;

impl Refusals for Silent {
    fn refused(&self, _address: SocketAddr, _refusal: &Refusal) {}
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl v1::fleet_server::Fleet for Script {
    async fn get_status(&self, request: Request<v1::GetStatusRequest>) -> Answer<v1::Status> {
        self.note("get_status", &request)?;
        Ok(Response::new(samples::status()))
    }

    async fn list_agents(&self, request: Request<v1::ListAgentsRequest>) -> Answer<v1::ListAgentsResponse> {
        self.note("list_agents", &request)?;
        let agents = vec![samples::agent(), samples::lost_agent()];
        Ok(Response::new(v1::ListAgentsResponse { agents }))
    }

    async fn get_agent(&self, request: Request<v1::GetAgentRequest>) -> Answer<v1::Agent> {
        self.note("get_agent", &request)?;
        Ok(Response::new(samples::agent()))
    }

    async fn list_sources(
        &self,
        request: Request<v1::ListSourcesRequest>,
    ) -> Answer<v1::ListSourcesResponse> {
        self.note("list_sources", &request)?;
        let mut sources = samples::sources();
        if request.get_ref().uncovered {
            sources.retain(|source| source.plans.is_empty() && !source.excluded);
        }
        Ok(Response::new(v1::ListSourcesResponse { sources }))
    }

    async fn list_snapshots(
        &self,
        request: Request<v1::ListSnapshotsRequest>,
    ) -> Answer<v1::ListSnapshotsResponse> {
        self.note("list_snapshots", &request)?;
        let snapshots = samples::snapshots();
        Ok(Response::new(v1::ListSnapshotsResponse { snapshots }))
    }

    async fn create_token(&self, request: Request<v1::CreateTokenRequest>) -> Answer<v1::Token> {
        self.note("create_token", &request)?;
        let token = samples::tokens().remove(0);
        Ok(Response::new(v1::Token {
            text: "drt1.SECRET".to_owned(),
            ..token
        }))
    }

    async fn list_tokens(&self, request: Request<v1::ListTokensRequest>) -> Answer<v1::ListTokensResponse> {
        self.note("list_tokens", &request)?;
        let tokens = samples::tokens();
        Ok(Response::new(v1::ListTokensResponse { tokens }))
    }

    async fn withdraw_token(
        &self,
        request: Request<v1::WithdrawTokenRequest>,
    ) -> Answer<v1::WithdrawTokenResponse> {
        self.note("withdraw_token", &request)?;
        Ok(Response::new(v1::WithdrawTokenResponse {}))
    }

    async fn revoke_agent(
        &self,
        request: Request<v1::RevokeAgentRequest>,
    ) -> Answer<v1::RevokeAgentResponse> {
        self.note("revoke_agent", &request)?;
        Ok(Response::new(v1::RevokeAgentResponse { streams_ended: 1 }))
    }

    async fn retire_agent(
        &self,
        request: Request<v1::RetireAgentRequest>,
    ) -> Answer<v1::RetireAgentResponse> {
        self.note("retire_agent", &request)?;
        Ok(Response::new(v1::RetireAgentResponse {}))
    }

    async fn replace_agent(
        &self,
        request: Request<v1::ReplaceAgentRequest>,
    ) -> Answer<v1::ReplaceAgentResponse> {
        self.note("replace_agent", &request)?;
        let token = samples::tokens().remove(0);
        Ok(Response::new(v1::ReplaceAgentResponse {
            streams_ended: 1,
            token: Some(v1::Token {
                text: "drt1.SECRET".to_owned(),
                ..token
            }),
        }))
    }

    async fn import_inventory(
        &self,
        request: Request<v1::ImportInventoryRequest>,
    ) -> Answer<v1::ImportInventoryResponse> {
        self.note("import_inventory", &request)?;
        let hosts = u32::try_from(request.get_ref().hosts.len()).expect("few hosts");
        Ok(Response::new(v1::ImportInventoryResponse {
            hosts,
            added: hosts,
            removed: 1,
        }))
    }

    async fn get_inventory_diff(
        &self,
        request: Request<v1::GetInventoryDiffRequest>,
    ) -> Answer<v1::InventoryDiff> {
        self.note("get_inventory_diff", &request)?;
        Ok(Response::new(samples::inventory_diff()))
    }

    async fn approve_agent(&self, request: Request<v1::ApproveAgentRequest>) -> Answer<v1::Agent> {
        self.note("approve_agent", &request)?;
        Ok(Response::new(samples::agent()))
    }

    async fn suspend(&self, request: Request<v1::SuspendRequest>) -> Answer<v1::SuspensionEntry> {
        self.note("suspend", &request)?;
        Ok(Response::new(samples::suspension()))
    }

    async fn resume(&self, request: Request<v1::ResumeRequest>) -> Answer<v1::ResumeResponse> {
        self.note("resume", &request)?;
        let ended = u32::from(request.get_ref().scope == "fleet");
        Ok(Response::new(v1::ResumeResponse { ended }))
    }
}

#[tonic::async_trait]
impl v1::plans_server::Plans for Script {
    async fn apply_plan(&self, request: Request<v1::ApplyPlanRequest>) -> Answer<v1::ApplyPlanResponse> {
        self.note("apply_plan", &request)?;
        Ok(Response::new(v1::ApplyPlanResponse {
            plan: Some(samples::plan()),
            change: v1::apply_plan_response::Change::Created.into(),
        }))
    }

    async fn preview_plan(&self, request: Request<v1::PreviewPlanRequest>) -> Answer<v1::PlanPreview> {
        self.note("preview_plan", &request)?;
        Ok(Response::new(samples::preview()))
    }

    async fn list_plans(&self, request: Request<v1::ListPlansRequest>) -> Answer<v1::ListPlansResponse> {
        self.note("list_plans", &request)?;
        let plans = vec![samples::plan()];
        Ok(Response::new(v1::ListPlansResponse { plans }))
    }

    async fn get_plan(&self, request: Request<v1::GetPlanRequest>) -> Answer<v1::Plan> {
        self.note("get_plan", &request)?;
        Ok(Response::new(samples::plan()))
    }

    async fn delete_plan(&self, request: Request<v1::DeletePlanRequest>) -> Answer<v1::DeletePlanResponse> {
        self.note("delete_plan", &request)?;
        Ok(Response::new(v1::DeletePlanResponse {}))
    }

    async fn enable_plan(&self, request: Request<v1::EnablePlanRequest>) -> Answer<v1::Plan> {
        self.note("enable_plan", &request)?;
        let enabled = request.get_ref().enabled;
        Ok(Response::new(v1::Plan {
            enabled,
            next_slot: samples::plan().next_slot.filter(|_| enabled),
            ..samples::plan()
        }))
    }
}

#[tonic::async_trait]
impl v1::runs_server::Runs for Script {
    type WatchRunStream = Pin<Box<dyn Stream<Item = Result<v1::RunEvent, Status>> + Send>>;

    async fn start_run(&self, request: Request<v1::StartRunRequest>) -> Answer<v1::Run> {
        self.note("start_run", &request)?;
        Ok(Response::new(samples::begun_run()))
    }

    async fn list_runs(&self, request: Request<v1::ListRunsRequest>) -> Answer<v1::ListRunsResponse> {
        self.note("list_runs", &request)?;
        let runs = vec![self.run().run.expect("a sample has one")];
        Ok(Response::new(v1::ListRunsResponse {
            runs,
            next_page: String::new(),
        }))
    }

    async fn get_run(&self, request: Request<v1::GetRunRequest>) -> Answer<v1::RunDetail> {
        self.note("get_run", &request)?;
        Ok(Response::new(self.run()))
    }

    async fn watch_run(&self, request: Request<v1::WatchRunRequest>) -> Answer<Self::WatchRunStream> {
        self.note("watch_run", &request)?;
        let mut state = self.state();
        if state.watches.is_empty() {
            // Nothing more to tell, and no end: a run that goes on.
            return Ok(Response::new(Box::pin(tokio_stream::pending())));
        }
        let events = state.watches.remove(0);
        Ok(Response::new(Box::pin(tokio_stream::iter(events))))
    }

    async fn cancel_run(&self, request: Request<v1::CancelRunRequest>) -> Answer<v1::Run> {
        self.note("cancel_run", &request)?;
        Ok(Response::new(v1::Run {
            state: v1::RunState::Cancelling.into(),
            ..samples::begun_run()
        }))
    }

    async fn retry_run(&self, request: Request<v1::RetryRunRequest>) -> Answer<v1::Run> {
        self.note("retry_run", &request)?;
        Ok(Response::new(samples::begun_run()))
    }

    async fn get_report(&self, request: Request<v1::GetReportRequest>) -> Answer<v1::ReportDocument> {
        self.note("get_report", &request)?;
        let report = self.state().reports.get(&request.get_ref().id).cloned();
        report
            .map(Response::new)
            .ok_or_else(|| Status::not_found("no report"))
    }

    async fn add_note(&self, request: Request<v1::AddNoteRequest>) -> Answer<v1::Note> {
        self.note("add_note", &request)?;
        let v1::AddNoteRequest { id, text, .. } = request.into_inner();
        let known = self.run().tasks.iter().any(|task| task.id == id);
        let about = if known { id } else { String::new() };
        Ok(Response::new(samples::note(&about, 300, &text)))
    }
}

#[tonic::async_trait]
impl v1::audit_server::Audit for Script {
    async fn list_audit(&self, request: Request<v1::ListAuditRequest>) -> Answer<v1::ListAuditResponse> {
        self.note("list_audit", &request)?;
        let entries = samples::audit_entries();
        Ok(Response::new(v1::ListAuditResponse { entries }))
    }

    async fn verify_audit(
        &self,
        request: Request<v1::VerifyAuditRequest>,
    ) -> Answer<v1::VerifyAuditResponse> {
        self.note("verify_audit", &request)?;
        Ok(Response::new(samples::audit_check()))
    }
}
