//! What types alone cannot say: all problems of a configuration at once, each with its key and what to do.

use std::collections::BTreeSet;
use std::path::Path;

use dr_proto::tls::Address;

use super::error::Problem;
use super::model::{Config, Credentials, Repository};
use super::source::{Source, SourceKind, is_glob};

/// Schemes that a repository's URL may have.
const SCHEMES: [&str; 2] = ["s3://", "file:///"];

/// Collects problems under keys.
#[derive(Default)]
struct Findings(Vec<Problem>);

impl Findings {
    fn add(&mut self, key: impl Into<String>, reason: impl Into<String>, hint: &str) {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        self.0.push(Problem {
            line: None,
            key: key.into(),
            reason: reason.into(),
            hint,
        });
    }
}

/// Everything that cannot hold.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let mut findings = Findings::default();
    agent(config, &mut findings);
    if let Some(repository) = &config.repository {
        check_repository(repository, &mut findings);
    }
    coordinator(config, &mut findings);
    telemetry(config, &mut findings);
    let mut names = BTreeSet::new();
    for (index, source) in config.sources.iter().enumerate() {
        if !names.insert(source.name.as_str()) {
            findings.add(
                format!("source[{index}].name"),
                format!("two sources are called `{}`", source.name),
                "give each source a name of its own; histories and drills go by it",
            );
        }
        check_source(index, source, &mut findings);
    }
    limits(config, &mut findings);
    hooks(config, &mut findings);
    findings.0
}

fn agent(config: &Config, findings: &mut Findings) {
    let host = &config.agent.host;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || host.len() > 253 || !host.chars().all(plain) || host.starts_with(['.', '-']) {
        findings.add(
            "agent.host",
            format!("`{host}` is not a host name"),
            "use letters, digits, `.`, `-` and `_`, at most 253; it becomes part of paths in the repository",
        );
    }
    for (key, path) in [
        ("agent.state_dir", Some(config.agent.state_dir.as_path())),
        ("agent.suspend_file", Some(config.agent.suspend_file.as_path())),
        ("agent.scratch.path", config.agent.scratch.path.as_deref()),
        ("agent.probes", config.agent.probes.as_deref()),
    ] {
        if let Some(path) = path {
            absolute(key, path, findings);
        }
    }
}

fn absolute(key: &str, path: &Path, findings: &mut Findings) {
    if !path.is_absolute() {
        findings.add(
            key,
            format!("`{}` is not an absolute path", path.display()),
            "write it from `/`: the agent may start in any folder",
        );
    }
}

fn check_repository(repository: &Repository, findings: &mut Findings) {
    let url = &repository.url;
    if url.is_empty() {
        findings.add(
            "repository.url",
            "is not set",
            "for example `s3://bucket/prefix` or `file:///dir`",
        );
    } else if !SCHEMES.iter().any(|scheme| url.starts_with(scheme)) {
        findings.add(
            "repository.url",
            format!("`{url}` is not a repository"),
            "use `s3://bucket/prefix` or `file:///absolute/dir`",
        );
    }
    if repository.key_file.is_some() && repository.key_command.is_some() {
        findings.add(
            "repository.key_command",
            "key_file is set too",
            "keep one of the two",
        );
    }
    if repository.key_command.as_ref().is_some_and(Vec::is_empty) {
        findings.add(
            "repository.key_command",
            "is empty",
            "name a program and its arguments",
        );
    }
    for (index, recipient) in repository.recovery_recipients.iter().enumerate() {
        let Err(reason) = recipient.parse::<age::x25519::Recipient>() else {
            continue;
        };
        let key = format!("repository.recovery_recipients[{index}]");
        if recipient.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
            findings.add(
                key,
                "\"...\" is a private key",
                "take it off this host and write its public `age1…` half here",
            );
        } else {
            findings.add(
                key,
                format!("`{recipient}` is not an age recipient: {reason}"),
                "an age recipient looks like `age1…`; `age-keygen` prints one",
            );
        }
    }
    s3(repository, findings);
}

fn s3(repository: &Repository, findings: &mut Findings) {
    if let Some(endpoint) = &repository.s3.endpoint
        && !(endpoint.starts_with("https://") || endpoint.starts_with("http://"))
    {
        findings.add(
            "repository.s3.endpoint",
            format!("`{endpoint}` is not a URL"),
            "start it with `https://`, or `http://` for a store on a trusted wire",
        );
    }
    if let Credentials::Static(keys) = &repository.s3.credentials {
        absolute(
            "repository.s3.credentials.static.secret_key_file",
            &keys.secret_key_file,
            findings,
        );
    }
    // A lock that is asked for and not set would be a promise broken in silence.
    for (key, set) in [
        ("repository.s3.lock", repository.s3.lock.is_some()),
        ("repository.s3.lock_for", repository.s3.lock_for.is_some()),
    ] {
        if set {
            findings.add(
                key,
                "this version sets no object locks itself",
                "give the bucket a default retention, which locks every object written, and leave this out",
            );
        }
    }
}

