//! `dr-coordinator pki issue`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use dr_proto::model::exit::Code;
use dr_proto::model::units::Period;
use dr_proto::model::{HostName, Identity, Role};
use dr_terminal::Ui;
use dr_terminal::arguments::period;
use jiff::Timestamp;

use super::{Written, files_of, make_folder, refuse_existing, write_issued};
use crate::error::{Class, Doing, Failure, Outcome};
use crate::pki::{Authority, Names, Request};

/// Arguments of `pki issue`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What the holder may be: operator, viewer, agent or coordinator
    #[arg(long)]
    role: Role,
    /// The holder's name; an agent's is its host's
    #[arg(long)]
    name: HostName,
    /// Where NAME.pem, NAME.key and ca.pem go
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How long it is valid: 90d for people and coordinators, 7d for agents if it is left out
    #[arg(long, value_name = "TIME", value_parser = period)]
    valid: Option<Period>,
    /// A signing request (PKCS #10, PEM) of a holder whose key stays with them: only the public key is taken from it
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,
    /// A DNS name to put into a coordinator's certificate; may be given several times
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// An address to put into it
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<IpAddr>,
}

impl Arguments {
    fn valid(&self) -> Period {
        const DAY: u64 = 86_400;
        let days = if self.role == Role::Agent { 7 } else { 90 };
        self.valid
            .unwrap_or(Period(std::time::Duration::from_secs(days * DAY)))
    }
}

pub(super) fn run(ui: &Ui, dir: &Path, arguments: &Arguments, now: Timestamp) -> Outcome {
    if arguments.role != Role::Coordinator && !(arguments.dns.is_empty() && arguments.ip.is_empty()) {
        let message = "--dns and --ip are for coordinators: nobody else is dialled";
        return Err(Failure::new(Class::Usage, message));
    }
    let written = issue(dir, arguments, now)?;
    if ui.is_json() {
        ui.json(&written)?;
    } else {
        ui.data(&written.lines().join("\n"))?;
    }
    Ok(Code::Done)
}

fn issue(dir: &Path, arguments: &Arguments, now: Timestamp) -> Result<Written, Failure> {
    let authority = Authority::open(dir)?;
    let files = files_of(arguments.role, arguments.name.as_str(), &arguments.out);
    refuse_existing(&files, arguments.csr.is_none())?;
    let identity = Identity {
        domain: authority.domain().clone(),
        role: arguments.role,
        name: arguments.name.clone(),
    };
    let names = Names {
        dns: arguments.dns.clone(),
        ip: arguments.ip.clone(),
    };
    let lifetime = arguments.valid().0;
    make_folder(&arguments.out)?;
    let Some(csr) = &arguments.csr else {
        let (issued, key) = authority.issue_with_key(&identity, &names, lifetime, now)?;
        return write_issued(&issued, Some(&key), &files);
    };
    let text =
        std::fs::read_to_string(csr).doing(|| format!("read the signing request {}", csr.display()))?;
    let request = Request::parse(&text).doing(|| format!("use the signing request {}", csr.display()))?;
    let issued = authority.issue(&request, &identity, &names, lifetime, now)?;
    write_issued(&issued, None, &files)
}
