//! `dr-agent suspend` and `dr-agent resume`: the host's own switch.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use clap::Args;
use dr_terminal::arguments::said;
use serde::Serialize;

use crate::error::{Doing, Failure, Outcome};
use crate::exit::Code;
use crate::session::Session;
use crate::state::{Holder, Lock};

/// Arguments of `suspend`.
#[derive(Debug, Args)]
pub(super) struct Suspend {
    /// Why, for whoever finds that nothing starts
    #[arg(long, value_name = "TEXT", default_value = "suspended on the host", value_parser = said)]
    reason: String,
}

/// Arguments of `resume`.
#[derive(Debug, Args)]
pub(super) struct Resume {}

/// How it stands afterwards.
#[derive(Serialize)]
struct Switched<'a> {
    suspended: bool,
    changed: bool,
    file: &'a Path,
    reason: Option<&'a str>,
}

pub(super) fn suspend(session: &Session, arguments: &Suspend) -> Outcome {
    let file = &session.config.agent.suspend_file;
    let reason: String = arguments.reason.split_whitespace().collect::<Vec<_>>().join(" ");
    write(file, &reason, session)?;
    if session.ui.is_json() {
        session.ui.json(&Switched {
            suspended: true,
            changed: true,
            file,
            reason: Some(&reason),
        })?;
        return Ok(Code::Done);
    }
    session.ui.data(
        "suspended: nothing starts on this host until `dr-agent resume`, and what runs stops at its next safe point",
    )?;
    if let Some(holder) = at_work(session)? {
        session.ui.say(&format!(
            "`{}`, process {}, is at work and stops",
            holder.command, holder.pid
        ));
    }
    Ok(Code::Done)
}

/// The reason first, on a line of its own: it is what everybody is told.
fn write(file: &Path, reason: &str, session: &Session) -> Result<(), Failure> {
    let now = session.clock.now();
    let unfinished = file.with_extension("new");
    let written = File::create(&unfinished).and_then(|mut out| {
        write!(out, "{reason}\nsince {now:.0}\n")?;
        out.sync_all()?;
        std::fs::rename(&unfinished, file)
    });
    written.doing(|| format!("write the suspend file {}", file.display()))
}

/// Who holds the state lock, if anybody does.
fn at_work(session: &Session) -> Result<Option<Holder>, Failure> {
    let lock = session
        .state()?
        .lock(Holder::this("suspend", session.clock.now()));
    match lock.map(drop::<Lock>) {
        Ok(()) => Ok(None),
        Err(crate::state::Error::Busy { holder }) => Ok(holder),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn resume(session: &Session, arguments: &Resume) -> Outcome {
    let Resume {} = arguments;
    let file = &session.config.agent.suspend_file;
    let changed = match std::fs::remove_file(file) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(error).doing(|| format!("remove the suspend file {}", file.display())),
    };
    if session.ui.is_json() {
        session.ui.json(&Switched {
            suspended: false,
            changed,
            file,
            reason: None,
        })?;
    } else if changed {
        session.ui.data("resumed: work may start on this host again")?;
    } else {
        session.ui.data("this host was not suspended")?;
    }
    Ok(Code::Done)
}
