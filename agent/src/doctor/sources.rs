//! The sources: is each there, readable, and how will its files be held.

use dr_lance::CollectOptions;
use dr_lance::pins::{PinMethod, PinSummary};

use super::Finding;
use crate::config::{ResolvedSource, SourceKind};
use crate::error::Failure;
use crate::exit::Code;
use crate::session::Session;
use crate::state::scratch::Area;

pub(super) async fn examine(session: &Session) -> Vec<Finding> {
    if session.config.sources.is_empty() {
        return vec![Finding::broken(
            "sources",
            "none is configured",
            "`dr-agent discover DIR` finds databases and logs",
            Code::Configuration,
        )];
    }
    let mut findings = Vec::new();
    for entry in &session.config.sources {
        match entry.expand() {
            Ok(sources) => {
                for source in sources {
                    findings.push(examine_one(session, source).await);
                }
            }
            Err(error) => {
                let failure = Failure::from(error);
                let fix = failure.hints().join("; ");
                let found = failure.to_string();
                findings.push(Finding::broken(
                    subject(&entry.name),
                    found,
                    fix,
                    failure.class().code(),
                ));
            }
        }
    }
    findings
}

fn subject(name: &str) -> String {
    format!("source {name}")
}

async fn examine_one(session: &Session, source: ResolvedSource) -> Finding {
    let name = source.name.clone();
    let staging = session.config.agent.state_dir.join("staging");
    let now = session.clock.now();
    let cancel = session.stop.token().clone();
    let asking = tokio::task::spawn_blocking(move || match source.kind {
        SourceKind::Lancedb => database(&source, Area::new(staging), now, cancel),
        SourceKind::AuditLog => log(&source),
    });
    match asking.await {
        Ok(finding) => finding,
        Err(error) => Finding::broken(
            subject(&name),
            format!("looking at it failed: {error}"),
            "please report this",
            Code::Internal,
        ),
    }
}

fn database(
    source: &ResolvedSource,
    staging: Area,
    now: jiff::Timestamp,
    cancel: tokio_util::sync::CancellationToken,
) -> Finding {
    // Without a staging folder only descriptors can be tried, which the answer then says.
    let claim = staging.claim("doctor", now).ok();
    let options = CollectOptions {
        history: source.history,
        pins: source.pin.clone(),
        staging: claim.as_ref().map(|claim| claim.path().to_owned()),
        cancel,
        ..CollectOptions::default()
    };
    let tables = match dr_lance::discover(&source.path, 0) {
        Ok(found) => found.iter().map(|database| database.tables.len()).sum::<usize>(),
        Err(error) => return unreadable(source, error),
    };
    let tried = dr_lance::try_pins(&source.path, &options);
    if let (0, Ok(_)) = (tables, &tried) {
        return Finding::warning(
            subject(&source.name),
            format!("{} holds no table", source.path.display()),
            "is this the database's folder? its tables are folders that hold `_versions`",
        );
    }
    match tried {
        Ok(pins) => pinned(source, tables, &pins),
        Err(error) => unreadable(source, error),
    }
}

fn pinned(source: &ResolvedSource, tables: usize, pins: &PinSummary) -> Finding {
    let refused: Vec<String> = pins
        .file_systems
        .iter()
        .flat_map(|system| &system.refused)
        .map(|refused| format!("{}: {}", refused.method, refused.reason))
        .collect();
    let because = if refused.is_empty() {
        String::new()
    } else {
        format!(" ({})", refused.join("; "))
    };
    let plural = if tables == 1 { "" } else { "s" };
    let head = format!("{tables} table{plural} at {}", source.path.display());
    match pins.main_method() {
        Some(PinMethod::Copy) => Finding::warning(
            subject(&source.name),
            format!("{head}; held by copies{because}"),
            "every cut copies all files: raise the descriptor limit or put state_dir on a file system with reflinks",
        ),
        Some(method) => Finding::fine(
            subject(&source.name),
            format!("{head}; held by {method}{because}"),
        ),
        None => Finding::warning(
            subject(&source.name),
            format!("{head}; nothing to hold{because}"),
            "tables without a version: are they being created right now?",
        ),
    }
}

fn log(source: &ResolvedSource) -> Finding {
    match dr_auditlog::capture(&source.log_options()) {
        Ok(captured) => {
            let count = captured.segments.len();
            let plural = if count == 1 { "" } else { "s" };
            let found = format!(
                "{count} segment{plural} at {}{}",
                source.path.display(),
                kept(source)
            );
            if captured.notes.is_empty() {
                Finding::fine(subject(&source.name), found)
            } else {
                let notes: Vec<String> = captured.notes.iter().map(|note| format!("{note:?}")).collect();
                let found = format!("{found}; {}", notes.join("; "));
                Finding::warning(subject(&source.name), found, "look at the files it names")
            }
        }
        Err(error) => unreadable(source, error),
    }
}

/// What becomes of segments that rotation removes from the host.
fn kept(source: &ResolvedSource) -> String {
    match (&source.rotated, source.keep_for) {
        (None, _) => String::new(),
        (Some(_), Some(keep_for)) => format!("; what rotation removes stays in snapshots for {keep_for}"),
        (Some(_), None) => {
            "; what rotation removes is in older snapshots only (keep_for is not set)".to_owned()
        }
    }
}

fn unreadable(source: &ResolvedSource, error: impl std::error::Error + Send + Sync + 'static) -> Finding {
    let failure = Failure::from(error);
    let code = match failure.class().code() {
        Code::Internal => Code::NotFound,
        code => code,
    };
    let fix =
        "check the path, and that the agent's user may read it (an ACL: setfacl -R -m u:dr-agent:rX DIR)";
    Finding::broken(subject(&source.name), failure.to_string(), fix, code)
}