fn coordinator(config: &Config, findings: &mut Findings) {
    let Some(coordinator) = &config.coordinator else {
        return;
    };
    if coordinator.endpoints.is_empty() {
        findings.add(
            "coordinator.endpoints",
            "is empty",
            "name at least one `https://host:port`",
        );
    }
    for (index, endpoint) in coordinator.endpoints.iter().enumerate() {
        let valid = endpoint.parse::<Address>().is_ok();
        if !valid {
            findings.add(
                format!("coordinator.endpoints[{index}]"),
                format!("`{endpoint}` is not an https URL"),
                "the wire is always TLS: `https://host:7443`",
            );
        }
    }
    for (key, path) in [
        ("coordinator.tls.certificate", &coordinator.tls.certificate),
        ("coordinator.tls.private_key", &coordinator.tls.private_key),
        ("coordinator.tls.trust_bundle", &coordinator.tls.trust_bundle),
    ] {
        absolute(key, path, findings);
    }
}

fn telemetry(config: &Config, findings: &mut Findings) {
    let Some(telemetry) = &config.telemetry else {
        return;
    };
    let valid = url::Url::parse(&telemetry.otlp)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
    if !valid {
        findings.add(
            "telemetry.otlp",
            format!("`{}` is not a URL", telemetry.otlp),
            "name the collector's gRPC port: `http://otel:4317`",
        );
    }
    for (key, share) in [
        ("telemetry.sample", telemetry.sample),
        ("telemetry.sample_failed", telemetry.sample_failed),
    ] {
        if !(0.0..=1.0).contains(&share) {
            findings.add(key, format!("{share} is no share"), "give 0 to 1");
        }
    }
}

fn check_source(index: usize, source: &Source, findings: &mut Findings) {
    let key = |name: &str| format!("source[{index}].{name}");
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if source.name.is_empty() || !source.name.chars().all(plain) || source.name.starts_with(['.', '-']) {
        findings.add(
            key("name"),
            format!("`{}` is not a name", source.name),
            "use letters, digits, `.`, `-` and `_`; `/` joins it with the part that a glob matched",
        );
    }
    absolute(&key("path"), Path::new(&source.path), findings);
    if is_glob(&source.path)
        && let Err(error) = glob::Pattern::new(&source.path)
    {
        findings.add(
            key("path"),
            format!("`{}` is not a glob: {}", source.path, error.msg),
            "",
        );
    }
    if source.pin.as_ref().is_some_and(Vec::is_empty) {
        findings.add(
            key("pin"),
            "is empty",
            "leave it out for `reflink`, `descriptor`, `copy` in that order",
        );
    }
    let foreign: &[(&str, bool)] = match source.kind {
        SourceKind::Lancedb => &[
            ("rotated", source.rotated.is_some()),
            ("chain", source.chain.is_some()),
            ("keep_for", source.keep_for.is_some()),
            ("format", source.format.is_some()),
            ("time_field", source.time_field.is_some()),
        ],
        SourceKind::AuditLog => &[
            ("history", source.history.is_some()),
            ("pin", source.pin.is_some()),
        ],
    };
    for (name, _) in foreign.iter().filter(|(_, set)| *set) {
        let kind = source.kind.as_str();
        findings.add(
            key(name),
            format!("means nothing for a source of kind `{kind}`"),
            "remove it",
        );
    }
    if let Some(rotated) = &source.rotated
        && rotated.contains('/')
    {
        findings.add(
            key("rotated"),
            format!("`{rotated}` holds a `/`"),
            "it is a file-name glob: rotated segments lie beside the log",
        );
    }
}

fn limits(config: &Config, findings: &mut Findings) {
    let limits = &config.limits;
    const LEAST: u64 = 128 << 20;
    if limits.memory.0 < LEAST {
        findings.add(
            "limits.memory",
            format!("`{}` is too little", limits.memory),
            "give it at least `128 MiB`",
        );
    }
    if !limits.cpu.is_finite() || limits.cpu <= 0.0 {
        findings.add(
            "limits.cpu",
            format!("`{}` is not a number of cores", limits.cpu),
            "for example `1.0`",
        );
    }
    if limits.pins.max_age.0.is_zero() {
        findings.add(
            "limits.pins.max_age",
            "is zero: no cut could hold a pin",
            "for example `2h`",
        );
    }
    if let Some(hook) = &limits.busy_hook
        && !config.hooks.contains_key(hook)
    {
        findings.add(
            "limits.busy_hook",
            format!("there is no `hook.{hook}`"),
            "define it under [hook]",
        );
    }
}

fn hooks(config: &Config, findings: &mut Findings) {
    for (name, hook) in &config.hooks {
        match hook.command.first() {
            None => findings.add(
                format!("hook.{name}.command"),
                "is empty",
                "name a program and its arguments",
            ),
            Some(program) if !Path::new(program).is_absolute() => findings.add(
                format!("hook.{name}.command"),
                format!("`{program}` is not an absolute path"),
                "write it from `/`: what a search path finds can change",
            ),
            Some(_) => {}
        }
        if hook.timeout.0.is_zero() {
            findings.add(format!("hook.{name}.timeout"), "is zero", "for example `60s`");
        }
    }
    for (index, name) in config.allow.hooks.iter().enumerate() {
        if !config.hooks.contains_key(name) {
            let key = format!("allow.hooks[{index}]");
            findings.add(
                key,
                format!("there is no `hook.{name}`"),
                "define it under [hook]",
            );
        }
    }
    for (index, path) in config.agent.discover.iter().enumerate() {
        absolute(&format!("agent.discover[{index}]"), path, findings);
    }
    for (index, path) in config.allow.restore_into.iter().enumerate() {
        absolute(&format!("allow.restore_into[{index}]"), path, findings);
    }
}
