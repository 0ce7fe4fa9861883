//! Why the store could not do something.

use std::path::PathBuf;

use dr_proto::model::HostName;

/// Shorthand for results of the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configured URL names no store of a kind that we have.
    #[error("`{0}` names no store: `sqlite:///absolute/path/state.db` is expected")]
    Url(String),
    /// The file could not be opened.
    #[error("open the store {path}")]
    Open {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// Another coordinator works on it.
    #[error(
        "another coordinator works on the store {store}: {holder}, holds {lock}; stop it, or give this one a store of \
         its own"
    )]
    Held {
        /// The database file.
        store: PathBuf,
        /// The lock file beside it.
        lock: PathBuf,
        /// What the other one wrote into that: its process id, and since when.
        holder: String,
    },
    /// The lock file could not be had.
    #[error(
        "lock the store by {path}: check that its folder exists and that the coordinator may write there"
    )]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The schema could not be brought up to date.
    #[error("bring the store {path} to this version's schema; was it written by a newer coordinator?")]
    Migrate {
        /// The database file.
        path: PathBuf,
        /// What the migration said.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// A statement failed.
    #[error("{what} in the store")]
    Query {
        /// The step, as a verb phrase.
        what: &'static str,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// A stored value reads as nothing that this version knows.
    #[error(
        "the store's column `{column}` holds {value:?}: {reason}; it was damaged, or written by a newer coordinator"
    )]
    Value {
        /// The column.
        column: &'static str,
        /// The start of what it holds.
        value: String,
        /// Why it can not be read.
        reason: String,
    },
    /// A value could not be written as JSON.
    #[error("write {what} as JSON")]
    Encode {
        /// What it was.
        what: &'static str,
        /// What serde said.
        #[source]
        source: serde_json::Error,
    },
    /// There is no such thing.
    #[error("there is no {kind} `{name}`")]
    NotFound {
        /// `run`, `plan`, `host`…
        kind: &'static str,
        /// What was asked for.
        name: String,
    },
    /// The start of an id fits several.
    #[error("`{start}` fits {count} {kind}s: write more of the id")]
    Ambiguous {
        /// `run`, `task`.
        kind: &'static str,
        /// What was asked for.
        start: String,
        /// How many fit.
        count: usize,
    },
    /// The plan is not the one that the caller had seen.
    #[error(
        "plan `{name}` changed meanwhile: it has hash {found}, {expected} was expected; look at it and apply again"
    )]
    PlanChanged {
        /// The plan.
        name: String,
        /// What the caller expected.
        expected: String,
        /// What is in force; `none` if the plan does not exist or is disabled.
        found: String,
    },
    /// A host that was revoked or retired.
    #[error("host {host} is {state}: {reason}")]
    Barred {
        /// The host.
        host: HostName,
        /// `revoked` or `retired`.
        state: &'static str,
        /// Why.
        reason: String,
    },
    /// A token that does not let this host in.
    #[error("the token was refused: {0}")]
    Token(TokenProblem),
    /// No step leads there.
    #[error("{kind} {id} can not do that")]
    Step {
        /// `run` or `task`.
        kind: &'static str,
        /// Its id.
        id: String,
        /// From where to where.
        #[source]
        source: dr_proto::model::IllegalStep,
    },
    /// The same request id with another content, or a retry of a run without anything to retry.
    #[error("{0}")]
    Refused(String),
    /// A copy of the store could not be written or did not check.
    #[error("copy the store to {path}: {reason}")]
    Copy {
        /// Where to.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Why a token does not let a host in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenProblem {
    /// No token has this secret.
    #[error("it is not known here; ask for a new one with `drctl agent token`")]
    Unknown,
    /// Its time is over.
    #[error("it has expired; ask for a new one with `drctl agent token`")]
    Expired,
    /// Somebody withdrew it.
    #[error("it was withdrawn; ask for a new one with `drctl agent token`")]
    Withdrawn,
    /// It was used, with another key.
    #[error("it was used already, for another key; ask for a new one and find out who used it")]
    Used,
    /// It is for another host.
    #[error("it is for another host; ask for one for this host with `drctl agent token`")]
    OtherHost,
}

impl Error {
    /// The stable word for clients.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Ambiguous { .. } => "ambiguous",
            Self::PlanChanged { .. } => "plan_changed",
            Self::Barred { .. } => "barred",
            Self::Token(_) => "token_refused",
            Self::Step { .. } | Self::Refused(_) => "refused",
            Self::Held { .. } => "busy",
            Self::Url(_)
            | Self::Open { .. }
            | Self::Lock { .. }
            | Self::Migrate { .. }
            | Self::Query { .. }
            | Self::Value { .. }
            | Self::Encode { .. }
            | Self::Copy { .. } => "store",
        }
    }

    /// Whether the file is no database, or a damaged one: SQLite's codes `NOTADB` and `CORRUPT`.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Value { .. } | Self::Migrate { .. } => true,
            Self::Open { source, .. } | Self::Query { source, .. } => source
                .as_database_error()
                .and_then(sqlx::error::DatabaseError::code)
                .is_some_and(|code| matches!(code.as_ref(), "26" | "11")),
            _ => false,
        }
    }

    /// Whether asking again can not help. A busy or full store may recover.
    pub fn is_permanent(&self) -> bool {
        !matches!(
            self,
            Self::Query { .. }
                | Self::Open { .. }
                | Self::Held { .. }
                | Self::Lock { .. }
                | Self::Copy { .. }
        )
    }
}

/// Says at which step a statement failed.
pub(crate) trait During<T> {
    /// Names the step.
    fn during(self, what: &'static str) -> Result<T>;
}

impl<T> During<T> for std::result::Result<T, sqlx::Error> {
    fn during(self, what: &'static str) -> Result<T> {
        self.map_err(|source| Error::Query { what, source })
    }
}
