//! The probe: whether it starts, what it links, and what the kernel keeps it from.

use std::sync::Arc;
use std::time::Duration;

use dr_lance::PinnedEntry;
use dr_probe_wire::event::Confinement;
use dr_probe_wire::host::{self, Ended};
use dr_probe_wire::job::{Job, Location};
use tokio_util::sync::CancellationToken;

use super::Finding;
use crate::config::{Config, SourceKind};
use crate::exit::Code;
use crate::job::probes;
use crate::probe::{self, PinnedTree};

const SUBJECT: &str = "probe";
/// It has nothing to do but start.
const DEADLINE: Duration = Duration::from_secs(30);

/// Starts the newest probe on an empty database; nothing to say where no source wants one.
pub(super) async fn examine(config: &Config) -> Option<Finding> {
    let wanted = config
        .sources
        .iter()
        .any(|source| source.kind == SourceKind::Lancedb);
    if !wanted {
        return None;
    }
    let Some(program) = probe::find(config.agent.probes.as_deref(), probes::beside().as_deref(), None) else {
        return Some(Finding::warning(
            SUBJECT,
            "none is installed: snapshots are made, and drills prove no more than bytes",
            "put dr-probe beside dr-agent, or set agent.probes to a folder of <version>/dr-probe",
        ));
    };
    let run = host::Options {
        deadline: DEADLINE,
        ..host::Options::new(&program)
    };
    let job = Job::open(Location::Tree { origin: None });
    let nothing: [Arc<PinnedEntry>; 0] = [];
    let tree = Arc::new(PinnedTree::new(&nothing));
    let outcome = host::run(&run, &job, Some(tree), |_| {}, &CancellationToken::new()).await;
    let linked = &outcome.probe().lancedb;
    Some(match &outcome.ended {
        Ended::Done(summary) => confined(&format!("LanceDB {linked}"), &summary.confinement),
        ended => {
            let why = ended.fault().map(|(_, why)| why).unwrap_or_default();
            Finding::broken(
                SUBJECT,
                format!("{}: {why}", program.display()),
                "start it by hand to see what it says; it is built for this kind of machine?",
                Code::Inconclusive,
            )
        }
    })
}

fn confined(linked: &str, confinement: &Confinement) -> Finding {
    if confinement.files && confinement.calls && confinement.missing.is_empty() {
        return Finding::fine(
            SUBJECT,
            format!("{linked}; it reaches no file but those of its job, no network and no program"),
        );
    }
    let missing = match &confinement.missing[..] {
        [] => "this version does not confine itself".to_owned(),
        missing => missing.join("; "),
    };
    Finding::warning(
        SUBJECT,
        format!("{linked}; not wholly confined: {missing}"),
        "damaged or hostile data that take it over have the rights of the agent's user: use a kernel with Landlock, \
         and let a container's own filter pass its calls and seccomp",
    )
}
