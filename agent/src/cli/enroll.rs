//! `dr-agent enroll`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use dr_proto::model::{EnrolmentToken, HostName};
use dr_proto::tls::{Files, SystemTime};
use jiff::Timestamp;
use serde::Serialize;

use crate::daemon::identity::{Enrolled, Enrolment, enroll};
use crate::error::{Class, Doing, Failure, Outcome};
use crate::exit::Code;
use crate::session::Session;

/// Where certificates go when agent.toml does not say.
const DEFAULT_DIR: &str = "/etc/drctl/tls";
/// More than any token has.
const LONGEST: u64 = 64 << 10;

/// Arguments of `enroll`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The token that `drctl agent token` printed. Others on this host can see it while the command runs: prefer
    /// --token-file
    #[arg(long, value_name = "TEXT", required_unless_present = "token_file")]
    token: Option<String>,
    /// A file with the token; - is the standard input
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// The name that the host will have; that of agent.toml if it is left out
    #[arg(long, value_name = "HOST")]
    host: Option<HostName>,
    /// Put the new certificate in the place of the one that is there
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    identity: String,
    not_after: Timestamp,
    endpoint: String,
    certificate: PathBuf,
    private_key: PathBuf,
    trust_bundle: PathBuf,
    /// What agent.toml must say, if it does not yet.
    configuration: Option<String>,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    let token = token(&arguments)?;
    let host = host(session, &arguments)?;
    let files = files(session);
    let endpoints = token.endpoints.clone();
    let enrolment = Enrolment {
        token,
        host,
        files: files.clone(),
        replace: arguments.replace,
    };
    let asking = async {
        let enrolled = enroll(enrolment, Arc::new(SystemTime), session.clock.now()).await;
        enrolled.doing(|| "enrol this host".to_owned())
    };
    let enrolled = session.until_stopped(asking).await?;
    let configuration = session
        .config
        .coordinator
        .is_none()
        .then(|| section(&endpoints, &files));
    report(session, enrolled, files, configuration)
}

fn token(arguments: &Arguments) -> Result<EnrolmentToken, Failure> {
    let text = match (&arguments.token, &arguments.token_file) {
        (Some(token), _) => token.clone(),
        (None, Some(path)) => read(path).doing(|| format!("read the token in {}", path.display()))?,
        (None, None) => return Err(Failure::new(Class::Usage, "no token was given")),
    };
    text.parse()
        .map_err(|error: dr_proto::model::ParseTokenError| Failure::new(Class::Usage, error.to_string()))
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(LONGEST).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(path)?
            .take(LONGEST)
            .read_to_string(&mut text)?;
    }
    Ok(text)
}

fn host(session: &Session, arguments: &Arguments) -> Result<HostName, Failure> {
    let configured = &session.config.agent.host;
    let Some(host) = &arguments.host else {
        return Ok(configured.parse()?);
    };
    // A certificate that the daemon would refuse is of no use.
    if session.config.coordinator.is_some() && host.as_str() != configured {
        let message = format!("--host is {host}, and `[agent].host` of the configuration is {configured}");
        return Err(
            Failure::new(Class::Usage, message).hint("make them one: the daemon speaks for `[agent].host`")
        );
    }
    Ok(host.clone())
}

fn files(session: &Session) -> Files {
    match &session.config.coordinator {
        Some(coordinator) => Files {
            certificate: coordinator.tls.certificate.clone(),
            private_key: coordinator.tls.private_key.clone(),
            trust_bundle: coordinator.tls.trust_bundle.clone(),
        },
        None => {
            let at = |name: &str| Path::new(DEFAULT_DIR).join(name);
            Files {
                certificate: at("agent.pem"),
                private_key: at("agent.key"),
                trust_bundle: at("ca.pem"),
            }
        }
    }
}

/// The section of agent.toml that names what is there now.
fn section(endpoints: &[String], files: &Files) -> String {
    format!(
        "[coordinator]\nendpoints = {endpoints:?}\ntls = {{ certificate = {:?}, private_key = {:?}, trust_bundle = {:?} }}\n",
        files.certificate, files.private_key, files.trust_bundle
    )
}

fn report(session: &Session, enrolled: Enrolled, files: Files, configuration: Option<String>) -> Outcome {
    let ui = &session.ui;
    if ui.is_json() {
        ui.json(&Report {
            identity: enrolled.identity.to_string(),
            not_after: enrolled.not_after,
            endpoint: enrolled.endpoint,
            certificate: files.certificate,
            private_key: files.private_key,
            trust_bundle: files.trust_bundle,
            configuration,
        })?;
        return Ok(Code::Done);
    }
    ui.data(&format!(
        "This host is {}, by {}.",
        enrolled.identity, enrolled.endpoint
    ))?;
    ui.data(&format!(
        "Its certificate {} is valid until {}; the daemon renews it.",
        files.certificate.display(),
        enrolled.not_after
    ))?;
    if let Some(section) = configuration {
        ui.data(&format!("Add to agent.toml:\n\n{section}"))?;
    }
    Ok(Code::Done)
}
