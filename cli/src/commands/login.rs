//! `drctl login`: makes a context, once it is known to work.

use std::path::PathBuf;

use clap::Args;
use dr_proto::model::exit::Code;
use dr_proto::tls::{Address, Files};
use serde::Serialize;

use crate::contexts::{Context, Contexts, Resolved};
use crate::coordinator::Coordinator;
use crate::error::{Class, Doing, Failure, Outcome};
use crate::session::Session;

/// Arguments of `login`. Endpoint and files are the global options.
#[derive(Debug, Args)]
#[command(
    after_help = "Give --endpoint, --certificate, --private-key and --trust-bundle. Nothing is saved unless the \
                        coordinator answers, or --offline is given.",
    after_long_help = "Give --endpoint, --certificate, --private-key and --trust-bundle. Nothing is saved unless the \
                        coordinator answers, or --offline is given.\n\nExample:\n  \
                        drctl login prod --endpoint https://dr.example.net:7443 --certificate ana.pem \\\n      \
                        --private-key ana.key --trust-bundle ca.pem"
)]
pub(crate) struct Arguments {
    /// The context's name; one of that name is replaced
    #[arg(default_value = "default")]
    name: String,
    /// Do not ask the coordinator whether it works
    #[arg(long)]
    offline: bool,
}

#[derive(Serialize)]
struct LoggedIn<'a> {
    context: &'a str,
    identity: String,
    certificate_expires: jiff::Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    coordinator: Option<String>,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    let path = session.config()?;
    let mut contexts = Contexts::load(&path)?;
    let context = context(session)?;
    let resolved = resolved(&context)?;
    let certificate = Coordinator::identify(&resolved)?;
    let coordinator = if arguments.offline {
        None
    } else {
        let asked = async {
            let coordinator = Coordinator::connect(&resolved, session.timeout).await?;
            Ok(coordinator.status().await?)
        };
        let status = session
            .until_interrupted(asked)
            .await
            .doing(|| "try the new context; nothing was saved".to_owned())
            .map_err(|failure| failure.hint("--offline saves it without asking"))?;
        Some(status.version)
    };
    contexts.context.insert(arguments.name.clone(), context);
    contexts.current = Some(arguments.name.clone());
    contexts.save(&path)?;
    if session.ui.is_json() {
        session.answer(&LoggedIn {
            context: &arguments.name,
            identity: certificate.identity.to_string(),
            certificate_expires: certificate.not_after,
            coordinator,
        })?;
        return Ok(Code::Done);
    }
    session.ui.data(&format!(
        "context `{}` is {} and the current one",
        arguments.name, certificate.identity
    ))?;
    if let Some(version) = coordinator {
        session.ui.data(&format!("coordinator {version} answers"))?;
    }
    Ok(Code::Done)
}

/// All of it must be given: what a former context said does not carry over.
fn context(session: &Session) -> Result<Context, Failure> {
    let wanted = &session.wanted;
    let missing = |flag: &str| {
        Failure::new(Class::Usage, format!("{flag} is missing"))
            .hint("a context needs --endpoint, --certificate, --private-key and --trust-bundle")
    };
    let file = |path: &Option<PathBuf>, flag: &str| {
        let path = path.as_ref().ok_or_else(|| missing(flag))?;
        std::path::absolute(path).doing(|| format!("find {}", path.display()))
    };
    if wanted.endpoints.is_empty() {
        return Err(missing("--endpoint"));
    }
    Ok(Context {
        endpoints: wanted.endpoints.clone(),
        certificate: file(&wanted.certificate, "--certificate")?,
        private_key: file(&wanted.private_key, "--private-key")?,
        trust_bundle: file(&wanted.trust_bundle, "--trust-bundle")?,
    })
}

fn resolved(context: &Context) -> Result<Resolved, Failure> {
    let endpoints: Result<Vec<Address>, _> = context.endpoints.iter().map(|text| text.parse()).collect();
    let endpoints = endpoints.map_err(|error: dr_proto::tls::ParseAddressError| {
        Failure::new(Class::Usage, format!("--endpoint: {error}"))
    })?;
    Ok(Resolved {
        context: None,
        endpoints,
        files: Files {
            certificate: context.certificate.clone(),
            private_key: context.private_key.clone(),
            trust_bundle: context.trust_bundle.clone(),
        },
    })
}
