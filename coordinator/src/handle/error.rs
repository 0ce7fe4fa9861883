//! Why a handle did not do what it was asked.

use dr_proto::model::{HostName, RunState};
use dr_proto::wire;
use tonic::Code;

use crate::reconcile::driver::Error as Reconcile;

/// Why a handle did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store did not do its part, or knows better.
    #[error(transparent)]
    Store(#[from] dr_store::Error),
    /// A plan could not be started.
    #[error(transparent)]
    Reconcile(#[from] crate::reconcile::driver::Error),
    /// A message says something that it can not say.
    #[error("the request can not be read")]
    Wire(#[from] wire::Error),
    /// A value makes no sense.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field of the request.
        field: &'static str,
        /// What is wrong with it, with the value.
        reason: String,
    },
    /// A plan has errors.
    #[error("the plan has errors:\n{0}")]
    Plan(dr_proto::model::plan::PlanErrors),
    /// Nothing by that name is here.
    #[error("there is no {kind} `{name}`")]
    NotFound {
        /// `host`, `run`.
        kind: &'static str,
        /// What was asked for.
        name: String,
    },
    /// No host is selected, so that nothing would be done.
    #[error("`{select}` selects no host that may work")]
    NoHosts {
        /// What was asked for.
        select: String,
    },
    /// A host may not work: revoked, retired or never attached.
    #[error("host {host} may not work: it is {state}")]
    NotWelcome {
        /// The host.
        host: HostName,
        /// Its state.
        state: &'static str,
    },
    /// The list of expected hosts comes from a file of the coordinator's own.
    #[error("the list of expected hosts comes from {} on the coordinator's host", file.display())]
    OwnInventory {
        /// The file.
        file: std::path::PathBuf,
    },
    /// Nobody ever said which hosts are expected.
    #[error("there is no list of expected hosts")]
    NoInventory,
    /// A run stands where this can not be done.
    #[error("run {run} is {state}: {reason}")]
    RunState {
        /// The run.
        run: String,
        /// Where it stands.
        state: RunState,
        /// Why that does not allow it.
        reason: &'static str,
    },
    /// A run has several tasks, and one was meant.
    #[error("run {run} has {tasks} tasks: name one of them")]
    SeveralTasks {
        /// The run.
        run: String,
        /// How many.
        tasks: usize,
    },
    /// A task has no document.
    #[error("task {task} has no report: {reason}")]
    NoReport {
        /// The task.
        task: String,
        /// Why.
        reason: String,
    },
    /// This coordinator has no certificate authority.
    #[error("this coordinator signs no certificates")]
    NoAuthority,
    /// A signing request was refused.
    #[error("the signing request was refused")]
    Request(#[source] crate::pki::Error),
    /// The certificate authority failed.
    #[error("sign a certificate")]
    Sign(#[source] crate::pki::Error),
    /// The coordinator is about to stop.
    #[error("the coordinator stops")]
    Stopping,
    /// Too many ask at a time.
    #[error("too many {what} at a time")]
    Busy {
        /// Of what.
        what: &'static str,
    },
}

impl Error {
    /// The stable word for clients.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Reconcile(Reconcile::Store(error)) => error.code(),
            Self::Reconcile(Reconcile::Plan { .. }) => "plan_invalid",
            Self::Reconcile(_) => "internal",
            Self::Wire(_) | Self::Invalid { .. } => "invalid_request",
            Self::Plan(_) => "plan_invalid",
            Self::NotFound { .. } => "not_found",
            Self::NoHosts { .. } => "no_hosts",
            Self::NotWelcome { .. } => "host_not_welcome",
            Self::OwnInventory { .. } => "inventory_from_file",
            Self::NoInventory => "not_found",
            Self::RunState { .. } => "run_state",
            Self::SeveralTasks { .. } => "several_tasks",
            Self::NoReport { .. } => "no_report",
            Self::NoAuthority => "no_authority",
            Self::Request(_) => "bad_signing_request",
            Self::Sign(_) => "authority",
            Self::Busy { .. } => "busy",
            Self::Stopping => "stopping",
        }
    }

    /// Whether somebody was turned away who wanted to come in: to be counted and audited.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Store(dr_store::Error::Token(_) | dr_store::Error::Barred { .. })
                | Self::Invalid { field: "token", .. }
        )
    }

    /// The gRPC code.
    pub fn grpc(&self) -> Code {
        match self {
            Self::Store(error) | Self::Reconcile(Reconcile::Store(error)) => of_store(error),
            Self::Reconcile(Reconcile::Plan { .. }) => Code::FailedPrecondition,
            Self::Reconcile(_) => Code::Internal,
            Self::Wire(_) | Self::Invalid { .. } | Self::Plan(_) | Self::Request(_) => Code::InvalidArgument,
            Self::SeveralTasks { .. } => Code::InvalidArgument,
            Self::NotFound { .. } | Self::NoHosts { .. } | Self::NoReport { .. } | Self::NoInventory => {
                Code::NotFound
            }
            Self::NotWelcome { .. }
            | Self::OwnInventory { .. }
            | Self::RunState { .. }
            | Self::NoAuthority => Code::FailedPrecondition,
            Self::Sign(_) => Code::Internal,
            Self::Busy { .. } => Code::ResourceExhausted,
            Self::Stopping => Code::Unavailable,
        }
    }

    /// What to do about it; empty: nothing that we know.
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::NotFound { kind: "host", .. } => "`drctl agent list` shows all hosts",
            Self::NotFound {
                kind: "run" | "task", ..
            } => "`drctl run list` shows all runs",
            Self::NotFound { kind: "plan", .. } => "`drctl plan list` shows all plans",
            Self::NoHosts { .. } => "`drctl agent list --select LABELS` shows what a selector matches",
            Self::NotWelcome { .. } => "`drctl agent show HOST` tells why",
            Self::OwnInventory { .. } => "change that file; or take `inventory.file` out of coordinator.toml",
            Self::NoInventory => {
                "hand one over with `drctl inventory import FILE`, or name `inventory.file` in coordinator.toml"
            }
            Self::SeveralTasks { .. } => "`drctl run show RUN` lists them",
            Self::NoAuthority => "name `authority` in coordinator.toml, or bring certificates of your own",
            Self::Busy { .. } | Self::Stopping => "try again in a moment",
            _ => "",
        };
        hint.to_owned()
    }
}

fn of_store(error: &dr_store::Error) -> Code {
    match error {
        dr_store::Error::NotFound { .. } => Code::NotFound,
        dr_store::Error::Ambiguous { .. } => Code::InvalidArgument,
        dr_store::Error::PlanChanged { .. } => Code::Aborted,
        dr_store::Error::Barred { .. } | dr_store::Error::Token(_) => Code::PermissionDenied,
        dr_store::Error::Step { .. } | dr_store::Error::Refused(_) => Code::FailedPrecondition,
        dr_store::Error::Value { .. } | dr_store::Error::Encode { .. } => Code::DataLoss,
        dr_store::Error::Query { .. }
        | dr_store::Error::Open { .. }
        | dr_store::Error::Held { .. }
        | dr_store::Error::Lock { .. }
        | dr_store::Error::Copy { .. } => Code::Unavailable,
        dr_store::Error::Url(_) | dr_store::Error::Migrate { .. } => Code::Internal,
    }
}
