//! `drctl agent …`.

use clap::{Args, Subcommand};
use dr_proto::model::exit::Code;
use dr_proto::model::units::Period;
use dr_proto::model::{HostName, Selector};
use dr_proto::view::{Agent, AgentState};
use dr_terminal::arguments::{period, said};
use dr_terminal::{Cell, Table, Tone, Ui};
use serde::Serialize;

use super::token;
use crate::coordinator::{Coordinator, Terms};
use crate::error::{Failure, Outcome};
use crate::session::Session;
use crate::show::{dash, short_time};

/// Arguments of `agent`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a one-time token that enrols a host, or manage tokens
    #[command(
        after_long_help = "Examples:\n  drctl agent token --host db-1 --label env=prod > token\n  drctl agent token list"
    )]
    Token(token::Arguments),
    /// List hosts and where their agents stand
    List {
        /// Only hosts whose labels match: env=prod,tier in (gold,silver)
        #[arg(long, value_name = "LABELS")]
        select: Option<Selector>,
    },
    /// Show one host
    Show {
        /// The host
        host: HostName,
    },
    /// Let a host work that enrolled with a token which wants an approval
    Approve {
        /// The host
        host: HostName,
    },
    /// The host was rebuilt or lost: refuse its old machine and make a token for the new one; labels and history stay
    #[command(after_long_help = "Example:\n  drctl agent replace db-1 --reason OPS-4411 > token")]
    Replace(Replace),
    /// Refuse a host's certificates from now on and end its streams
    Revoke(Farewell),
    /// The host is gone for good: revoke it and expect it no more
    Retire(Farewell),
}

#[derive(Debug, Args)]
struct Replace {
    /// The host
    host: HostName,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", value_parser = said)]
    reason: String,
    /// How long the token may be used; an hour if not given, 30 days at most
    #[arg(long, value_name = "TIME", value_parser = period)]
    valid_for: Option<Period>,
    /// The new machine gets no task and no plan before somebody gives `drctl agent approve`
    #[arg(long)]
    needs_approval: bool,
}

#[derive(Debug, Args)]
struct Farewell {
    /// The host
    host: HostName,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", value_parser = said)]
    reason: String,
}

#[derive(Serialize)]
struct Agents {
    agents: Vec<Agent>,
}

#[derive(Serialize)]
struct Gone {
    host: HostName,
    state: AgentState,
    #[serde(skip_serializing_if = "Option::is_none")]
    streams_ended: Option<u32>,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    session
        .until_interrupted(dispatch(session, arguments.command))
        .await
}

async fn dispatch(session: &Session, command: Command) -> Outcome {
    let coordinator = session.coordinator().await?;
    match command {
        Command::Token(arguments) => return token::run(session, &coordinator, arguments).await,
        Command::List { select } => {
            let agents = coordinator
                .agents(select.map(|select| select.to_string()))
                .await?;
            if session.ui.is_json() {
                session.answer(&Agents { agents })?;
            } else if agents.is_empty() {
                session
                    .ui
                    .say("No hosts: `drctl agent token` makes a token that enrols one");
            } else {
                list(&session.ui, &agents)?;
            }
        }
        Command::Show { host } => {
            let agent = coordinator.agent(host.to_string()).await?;
            if session.ui.is_json() {
                session.answer(&agent)?;
            } else {
                show(&session.ui, &agent)?;
            }
        }
        Command::Approve { host } => {
            let agent = coordinator.approve(host.to_string()).await?;
            if session.ui.is_json() {
                session.answer(&agent)?;
            } else {
                session
                    .ui
                    .data(&format!("{host} is approved; it is {}", agent.state))?;
            }
        }
        Command::Replace(arguments) => replace(session, &coordinator, arguments).await?,
        Command::Revoke(Farewell { host, reason }) => {
            let ended = coordinator.revoke(host.to_string(), reason).await?;
            gone(session, host, AgentState::Revoked, Some(ended))?;
        }
        Command::Retire(Farewell { host, reason }) => {
            coordinator.retire(host.to_string(), reason).await?;
            gone(session, host, AgentState::Retired, None)?;
        }
    }
    Ok(Code::Done)
}

async fn replace(session: &Session, coordinator: &Coordinator, arguments: Replace) -> Result<(), Failure> {
    let terms = Terms {
        valid_for: arguments.valid_for.map(|period| period.0),
        needs_approval: arguments.needs_approval,
    };
    let replaced = coordinator
        .replace(arguments.host.to_string(), arguments.reason, terms)
        .await?;
    if session.ui.is_json() {
        session.answer(&replaced)?;
        return Ok(());
    }
    token::hand_over(&session.ui, &replaced.token)?;
    session.ui.say(&format!(
        "The old machine of {} is refused; {} live streams ended. The first snapshot of the new one counts only if its \
         data go on from the last",
        arguments.host, replaced.streams_ended
    ));
    Ok(())
}

