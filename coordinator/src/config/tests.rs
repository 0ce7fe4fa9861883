use std::ffi::OsString;
use std::time::Duration;

use super::*;

fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Config, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("coordinator.toml");
    std::fs::write(&path, text).unwrap();
    let variables: Vec<(OsString, OsString)> = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    load(&path, &variables)
}

/// The message below the file's name, and the hints.
fn complaint(text: &str) -> String {
    let error = load_text(text, &[]).expect_err("it is wrong");
    let message = match &error {
        Error::File { problems, .. } => problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n"),
        other => other.to_string(),
    };
    let hints = error.hints().into_iter().map(|hint| format!("hint: {hint}"));
    std::iter::once(message)
        .chain(hints)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_sample_is_valid_and_says_what_it_should() {
    let config = load_text(SAMPLE, &[]).unwrap();
    assert_eq!(config.listen.port(), 7443);
    assert_eq!(config.limits.per_label.get("rack"), Some(&2));
    assert_eq!(config.objectives.len(), 2);
    assert_eq!(config.backup.unwrap().recipients.len(), 1);
    assert_eq!(config.agents.lost_after.0, Duration::from_secs(90));
    assert_eq!(config.telemetry.unwrap().otlp, "http://otel:4317");
}

#[test]
fn the_sample_names_every_key_with_its_default() {
    let sample = load_text(SAMPLE, &[]).unwrap();
    let bare = load_text("", &[]).unwrap();
    assert_eq!(sample.listen, bare.listen);
    assert_eq!(sample.store, bare.store);
    assert_eq!(sample.tls.certificate, bare.tls.certificate);
    assert_eq!(sample.limits.tasks, bare.limits.tasks);
    assert_eq!(sample.agents.heartbeat, bare.agents.heartbeat);
    assert_eq!(sample.history.audit, bare.history.audit);
    assert_eq!(sample.history.runs, bare.history.runs);
}

#[test]
fn variables_win_over_the_file() {
    let config = load_text(
        "listen = \"127.0.0.1:1\"",
        &[("DR_COORDINATOR_LISTEN", "127.0.0.1:2")],
    )
    .unwrap();
    assert_eq!(config.listen.port(), 2);
    let variables = [
        ("DR_COORDINATOR_BACKUP_TO", "/backup"),
        (
            "DR_COORDINATOR_BACKUP_RECIPIENTS",
            "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
        ),
    ];
    // Each variable is read by itself, so that the one that is wrong is named; a section needs a file to begin with.
    let base = "backup = { to = \"/x\", recipients = [] }";
    let config = load_text(base, &variables).unwrap();
    assert_eq!(config.backup.unwrap().to, std::path::PathBuf::from("/backup"));
}

#[test]
fn every_variable_stands_for_a_key_that_exists() {
    let base = "authority = { dir = \"/p\" }\nbackup = { to = \"/b\", recipients = \
                [\"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\"] }\nmetrics = { listen = \
                \"127.0.0.1:9\" }\ntelemetry = { otlp = \"http://o:1\" }";
    for (variable, key, shape) in VARIABLES {
        let value = match *key {
            "listen" | "metrics.listen" => "127.0.0.1:7",
            "advertise" => "https://a:1,https://b:2",
            "store" => "sqlite:///x.db",
            "backup.recipients" => "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
            "metrics.per_host" => "false",
            "telemetry.otlp" => "http://otel:4317",
            "limits.tasks" | "limits.per_host" => "3",
            "agents.heartbeat" => "1s",
            "backup.every" | "inventory.missing_after" => "24h",
            key if key.starts_with("agents.") || key.starts_with("history.") => "24h",
            _ => "/some/where",
        };
        let loaded = load_text(base, &[(variable, value)]);
        assert!(
            loaded.is_ok(),
            "{variable} ({key}, {shape:?}): {}",
            loaded.unwrap_err()
        );
    }
}

#[test]
fn a_wrong_variable_is_named() {
    for (variable, value, reason, hint) in [
        (
            "DR_COORDINATOR_LISTN",
            "1",
            "no such variable is known",
            "did you mean `DR_COORDINATOR_LISTEN`?",
        ),
        (
            "DR_COORDINATOR_LIMITS_TASKS",
            "many",
            "`many` is not a whole number",
            "",
        ),
        (
            "DR_COORDINATOR_METRICS_PER_HOST",
            "yes",
            "`yes` is not `true` or `false`",
            "",
        ),
    ] {
        let error = load_text("", &[(variable, value)]).expect_err("it is wrong");
        let text = error.to_string();
        assert!(text.contains(variable) && text.contains(reason), "{text}");
        assert_eq!(error.hints().join(" "), hint);
    }
}

#[test]
fn bad_files_are_answered_with_line_key_and_hint() {
    for (text, expected) in BAD_FILES {
        assert_eq!(complaint(text), *expected, "for\n{text}");
    }
}

#[test]
fn a_private_key_is_not_repeated() {
    let text = "backup = { to = \"/b\", recipients = [\"AGE-SECRET-KEY-1QQQ\"] }";
    assert!(!complaint(text).contains("1QQQ"));
}

const BAD_FILES: &[(&str, &str)] = &[
    (
        "\nlimits = { tsks = 3 }",
        "line 2: `limits.tsks`: unknown key `tsks`\nhint: did you mean `tasks`?",
    ),
    (
        "agents = { heartbeat = 15 }",
        "line 1: `agents.heartbeat`: `15` has no unit; write a duration such as `30s`, `15m`, `24h` or `7d` (units: ms, s, m, h, d, w, y)",
    ),
    (
        "agents = { heartbeat = \"1m\", lost_after = \"90s\" }",
        "line 1: `agents.lost_after`: `1m30s` is less than two heartbeats\nhint: one late heartbeat must not lose a host: `90s` is usual",
    ),
    (
        "store = \"postgres://db/dr\"",
        "line 1: `store`: `postgres://db/dr` is not a store that this version knows\nhint: use `sqlite:///absolute/path.db`",
    ),
    (
        "backup = { to = \"copies\", recipients = [] }",
        "line 1: `backup.to`: `copies` is not an absolute path\nline 1: `backup.recipients`: nobody could read a copy\nhint: write it from `/`: the coordinator may start in any folder\nhint: name at least one age public key whose private half lies elsewhere",
    ),
    (
        "objectives = [ { select = \"*\", proof_age = \"1d\", rpo = \"1h\" } ]",
        "line 1: `objectives[0].proof_age`: no `proof` is asked whose age could be judged\nhint: set `proof`, for example \"restored\"",
    ),
    (
        "limits = { tasks = 0, per_label = { rack = 0 } }",
        "line 1: `limits.tasks`: 0 lets nothing start\nline 1: `limits.per_label.rack`: 0 lets nothing start\nhint: use 1 or more; to stop work for a while use `drctl suspend`\nhint: use 1 or more; to stop work for a while use `drctl suspend --scope LABEL=VALUE`",
    ),
    (
        "advertise = [\"dr.example.net:7443\"]",
        "line 1: `advertise[0]`: `dr.example.net:7443` is not an endpoint\nhint: use `https://host:port`",
    ),
    (
        "listen = \"0.0.0.0:7443\"\nmetrics = { listen = \"0.0.0.0:7443\" }",
        "line 2: `metrics.listen`: `0.0.0.0:7443` is where agents and operators dial in\nhint: give metrics a port of their own, such as 127.0.0.1:9630",
    ),
    (
        "notify = 1",
        "line 1: `notify`: unknown key `notify`\nhint: known keys here: listen, advertise, tls, authority, store, backup, limits, agents, inventory, objectives, history, metrics, telemetry",
    ),
    (
        "listen = ",
        "line 1: string values must be quoted, expected literal string",
    ),
];
