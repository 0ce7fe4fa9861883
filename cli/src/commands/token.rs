//! `drctl agent token …`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use clap::{Args, Subcommand};
use dr_proto::model::HostName;
use dr_proto::model::exit::Code;
use dr_proto::model::units::Period;
use dr_proto::view::Token;
use dr_terminal::arguments::period;
use dr_terminal::{Table, Ui};
use serde::Serialize;

use crate::coordinator::{Coordinator, Terms};
use crate::error::{Class, Failure, Outcome};
use crate::session::Session;
use crate::show::{dash, short_time};

/// Arguments of `agent token`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    create: Create,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Create {
    /// The host that it enrols; any host, once, if none is named
    #[arg(long, value_name = "HOST")]
    host: Option<HostName>,
    /// A label that the host will have; may be given several times
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// How long it may be used; an hour if not given, 30 days at most
    #[arg(long, value_name = "TIME", value_parser = period)]
    valid_for: Option<Period>,
    /// The host gets no task and no plan before somebody gives `drctl agent approve`
    #[arg(long)]
    needs_approval: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List tokens: open, used, expired
    List,
    /// Make a token useless
    Withdraw {
        /// Its id
        id: String,
    },
}

#[derive(Serialize)]
struct Tokens {
    tokens: Vec<Token>,
}

#[derive(Serialize)]
struct Withdrawn {
    withdrawn: String,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("NAME=VALUE is expected".to_owned()),
    }
}

pub(super) async fn run(session: &Session, coordinator: &Coordinator, arguments: Arguments) -> Outcome {
    match arguments.command {
        None => create(session, coordinator, arguments.create).await,
        Some(Command::List) => {
            let tokens = coordinator.tokens().await?;
            if session.ui.is_json() {
                session.answer(&Tokens { tokens })?;
            } else if tokens.is_empty() {
                session
                    .ui
                    .say("No tokens: `drctl agent token --host HOST` makes one");
            } else {
                list(&session.ui, &tokens, (session.now)())?;
            }
            Ok(Code::Done)
        }
        Some(Command::Withdraw { id }) => {
            coordinator.withdraw_token(id.clone()).await?;
            if session.ui.is_json() {
                session.answer(&Withdrawn { withdrawn: id })?;
            } else {
                session.ui.data(&format!("token {id} is withdrawn"))?;
            }
            Ok(Code::Done)
        }
    }
}

/// The labels by name: of two values of one label neither can be guessed to be the right one.
fn distinct(given: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Failure> {
    let mut labels = BTreeMap::new();
    for (name, value) in given {
        match labels.entry(name) {
            Entry::Vacant(free) => free.insert(value),
            Entry::Occupied(taken) => {
                let twice = format!("the label `{}` is given twice", taken.key());
                return Err(Failure::new(Class::Usage, twice));
            }
        };
    }
    Ok(labels)
}

async fn create(session: &Session, coordinator: &Coordinator, create: Create) -> Outcome {
    let labels = distinct(create.labels)?;
    let host = create.host.map(|host| host.to_string());
    let terms = Terms {
        valid_for: create.valid_for.map(|period| period.0),
        needs_approval: create.needs_approval,
    };
    let token = coordinator.create_token(host, labels, terms).await?;
    if session.ui.is_json() {
        session.answer(&token)?;
        return Ok(Code::Done);
    }
    hand_over(&session.ui, &token)?;
    Ok(Code::Done)
}

/// The text alone on stdout, so that it can be piped into a file.
pub(super) fn hand_over(ui: &Ui, token: &Token) -> std::io::Result<()> {
    ui.data(token.text.as_deref().unwrap_or_default())?;
    ui.say(&format!(
        "Token {} enrols {} once, until {}; it is not shown again. On the host: `dr-agent enroll --token-file FILE`",
        token.id,
        token.host.as_deref().unwrap_or("any host"),
        short_time(token.expires)
    ));
    if token.needs_approval {
        ui.say("It then waits for `drctl agent approve HOST`");
    }
    Ok(())
}

fn list(ui: &Ui, tokens: &[Token], now: jiff::Timestamp) -> std::io::Result<()> {
    let mut table = Table::new(&[
        "token", "host", "state", "expires", "used by", "made by", "labels",
    ]);
    for token in tokens {
        let state = match token.used {
            Some(_) => "used",
            None if token.expires <= now => "expired",
            None if token.needs_approval => "open, to be approved",
            None => "open",
        };
        let labels: Vec<String> = token
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        table.row([
            token.id.clone(),
            token.host.clone().unwrap_or_else(|| "any".to_owned()),
            state.to_owned(),
            short_time(token.expires),
            dash(token.used_by.clone()),
            token.created_by.clone(),
            labels.join(","),
        ]);
    }
    table.print(ui)
}
