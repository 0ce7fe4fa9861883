//! `dr-coordinator pki`: the fleet's own certificate authority on the command line. It works on files alone, beside a
//! running coordinator or without one.

mod init;
mod issue;
mod rotate;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use dr_proto::model::Role;
use dr_proto::tls::{Files, Fresh, Secrecy, write};
use dr_terminal::Ui;
use jiff::Timestamp;
use serde::Serialize;

use crate::error::{Class, Doing, Failure, Outcome};
use crate::pki::Issued;

/// Arguments of `pki`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The authority's folder; its owner alone may look into it
    #[arg(long, global = true, value_name = "DIR", default_value = "/etc/drctl/pki")]
    dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the authority, the coordinator's certificate and the first operator's
    Init(init::Arguments),
    /// Issue a certificate: for a new key, or for a signing request
    Issue(issue::Arguments),
    /// Replace the authority's root in three steps, while everybody keeps working
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Rotate(rotate::Arguments),
    /// Show the roots and where a rotation stands
    Status,
}

pub(super) async fn run(ui: &Ui, arguments: Arguments) -> Outcome {
    let ui = ui.clone();
    let work = move || {
        let now = dr_store::Clock::now(&dr_store::SystemClock);
        let dir = &arguments.dir;
        match &arguments.command {
            Command::Init(arguments) => init::run(&ui, dir, arguments, now),
            Command::Issue(arguments) => issue::run(&ui, dir, arguments, now),
            Command::Rotate(arguments) => rotate::run(&ui, dir, arguments, now),
            Command::Status => rotate::status(&ui, dir, now),
        }
    };
    // Files and locks: not for the threads that talk.
    tokio::task::spawn_blocking(work)
        .await
        .doing(|| "work on the authority".to_owned())?
}

/// What was written for somebody.
#[derive(Debug, Serialize)]
struct Written {
    identity: String,
    serial: String,
    not_after: Timestamp,
    certificate: PathBuf,
    private_key: Option<PathBuf>,
    trust_bundle: PathBuf,
}

impl Written {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("{} until {}", self.identity, self.not_after),
            format!("  certificate   {}", self.certificate.display()),
        ];
        if let Some(key) = &self.private_key {
            lines.push(format!("  private key   {}", key.display()));
        }
        lines.push(format!("  trust bundle  {}", self.trust_bundle.display()));
        lines
    }
}

/// Where the files of somebody go: named for the role if there is one of it, else for the name.
fn files_of(role: Role, name: &str, out: &Path) -> Files {
    let stem = if role == Role::Coordinator {
        "coordinator"
    } else {
        name
    };
    Files {
        certificate: out.join(format!("{stem}.pem")),
        private_key: out.join(format!("{stem}.key")),
        trust_bundle: out.join("ca.pem"),
    }
}

/// Refuses to write over what somebody may be using.
fn refuse_existing(files: &Files, with_key: bool) -> Result<(), Failure> {
    let key = with_key.then_some(&files.private_key);
    for path in [&files.certificate].into_iter().chain(key) {
        let there = path
            .try_exists()
            .doing(|| format!("look for {}", path.display()))?;
        if there {
            let message = format!("{} is there already", path.display());
            return Err(
                Failure::new(Class::Exists, message).hint("move it away, or name another folder with --out")
            );
        }
    }
    Ok(())
}

fn make_folder(out: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(out).doing(|| format!("make the folder {}", out.display()))
}

/// Writes what was issued; without a key if the asker has it.
fn write_issued(issued: &Issued, key: Option<&str>, files: &Files) -> Result<Written, Failure> {
    match key {
        Some(key) => files.install(&Fresh {
            private_key: key,
            certificate: &issued.certificate_pem,
            trust_bundle: &issued.trust_bundle_pem,
        })?,
        None => {
            write(
                &files.trust_bundle,
                issued.trust_bundle_pem.as_bytes(),
                Secrecy::Public,
            )?;
            write(
                &files.certificate,
                issued.certificate_pem.as_bytes(),
                Secrecy::Public,
            )?;
        }
    }
    Ok(Written {
        identity: issued.identity.to_string(),
        serial: issued.serial.to_string(),
        not_after: issued.not_after,
        certificate: files.certificate.clone(),
        private_key: key.map(|_| files.private_key.clone()),
        trust_bundle: files.trust_bundle.clone(),
    })
}
