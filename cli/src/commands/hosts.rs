//! Which hosts work is for.

use clap::Args;
use dr_proto::model::{HostName, Selector};

use crate::coordinator::Where;

/// One host, or all that match.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Hosts {
    /// One host
    #[arg(long, value_name = "HOST")]
    host: Option<HostName>,
    /// All hosts whose labels match: env=prod,tier in (gold,silver); `*` for all
    #[arg(long, value_name = "LABELS")]
    select: Option<Selector>,
}

impl Hosts {
    pub(super) fn where_to(self) -> Where {
        match (self.host, self.select) {
            (Some(host), _) => Where::Host(host),
            (None, Some(select)) => Where::Select(select),
            (None, None) => unreachable!("clap requires one of the two"),
        }
    }
}