fn gone(session: &Session, host: HostName, state: AgentState, ended: Option<u32>) -> std::io::Result<()> {
    if session.ui.is_json() {
        return session.answer(&Gone {
            host,
            state,
            streams_ended: ended,
        });
    }
    let streams = ended.map(|count| format!("; {count} live streams ended"));
    session
        .ui
        .data(&format!("{host} is {state}{}", streams.unwrap_or_default()))
}

fn tone(state: AgentState) -> Tone {
    match state {
        AgentState::Connected => Tone::Good,
        AgentState::Away | AgentState::Expected | AgentState::Pending => Tone::Warn,
        AgentState::Lost => Tone::Bad,
        AgentState::Revoked | AgentState::Retired => Tone::Dim,
    }
}

/// What needs somebody first, what is gone last.
fn urgency(agent: &Agent) -> u8 {
    match agent.state {
        AgentState::Lost => 0,
        AgentState::Connected if !agent.problems.is_empty() => 1,
        AgentState::Pending => 2,
        AgentState::Expected | AgentState::Away => 3,
        AgentState::Connected => 4,
        AgentState::Revoked | AgentState::Retired => 5,
    }
}

fn list(ui: &Ui, agents: &[Agent]) -> std::io::Result<()> {
    let mut table = Table::new(&[
        "host",
        "state",
        "version",
        "labels",
        "sources",
        "last seen",
        "notes",
    ])
    .figures(&[4]);
    let mut sorted: Vec<&Agent> = agents.iter().collect();
    sorted.sort_by_key(|agent| (urgency(agent), &agent.host));
    for agent in sorted {
        let mut notes = agent.problems.clone();
        notes.extend(agent.suspended.iter().map(|why| format!("suspended: {why}")));
        table.row([
            agent.host.clone().into(),
            Cell::toned(tone(agent.state), agent.state),
            dash(agent.version.clone()).into(),
            labels(agent).into(),
            agent
                .sources
                .iter()
                .filter(|source| source.configured)
                .count()
                .to_string()
                .into(),
            dash(agent.last_seen.map(short_time)).into(),
            notes.join("; ").into(),
        ]);
    }
    table.print(ui)
}

fn labels(agent: &Agent) -> String {
    let labels: Vec<String> = agent
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    labels.join(",")
}

fn show(ui: &Ui, agent: &Agent) -> std::io::Result<()> {
    let line = |name: &str, value: String| ui.data(&format!("{name:12}{value}"));
    line("host", agent.host.clone())?;
    line("state", ui.paint(tone(agent.state), &agent.state.to_string()))?;
    line("version", dash(agent.version.clone()))?;
    line(
        "labels",
        dash(Some(labels(agent)).filter(|labels| !labels.is_empty())),
    )?;
    line("enrolled", dash(agent.enrolled.map(short_time)))?;
    line("last seen", dash(agent.last_seen.map(short_time)))?;
    if agent.machine > 1 {
        line("machine", format!("number {} of this name", agent.machine))?;
    }
    line(
        "certificate",
        format!("expires {}", dash(agent.certificate_expires.map(short_time))),
    )?;
    let skew = agent.clock_skew_seconds.map(|skew| format!("{skew:+.1}s"));
    line("clock skew", dash(skew))?;
    let sealed = match (&agent.repository, agent.repository_encrypted) {
        (None, _) => "none configured".to_owned(),
        (Some(url), true) => format!("{url} (encrypted)"),
        (Some(url), false) => format!("{url} (NOT ENCRYPTED)"),
    };
    line("repository", sealed)?;
    line(
        "probes",
        dash(Some(agent.probes.join(", ")).filter(|probes| !probes.is_empty())),
    )?;
    line("allows", allows(agent))?;
    if let Some(why) = &agent.suspended {
        line("suspended", ui.paint(Tone::Warn, why))?;
    }
    for problem in &agent.problems {
        line("problem", ui.paint(Tone::Bad, problem))?;
    }
    if agent.sources.is_empty() {
        return Ok(());
    }
    ui.data("")?;
    let mut table = Table::new(&["source", "kind", "path", "notes"]);
    for source in &agent.sources {
        let found = (!source.configured).then(|| "found, not configured".to_owned());
        let notes: Vec<String> = found.into_iter().chain(source.problem.clone()).collect();
        table.row([
            source.name.clone(),
            source.kind.clone(),
            source.path.clone(),
            notes.join("; "),
        ]);
    }
    table.print(ui)
}

/// The most that may be asked of it.
fn allows(agent: &Agent) -> String {
    let allow = &agent.allow;
    let mut parts = Vec::new();
    let drills: Vec<String> = allow.drills.iter().map(ToString::to_string).collect();
    if !drills.is_empty() {
        parts.push(format!("drills {}", drills.join(", ")));
    }
    let folders: Vec<String> = allow
        .restore_into
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    if !folders.is_empty() {
        parts.push(format!("restores into {}", folders.join(", ")));
    }
    if !allow.hooks.is_empty() {
        parts.push(format!("hooks {}", allow.hooks.join(", ")));
    }
    if allow.failover {
        parts.push("failover".to_owned());
    }
    if allow.release_holds {
        parts.push("release of holds".to_owned());
    }
    dash(Some(parts.join("; ")).filter(|parts| !parts.is_empty()))
}
