//! What the services can ask for, a handle a topic. Handles speak the domain's language, check what is asked, and
//! leave the rest to the store; every error is an [`Error`].

mod audit;
mod enrolment;
mod error;
mod fleet;
mod plans;
mod runs;
mod suspensions;
mod tokens;

pub use self::audit::Audit;
pub use self::enrolment::{Enrolment, Issued};
pub use self::error::Error;
pub use self::fleet::{AgentState, AgentView, Coverage, DiffView, Fleet, StatusView};
pub use self::plans::{ActivePlan, PlanView, Plans, Preview, enabled as enabled_plans};
pub use self::runs::{
    AdHoc, Detail, Event, Filter as RunFilter, Hosts, ReportView, Request, Runs, TaskView, Watch,
};
pub use self::suspensions::Suspensions;
pub use self::tokens::{Minted, Terms, Tokens};
