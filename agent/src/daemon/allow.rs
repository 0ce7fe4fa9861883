//! What a coordinator may ask of this host: at most what the host's own file says.
//!
//! A coordinator that was taken over, or that is wrong, must not be able to write anywhere, to run anything, or to
//! stop the application. So everything is judged here again, whatever the coordinator has judged already; and a
//! restore a second time, when its plan says what is written where.

use std::path::{Component, Path, PathBuf};

use dr_proto::model::{self, CheckWork, DrillKind, DrillWork, HoldChange, HoldWork, RestoreWork, Work};
use dr_vault::restore::Plan;

use crate::config::{Config, Repository, SourceKind};
use crate::session::Session;

/// Why a task is not taken on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The stable word.
    pub cause: &'static str,
    /// A sentence that names the key in agent.toml.
    pub message: String,
}

/// The host's own file does not allow it.
pub const NOT_ALLOWED: &str = "not_allowed";
/// This version of the agent can not do it.
pub const NOT_SUPPORTED: &str = "not_supported";
/// A source of that name is not configured.
pub const UNKNOWN_SOURCE: &str = "unknown_source";

impl Refusal {
    fn not_allowed(message: String) -> Self {
        Self {
            cause: NOT_ALLOWED,
            message,
        }
    }
}

/// What the host allows, as the coordinator is told.
pub fn stated(config: &Config) -> model::Allow {
    model::Allow {
        drills: config.allow.drills.clone(),
        restore_into: config.allow.restore_into.clone(),
        hooks: config.allow.hooks.clone(),
        failover: config.allow.failover,
        release_holds: config.allow.release_holds,
    }
}

/// Whether a task may be taken on.
///
/// # Errors
/// The first reason why not.
pub fn judge(session: &Session, work: &Work) -> Result<(), Refusal> {
    let config = &session.config;
    match work {
        Work::Snapshot(snapshot) => sources(session, &snapshot.sources, None),
        Work::Drill(drill) => judge_drill(config, drill),
        Work::Restore(restore) => judge_restore(config, restore),
        Work::Check(check) => judge_check(session, check),
        Work::Hold(hold) => judge_hold(config, hold),
    }
}

fn judge_drill(config: &Config, drill: &DrillWork) -> Result<(), Refusal> {
    let kind = drill.kind;
    if !config.allow.drills.contains(&kind) {
        return Err(Refusal::not_allowed(format!(
            "{kind} drills are not allowed here: add \"{kind}\" to `[allow].drills` in this host's agent.toml"
        )));
    }
    if kind == DrillKind::Failover && !config.allow.failover {
        return Err(Refusal::not_allowed(
            "failover drills are not allowed here: set `[allow].failover` in this host's agent.toml"
                .to_owned(),
        ));
    }
    if !matches!(kind, DrillKind::Verify | DrillKind::Restore) {
        return Err(Refusal {
            cause: NOT_SUPPORTED,
            message: format!(
                "dr-agent {} runs no {kind} drills: choose verify or restore",
                env!("CARGO_PKG_VERSION")
            ),
        });
    }
    if let Some(share) = drill.recall_tolerance
        && !(0.0..=1.0).contains(&share)
    {
        return Err(Refusal {
            cause: NOT_SUPPORTED,
            message: format!("a recall tolerance of {share} is no share: give 0 to 1"),
        });
    }
    if let Some(loss) = drill.loss.filter(|_| kind != DrillKind::Restore) {
        return Err(Refusal {
            cause: NOT_SUPPORTED,
            message: format!("a {kind} drill restores nothing, so {loss} data can not be rehearsed with it"),
        });
    }
    hooks(config, kind, &drill.hooks)?;
    from_host(config, drill.from_host.as_ref())
}

fn hooks(config: &Config, kind: DrillKind, asked: &[String]) -> Result<(), Refusal> {
    for hook in asked {
        if !config.allow.hooks.contains(hook) {
            return Err(Refusal::not_allowed(format!(
                "the hook `{hook}` is not allowed here: add it to `[allow].hooks` in this host's agent.toml"
            )));
        }
        if !config.hooks.contains_key(hook) {
            return Err(Refusal::not_allowed(format!(
                "the hook `{hook}` is not defined here: define it under `[hook]` in this host's agent.toml"
            )));
        }
    }
    if !asked.is_empty() && kind != DrillKind::Restore {
        return Err(Refusal {
            cause: NOT_SUPPORTED,
            message: format!("hooks ask the restored copy, and a {kind} drill restores nothing"),
        });
    }
    Ok(())
}

fn judge_check(session: &Session, check: &CheckWork) -> Result<(), Refusal> {
    let kind = match check.kind {
        model::CheckKind::VectorDb => Some(SourceKind::Lancedb),
        model::CheckKind::AuditLog => Some(SourceKind::AuditLog),
        model::CheckKind::DrIntegrity => None,
    };
    sources(session, &check.sources, kind)
}

