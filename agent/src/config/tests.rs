use std::path::PathBuf;

use dr_proto::model::DrillKind;

use super::*;

fn surroundings(variables: &[(&str, &str)]) -> Surroundings {
    Surroundings {
        variables: variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        hostname: "db-1".into(),
        state_dir: None,
    }
}

fn load_text(text: &str, variables: &[(&str, &str)], flags: &Overrides) -> Result<Config, Error> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("agent.toml");
    std::fs::write(&path, text).expect("write");
    load(Some(&path), &surroundings(variables), flags)
}

/// The message below the file's name, and the hints.
fn complaint(text: &str) -> String {
    let error = load_text(text, &[], &Overrides::default()).expect_err("it is wrong");
    let message = match &error {
        Error::File { problems, .. } => problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n"),
        other => other.to_string(),
    };
    let hints: Vec<String> = error
        .hints()
        .into_iter()
        .map(|hint| format!("hint: {hint}"))
        .collect();
    [vec![message], hints].concat().join("\n")
}

#[test]
fn the_sample_is_valid_and_says_what_it_should() {
    let config = load_text(SAMPLE, &[], &Overrides::default()).expect("the sample is valid");
    assert_eq!(config.agent.host, "db-1");
    let repository = config.repository.expect("a repository");
    assert_eq!(repository.url, "s3://acme-dr/hosts/db-1");
    assert_eq!(repository.s3.credentials, Credentials::DefaultChain);
    assert_eq!(config.sources.len(), 2);
    assert_eq!(config.limits.memory, Size(300 << 20));
    assert_eq!(config.allow.drills, [DrillKind::Verify, DrillKind::Restore]);
    assert!(config.coordinator.is_some());
}

#[test]
fn nothing_at_all_is_a_bare_host() {
    let config = load(None, &surroundings(&[]), &Overrides::default()).expect("defaults hold");
    assert!(config.repository.is_none());
    assert_eq!(
        config.agent.scratch_dir(),
        PathBuf::from("/var/lib/dr-agent/scratch")
    );
}

#[test]
fn flags_win_over_variables_over_the_file() {
    let text = "[repository]\nurl = \"file:///file\"\nkey_command = [\"/bin/key\"]";
    let variables = [
        ("DR_AGENT_REPOSITORY_URL", "file:///variable"),
        ("DR_AGENT_LIMITS_CPU", "2.5"),
    ];
    let url = |config: Config| config.repository.expect("a repository").url;
    let none = Overrides::default();
    assert_eq!(url(load_text(text, &[], &none).expect("valid")), "file:///file");
    let with_variable = load_text(text, &variables, &none).expect("valid");
    assert!((with_variable.limits.cpu - 2.5).abs() < f64::EPSILON);
    assert_eq!(url(with_variable), "file:///variable");
    let flags = Overrides {
        repository: Some("file:///flag".into()),
        identity: Some("/key".into()),
        ..Overrides::default()
    };
    let config = load_text(text, &variables, &flags).expect("valid");
    let repository = config.repository.as_ref().expect("a repository");
    assert_eq!(repository.key_file, Some(PathBuf::from("/key")));
    assert!(repository.key_command.is_none());
    assert_eq!(url(config), "file:///flag");
}

#[test]
fn every_variable_stands_for_a_key_that_exists() {
    for (variable, key, shape) in VARIABLES {
        let value = match *variable {
            "DR_AGENT_METRICS_LISTEN" => "127.0.0.1:1",
            "DR_AGENT_LIMITS_CPU" => "1.5",
            "DR_AGENT_REPOSITORY_S3_PATH_STYLE" => "true",
            "DR_AGENT_LIMITS_UPLOAD_DEFAULT" => "1 MiB/s",
            "DR_AGENT_LIMITS_PINS_MIN_FREE" => "5 %",
            "DR_AGENT_REPOSITORY_URL" => "file:///x",
            "DR_AGENT_REPOSITORY_S3_ENDPOINT" => "https://s3.example.net",
            "DR_AGENT_REPOSITORY_RECOVERY_RECIPIENTS" => "",
            "DR_AGENT_SCRATCH_MAX" | "DR_AGENT_LIMITS_MEMORY" => "1 GiB",
            "DR_AGENT_SCRATCH_KEEP_FAILED" | "DR_AGENT_LIMITS_PINS_MAX_AGE" => "1h",
            _ if key.ends_with("host") => "db-2",
            _ => "/some/where",
        };
        let base = "[repository]\nurl = \"file:///base\"";
        let loaded = load_text(base, &[(variable, value)], &Overrides::default());
        assert!(
            loaded.is_ok(),
            "{variable} ({key}, {shape:?}): {}",
            loaded.expect_err("failed")
        );
    }
}

