//! `drctl context …`.

use clap::{Args, Subcommand};
use dr_proto::model::exit::Code;
use dr_terminal::Table;
use serde::Serialize;

use crate::contexts::{Context, Contexts};
use crate::error::{Class, Failure, Outcome};
use crate::session::Session;

/// Arguments of `context`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List contexts; the current one is marked
    List,
    /// Show a context; the current one if none is named
    Show {
        /// Its name
        name: Option<String>,
    },
    /// Make a context the current one
    Use {
        /// Its name
        name: String,
    },
    /// Forget a context; certificate and key stay
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Serialize)]
struct Listed<'a> {
    current: Option<&'a str>,
    contexts: Vec<Named<'a>>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    #[serde(flatten)]
    context: &'a Context,
}

#[derive(Serialize)]
struct Current<'a> {
    current: Option<&'a str>,
}

pub(super) fn run(session: &Session, arguments: Arguments) -> Outcome {
    let path = session.config()?;
    let mut contexts = Contexts::load(&path)?;
    match arguments.command {
        Command::List => list(session, &contexts)?,
        Command::Show { name } => {
            let name = name
                .or_else(|| session.wanted.context.clone())
                .or(contexts.current.clone());
            let name = name.ok_or_else(|| {
                Failure::new(Class::NotFound, "no context is the current one")
                    .hint("`drctl context list` shows them, `drctl context use NAME` chooses one")
            })?;
            let context = contexts.get(&name, &path)?;
            show(session, &Named { name: &name, context })?;
        }
        Command::Use { name } => {
            contexts.get(&name, &path)?;
            contexts.current = Some(name);
            contexts.save(&path)?;
            changed(session, &contexts)?;
        }
        Command::Remove { name } => {
            contexts.get(&name, &path)?;
            contexts.context.remove(&name);
            contexts.current = contexts.current.take().filter(|current| *current != name);
            contexts.save(&path)?;
            changed(session, &contexts)?;
        }
    }
    Ok(Code::Done)
}

fn list(session: &Session, contexts: &Contexts) -> std::io::Result<()> {
    let current = contexts.current.as_deref();
    if session.ui.is_json() {
        let named = contexts
            .context
            .iter()
            .map(|(name, context)| Named { name, context });
        return session.answer(&Listed {
            current,
            contexts: named.collect(),
        });
    }
    if contexts.context.is_empty() {
        session
            .ui
            .say("No contexts: `drctl login NAME --endpoint URL …` makes one");
        return Ok(());
    }
    let mut table = Table::new(&["", "context", "endpoints", "certificate"]);
    for (name, context) in &contexts.context {
        let mark = if current == Some(name) { "*" } else { "" };
        table.row([
            mark.to_owned(),
            name.clone(),
            context.endpoints.join(", "),
            context.certificate.display().to_string(),
        ]);
    }
    table.print(&session.ui)
}

fn show(session: &Session, named: &Named<'_>) -> std::io::Result<()> {
    let ui = &session.ui;
    if ui.is_json() {
        return session.answer(named);
    }
    let context = named.context;
    ui.data(&format!("context       {}", named.name))?;
    ui.data(&format!("endpoints     {}", context.endpoints.join(", ")))?;
    ui.data(&format!("certificate   {}", context.certificate.display()))?;
    ui.data(&format!("private key   {}", context.private_key.display()))?;
    ui.data(&format!("trust bundle  {}", context.trust_bundle.display()))
}

fn changed(session: &Session, contexts: &Contexts) -> std::io::Result<()> {
    let current = contexts.current.as_deref();
    if session.ui.is_json() {
        return session.answer(&Current { current });
    }
    session.ui.data(&match current {
        Some(name) => format!("the current context is `{name}`"),
        None => "no context is the current one".to_owned(),
    })
}
