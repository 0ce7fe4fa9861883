//! The host itself: folders, space, descriptors, the probe.

use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::config::{Config, Limits, Size};
use crate::error::in_one_line;
use crate::exit::Code;
use crate::limits::{self, busy};
use crate::probe::LEAST_MEMORY as LEAST_PROBE_MEMORY;
use crate::session::Session;
use crate::state::refuse_if_suspended;

/// A database of a few hundred tables holds this many files at a cut.
const DESCRIPTORS: u64 = 65_536;
/// Less free space than this is asking for trouble.
const LEAST_FREE: u64 = 1 << 30;

pub(super) async fn examine(session: &Session) -> Vec<Finding> {
    let agent = &session.config.agent;
    let mut findings = vec![suspended(&agent.suspend_file)];
    findings.push(folder("state folder", &agent.state_dir, None));
    findings.push(folder("scratch", &agent.scratch_dir(), agent.scratch.max));
    findings.push(descriptors());
    findings.push(yields(&session.config.limits));
    findings.extend(busy(&session.config).await);
    findings
}

/// Whether work can be put behind the host's own.
fn yields(limits: &Limits) -> Finding {
    const SUBJECT: &str = "limits";
    let (errors, standing) = limits::try_out(limits.cpu);
    let taken = match standing {
        Ok(standing) => format!(
            "work runs at {standing}; {} of memory for each probe",
            probe(limits)
        ),
        Err(error) => in_one_line(&error),
    };
    if errors.is_empty() {
        return Finding::fine(SUBJECT, taken);
    }
    let errors: Vec<String> = errors.iter().map(|error| in_one_line(error)).collect();
    Finding::warning(
        SUBJECT,
        format!("{taken}; refused: {}", errors.join("; ")),
        "a seccomp filter of the container or unit forbids it: allow setpriority, ioprio_set and sched_setaffinity",
    )
}

fn probe(limits: &Limits) -> Size {
    Size(limits.memory.0.max(LEAST_PROBE_MEMORY))
}

/// What the host's own hook says now.
async fn busy(config: &Config) -> Option<Finding> {
    const SUBJECT: &str = "busy hook";
    let name = config.limits.busy_hook.as_ref()?;
    let hook = config.hooks.get(name)?;
    Some(match busy::ask(hook).await {
        Ok(()) => Finding::fine(
            SUBJECT,
            format!("`{name}` says that the host can spare something"),
        ),
        Err(error @ busy::Error::Failed { .. }) => Finding::warning(
            SUBJECT,
            format!("`{name}` says that the host is busy: {}", in_one_line(&error)),
            "snapshots and drills end as inconclusive (host_busy) while it says so twice in a row",
        ),
        Err(error) => Finding::warning(
            SUBJECT,
            format!("`{name}` does not answer: {}", in_one_line(&error)),
            "a hook that does not answer counts as a busy host: mend it, or take limits.busy_hook out",
        ),
    })
}

fn suspended(file: &Path) -> Finding {
    match refuse_if_suspended(file) {
        Ok(()) => Finding::fine("suspended", "no"),
        Err(error) => Finding::warning(
            "suspended",
            error.to_string(),
            format!("nothing starts until {} is removed", file.display()),
        ),
    }
}

/// A folder that is or can be made, is writable, and has space.
fn folder(subject: &str, path: &Path, wanted: Option<Size>) -> Finding {
    let shown = path.display();
    let Some(existing) = path.ancestors().find(|ancestor| ancestor.exists()) else {
        let fix = "name a folder on a mounted file system";
        return Finding::broken(
            subject,
            format!("{shown}: nothing on this path exists"),
            fix,
            Code::NotFound,
        );
    };
    if rustix::fs::access(
        existing,
        rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
    )
    .is_err()
    {
        let found = format!("{shown}: {} is not writable by this user", existing.display());
        let fix = format!("create {shown} and give it to the agent's user, or configure another");
        return Finding::broken(subject, found, fix, Code::Denied);
    }
    let free = match rustix::fs::statvfs(existing) {
        Ok(system) => system.f_bavail.saturating_mul(system.f_frsize),
        Err(error) => {
            let fix = "check the mount";
            return Finding::broken(subject, format!("{shown}: {error}"), fix, Code::Unreachable);
        }
    };
    let found = format!("{shown}, {} free", Size(free));
    match wanted {
        Some(max) if free < max.0 => {
            let fix = format!("drills may use {max}; make room or lower scratch.max");
            Finding::warning(subject, found, fix)
        }
        _ if free < LEAST_FREE => Finding::warning(subject, found, "make room: at least 1 GiB"),
        _ => Finding::fine(subject, found),
    }
}

fn descriptors() -> Finding {
    const SUBJECT: &str = "descriptors";
    match getrlimit(Resource::Nofile).maximum {
        None => Finding::fine(SUBJECT, "unlimited"),
        Some(limit) if limit >= DESCRIPTORS => Finding::fine(SUBJECT, format!("up to {limit}")),
        Some(limit) => Finding::warning(
            SUBJECT,
            format!("at most {limit}: a cut that holds more files than that must copy the rest"),
            "raise the hard limit: LimitNOFILE=1048576 in the unit, or `ulimit -Hn`",
        ),
    }
}