#[test]
fn a_wrong_variable_is_named() {
    for (variable, value, reason, hint) in [
        (
            "DR_AGENT_LIMITS_MEMROY",
            "1",
            "no such variable is known",
            "did you mean `DR_AGENT_LIMITS_MEMORY`?",
        ),
        ("DR_AGENT_LIMITS_MEMORY", "300", "`300` is not a size", ""),
        (
            "DR_AGENT_REPOSITORY_S3_PATH_STYLE",
            "yes",
            "`yes` is not `true` or `false`",
            "",
        ),
    ] {
        let error = load_text("", &[(variable, value)], &Overrides::default()).expect_err("it is wrong");
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

const BAD_FILES: &[(&str, &str)] = &[
    (
        "[agent]\nstate_dri = \"/x\"",
        "line 2: `agent.state_dri`: unknown key `state_dri`\nhint: did you mean `state_dir`?",
    ),
    (
        "[[source]]\nname = \"a\"\nkind = \"lancedb\"\npath = \"/a\"\n\n[[source]]\nname = \"b\"\nkind = \"lance\"\npath = \"/b\"",
        "line 8: `source[1].kind`: unknown value `lance`\nhint: did you mean `lancedb`?",
    ),
    (
        "[limits]\nmemory = 300",
        "line 2: `limits.memory`: `300` has no unit; write a size such as `8 MiB` or `200 GiB` (units: B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)",
    ),
    (
        "[limits]\npins = { max_age = \"2 fortnights\" }",
        "line 2: `limits.pins.max_age`: `2 fortnights` is not a duration such as `30s`, `15m`, `24h` or `7d` (units: ms, s, m, h, d, w, y)",
    ),
    (
        "[[source]]\nname = \"a\"\nkind = \"lancedb\"",
        "line 1: `source[0]`: the key `path` is missing",
    ),
    (
        "\n[repository]\nurl = \"ftp://x\"",
        "line 3: `repository.url`: `ftp://x` is not a repository\nhint: use `s3://bucket/prefix` or `file:///absolute/dir`",
    ),
    (
        "[repository]\nurl = \"file:///x\"\nrecovery_recipients = [\"AGE-SECRET-KEY-1ABC\"]",
        "line 3: `repository.recovery_recipients[0]`: \"...\" is a private key\nhint: take it off this host and write its public `age1…` half here",
    ),
    (
        "[allow]\nhooks = [\"smoke\"]",
        "line 2: `allow.hooks[0]`: there is no `hook.smoke`\nhint: define it under [hook]",
    ),
    (
        "[[source]]\nname = \"a\"\nkind = \"audit-log\"\npath = \"logs/audit.log\"\nhistory = \"all\"",
        "line 4: `source[0].path`: `logs/audit.log` is not an absolute path\nline 5: `source[0].history`: means nothing for a source of kind `audit-log`\nhint: write it from `/`: the agent may start in any folder\nhint: remove it",
    ),
    (
        "[limits]\nupload = { \"Mon 8-18\" = \"1 MiB/s\" }",
        "line 2: `limits.upload`: `Mon 8-18` is not a time window; write `default` or, for example, `Mon-Fri 08:00-18:00` or `Sat,Sun 00:00-24:00`",
    ),
    (
        "[repository]\nurl = \"s3://b/p\"\ns3 = { lock = \"compliance\" }",
        "line 3: `repository.s3.lock`: this version sets no object locks itself\nhint: give the bucket a default retention, which locks every object written, and leave this out",
    ),
    ("[agent\nhost = 1", "line 1: unclosed table, expected `]`"),
];
