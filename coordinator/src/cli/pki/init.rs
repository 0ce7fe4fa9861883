//! `dr-coordinator pki init`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use dr_proto::model::exit::Code;
use dr_proto::model::units::Period;
use dr_proto::model::{Domain, HostName, Identity, Role};
use dr_terminal::Ui;
use dr_terminal::arguments::period;
use jiff::Timestamp;
use serde::Serialize;

use super::{Written, files_of, make_folder, refuse_existing, write_issued};
use crate::error::{Class, Failure, Outcome};
use crate::pki::{Authority, Names};

/// Arguments of `pki init`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The trust domain: names the fleet in every certificate (spiffe://DOMAIN/…), and can not be changed later
    #[arg(long)]
    domain: Domain,
    /// Where the certificates go; beside the authority if it is left out
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The coordinator's name; this host's if it is left out
    #[arg(long, value_name = "NAME")]
    coordinator: Option<HostName>,
    /// A DNS name to put into the coordinator's certificate, for tools that compare it; may be given several times
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// An address to put into it
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<IpAddr>,
    /// The first operator's name
    #[arg(long, value_name = "NAME", default_value = "admin")]
    operator: HostName,
    /// How long both certificates are valid. A running coordinator renews its own
    #[arg(long, value_name = "TIME", value_parser = period, default_value = "90d")]
    valid: Period,
}

#[derive(Debug, Serialize)]
struct Made {
    domain: String,
    authority: PathBuf,
    root_fingerprint: String,
    coordinator: Written,
    operator: Written,
}

pub(super) fn run(ui: &Ui, dir: &Path, arguments: &Arguments, now: Timestamp) -> Outcome {
    let out = arguments.out.as_deref().unwrap_or(dir);
    let coordinator = match &arguments.coordinator {
        Some(name) => name.clone(),
        None => own_name()?,
    };
    let wanted = [
        (Role::Coordinator, coordinator),
        (Role::Operator, arguments.operator.clone()),
    ];
    for (role, name) in &wanted {
        refuse_existing(&files_of(*role, name.as_str(), out), true)?;
    }
    make_folder(out)?;
    let authority = Authority::create(dir, arguments.domain.clone(), now)?;
    let [coordinator, operator] =
        wanted.map(|(role, name)| issue(&authority, arguments, role, name, out, now));
    let fingerprints: Vec<String> = authority
        .fingerprints()?
        .iter()
        .map(ToString::to_string)
        .collect();
    let made = Made {
        domain: arguments.domain.to_string(),
        authority: dir.to_owned(),
        root_fingerprint: fingerprints.join(", "),
        coordinator: coordinator?,
        operator: operator?,
    };
    report(ui, &made)
}

fn issue(
    authority: &Authority,
    arguments: &Arguments,
    role: Role,
    name: HostName,
    out: &Path,
    now: Timestamp,
) -> Result<Written, Failure> {
    let names = match role {
        Role::Coordinator => Names {
            dns: arguments.dns.clone(),
            ip: arguments.ip.clone(),
        },
        _ => Names::default(),
    };
    let files = files_of(role, name.as_str(), out);
    let identity = Identity {
        domain: arguments.domain.clone(),
        role,
        name,
    };
    let (issued, key) = authority.issue_with_key(&identity, &names, arguments.valid.0, now)?;
    write_issued(&issued, Some(&key), &files)
}

fn own_name() -> Result<HostName, Failure> {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    name.parse().map_err(|_| {
        Failure::new(
            Class::Usage,
            format!("this host's name, `{name}`, is no name for a coordinator"),
        )
        .hint("give one with --coordinator NAME")
    })
}

fn report(ui: &Ui, made: &Made) -> Outcome {
    if ui.is_json() {
        ui.json(made)?;
        return Ok(Code::Done);
    }
    ui.data(&format!(
        "The authority of {} is in {}.",
        made.domain,
        made.authority.display()
    ))?;
    ui.data(&format!("SHA-256 of its root: {}", made.root_fingerprint))?;
    for written in [&made.coordinator, &made.operator] {
        ui.data(&written.lines().join("\n"))?;
    }
    ui.say(&format!(
        "Keep a copy of {} off this host, readable by you alone: without it nobody can be enrolled again.",
        made.authority.display()
    ));
    Ok(Code::Done)
}