/// A hold only keeps more. A release lets retention take what somebody wanted to keep.
fn judge_hold(config: &Config, hold: &HoldWork) -> Result<(), Refusal> {
    match hold.change {
        HoldChange::Release { .. } if !config.allow.release_holds => Err(Refusal::not_allowed(
            "holds are released only by hand here: give `dr-agent snapshots release` on this host, or set \
             `[allow].release_holds` in its agent.toml"
                .to_owned(),
        )),
        HoldChange::Set(_) | HoldChange::Release { .. } => Ok(()),
    }
}

/// Whether names of sources mean something here; what they mean is looked up again when the work begins.
fn sources(session: &Session, names: &[String], kind: Option<SourceKind>) -> Result<(), Refusal> {
    let configured = &session.config.sources;
    for name in names {
        let fits = |entry: &crate::config::Source| {
            let own = *name == entry.name;
            let matched = name
                .strip_prefix(&entry.name)
                .is_some_and(|rest| rest.starts_with('/'));
            (own || matched) && kind.is_none_or(|kind| entry.kind == kind)
        };
        if !configured.iter().any(fits) {
            let known: Vec<&str> = configured.iter().map(|entry| entry.name.as_str()).collect();
            let of_kind = kind
                .map(|kind| format!(" of kind {}", kind.as_str()))
                .unwrap_or_default();
            return Err(Refusal {
                cause: UNKNOWN_SOURCE,
                message: format!(
                    "no `[[source]]`{of_kind} in this host's agent.toml is called `{name}`; there is {}",
                    known.join(", ")
                ),
            });
        }
    }
    Ok(())
}

fn judge_restore(config: &Config, restore: &RestoreWork) -> Result<(), Refusal> {
    from_host(config, restore.from_host.as_ref())?;
    allowed_target(&config.allow.restore_into, &restore.to)
}

/// Whether a folder lies below one that restores may write into, once every link on the way is followed.
fn allowed_target(roots: &[PathBuf], to: &Path) -> Result<(), Refusal> {
    let refuse = |why: &str| {
        Refusal::not_allowed(format!(
            "a restore to {} is not allowed here: {why}",
            to.display()
        ))
    };
    if !to.is_absolute() {
        return Err(refuse("the path is not absolute"));
    }
    if to.components().any(|part| part == Component::ParentDir) {
        return Err(refuse("the path has a `..` in it"));
    }
    let resolved =
        resolve(to).map_err(|error| refuse(&format!("its place can not be found out: {error}")))?;
    within(roots, &resolved).map_err(|why| refuse(&why))
}

/// The path with all links in the part of it that exists followed.
fn resolve(path: &Path) -> std::io::Result<PathBuf> {
    for ancestor in path.ancestors() {
        match ancestor.symlink_metadata() {
            Ok(_) => {
                let rest = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
                return Ok(ancestor.canonicalize()?.join(rest));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(path.to_owned())
}

fn within(roots: &[PathBuf], resolved: &Path) -> Result<(), String> {
    let mut missing = Vec::new();
    for root in roots {
        match root.canonicalize() {
            Ok(root) if resolved.starts_with(&root) => return Ok(()),
            Ok(_) => {}
            Err(error) => missing.push(format!("{}: {error}", root.display())),
        }
    }
    let listed: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
    let listed = if listed.is_empty() {
        "it names none".to_owned()
    } else {
        format!("it names {}", listed.join(", "))
    };
    let mut why = format!(
        "{} lies in no folder of `[allow].restore_into` in this host's agent.toml; {listed}",
        resolved.display()
    );
    if !missing.is_empty() {
        why = format!("{why} (can not be used: {})", missing.join("; "));
    }
    Err(why)
}

/// Whether a plan stays where restores may write. Its targets have all links followed.
///
/// # Errors
/// The first target that does not.
pub fn judge_plan(config: &Config, plan: &Plan) -> Result<(), Refusal> {
    for placement in &plan.placements {
        for path in [&placement.target, &placement.staging] {
            within(&config.allow.restore_into, path).map_err(|why| {
                Refusal::not_allowed(format!(
                    "the restore of source `{}` is not allowed here: {why}",
                    placement.source
                ))
            })?;
        }
    }
    Ok(())
}

fn from_host(config: &Config, host: Option<&model::HostName>) -> Result<(), Refusal> {
    match host {
        Some(host) => neighbour(config, host).map(|_| ()),
        None => Ok(()),
    }
}

/// The repository of another host of the fleet: this host's own URL with the other's name. No URL travels in a task.
///
/// # Errors
/// When this host's own URL does not say where the others are.
pub fn neighbour(config: &Config, host: &model::HostName) -> Result<Repository, Refusal> {
    let own = config.repository.as_ref();
    match own.filter(|own| own.template.contains("{host}")) {
        Some(own) => {
            let mut other = own.clone();
            other.url = own.template.replace("{host}", host.as_str());
            Ok(other)
        }
        None => Err(Refusal::not_allowed(format!(
            "the repository of {host} can not be found from here: `[repository].url` in this host's agent.toml has \
             no `{{host}}` in it"
        ))),
    }
}

#[cfg(test)]
mod tests;
