//! What types alone cannot say: all problems of a configuration at once, each with its key and what to do.

use std::path::Path;
use std::time::Duration;

use dr_proto::model::document::Problem;

use super::{Backup, Config};

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

    fn absolute(&mut self, key: &str, path: &Path) {
        if !path.is_absolute() {
            self.add(
                key,
                format!("`{}` is not an absolute path", path.display()),
                "write it from `/`: the coordinator may start in any folder",
            );
        }
    }
}

/// Everything that cannot hold.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let mut findings = Findings::default();
    paths(config, &mut findings);
    addresses(config, &mut findings);
    if let Some(backup) = &config.backup {
        check_backup(backup, &mut findings);
    }
    limits(config, &mut findings);
    agents(config, &mut findings);
    objectives(config, &mut findings);
    telemetry(config, &mut findings);
    findings.0
}

fn paths(config: &Config, findings: &mut Findings) {
    findings.absolute("tls.certificate", &config.tls.certificate);
    findings.absolute("tls.private_key", &config.tls.private_key);
    findings.absolute("tls.trust_bundle", &config.tls.trust_bundle);
    if let Some(file) = &config.inventory.file {
        findings.absolute("inventory.file", file);
    }
    if config.inventory.missing_after.0 < Duration::from_secs(60) {
        findings.add(
            "inventory.missing_after",
            format!("`{}` is too soon", config.inventory.missing_after),
            "use 1m or more; `24h` is usual: a host may well be away for a restart",
        );
    }
    if let Some(authority) = &config.authority {
        findings.absolute("authority.dir", &authority.dir);
        let life = authority.agent_certificates.0;
        if !(Duration::from_secs(300)..=Duration::from_secs(400 * 86_400)).contains(&life) {
            findings.add(
                "authority.agent_certificates",
                format!(
                    "`{}` is no lifetime for a certificate",
                    authority.agent_certificates
                ),
                "use 5m to 400d; `7d` is usual, agents renew theirs at two thirds of it",
            );
        }
    }
    match config.store.strip_prefix("sqlite://") {
        Some(path) if Path::new(path).is_absolute() => {}
        _ => findings.add(
            "store",
            format!("`{}` is not a store that this version knows", config.store),
            "use `sqlite:///absolute/path.db`",
        ),
    }
}

fn addresses(config: &Config, findings: &mut Findings) {
    for (index, url) in config.advertise.iter().enumerate() {
        let host = url.strip_prefix("https://").unwrap_or_default();
        if host.is_empty() || host.contains('/') {
            findings.add(
                format!("advertise[{index}]"),
                format!("`{url}` is not an endpoint"),
                "use `https://host:port`",
            );
        }
    }
    if let Some(metrics) = &config.metrics
        && metrics.listen == config.listen
        && metrics.listen.port() != 0
    {
        findings.add(
            "metrics.listen",
            format!("`{}` is where agents and operators dial in", metrics.listen),
            "give metrics a port of their own, such as 127.0.0.1:9630",
        );
    }
}

fn check_backup(backup: &Backup, findings: &mut Findings) {
    findings.absolute("backup.to", &backup.to);
    if backup.every.0 < Duration::from_secs(60) {
        findings.add(
            "backup.every",
            format!("`{}` is too often", backup.every),
            "use 1m or more; `1h` is usual",
        );
    }
    if backup.keep == 0 {
        findings.add(
            "backup.keep",
            "0 keeps no copy at all",
            "use 1 or more; 48 keeps two days of hourly copies",
        );
    }
    if backup.recipients.is_empty() {
        findings.add(
            "backup.recipients",
            "nobody could read a copy",
            "name at least one age public key whose private half lies elsewhere",
        );
    }
    for (index, recipient) in backup.recipients.iter().enumerate() {
        let key = format!("backup.recipients[{index}]");
        if recipient.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
            findings.add(
                key,
                "\"...\" is a private key",
                "take it off this host and write its public `age1…` half here",
            );
        } else if recipient.parse::<age::x25519::Recipient>().is_err() {
            findings.add(
                key,
                format!("`{recipient}` is not an age public key"),
                "use one that begins with `age1`",
            );
        }
    }
}

fn limits(config: &Config, findings: &mut Findings) {
    let limits = &config.limits;
    for (key, value) in [
        ("limits.tasks", limits.tasks),
        ("limits.per_host", limits.per_host),
    ] {
        if value == 0 {
            findings.add(
                key,
                "0 lets nothing start",
                "use 1 or more; to stop work for a while use `drctl suspend`",
            );
        }
    }
    for (label, cap) in &limits.per_label {
        if *cap == 0 {
            findings.add(
                format!("limits.per_label.{label}"),
                "0 lets nothing start",
                "use 1 or more; to stop work for a while use `drctl suspend --scope LABEL=VALUE`",
            );
        }
    }
}

fn agents(config: &Config, findings: &mut Findings) {
    let agents = &config.agents;
    if agents.heartbeat.0 < Duration::from_millis(100) {
        findings.add(
            "agents.heartbeat",
            format!("`{}` is too often", agents.heartbeat),
            "`15s` is usual",
        );
    }
    if agents.lost_after.0 < agents.heartbeat.0 * 2 {
        findings.add(
            "agents.lost_after",
            format!("`{}` is less than two heartbeats", agents.lost_after),
            "one late heartbeat must not lose a host: `90s` is usual",
        );
    }
}

fn objectives(config: &Config, findings: &mut Findings) {
    for (index, objective) in config.objectives.iter().enumerate() {
        let key = format!("objectives[{index}]");
        if objective.rpo.is_none() && objective.rto.is_none() && objective.proof.is_none() {
            findings.add(
                key,
                "nothing is asked",
                "set at least one of `rpo`, `rto` and `proof`",
            );
        } else if objective.proof_age.is_some() && objective.proof.is_none() {
            findings.add(
                format!("{key}.proof_age"),
                "no `proof` is asked whose age could be judged",
                "set `proof`, for example \"restored\"",
            );
        }
    }
}

fn telemetry(config: &Config, findings: &mut Findings) {
    let Some(telemetry) = &config.telemetry else {
        return;
    };
    if !telemetry.otlp.starts_with("http://") {
        findings.add(
            "telemetry.otlp",
            format!("`{}` is not an OTLP endpoint", telemetry.otlp),
            "use `http://host:4317`, OTLP over gRPC; a collector on this host may go on over TLS",
        );
    }
    for (key, share) in [
        ("telemetry.sample", telemetry.sample),
        ("telemetry.sample_failed", telemetry.sample_failed),
    ] {
        if !(0.0..=1.0).contains(&share) {
            findings.add(key, format!("{share} is not a share"), "use 0 to 1");
        }
    }
}
