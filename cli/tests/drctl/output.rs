//! What commands print: tables for people, JSON with names that stay.

use crate::machine::Machine;

/// Every command that reads, and what it prints in both forms.
#[tokio::test]
async fn tables_and_json_are_as_they_were_agreed() {
    let machine = Machine::new().await;
    for (name, arguments) in [
        ("status", &["status"][..]),
        ("agent-list", &["agent", "list"][..]),
        ("agent-show", &["agent", "show", "db-1"][..]),
        ("agent-token-list", &["agent", "token", "list"][..]),
        ("source-list", &["source", "list"][..]),
        ("snapshot-list", &["snapshot", "list"][..]),
        ("snapshot-show", &["snapshot", "show", "0192b"][..]),
        ("plan-list", &["plan", "list"][..]),
        ("plan-show", &["plan", "show", "weekly"][..]),
        ("plan-preview", &["plan", "preview", "weekly"][..]),
        ("run-list", &["run", "list"][..]),
        ("run-show", &["run", "show", "0192"][..]),
        ("drill-list", &["drill", "list"][..]),
        (
            "drill-explain",
            &["drill", "explain", "0192", "--host", "db-2"][..],
        ),
        ("audit-list", &["audit", "list"][..]),
        ("audit-verify", &["audit", "verify"][..]),
    ] {
        let table = machine.run(arguments).await.ends(0);
        insta::assert_snapshot!(format!("{name}.table"), table.out);
        let json = machine
            .run(&[arguments, &["--output", "json"]].concat())
            .await
            .ends(0);
        assert_eq!(json.err, "", "{name} talks beside its JSON");
        let mut document = json.json();
        let trace = document
            .as_object_mut()
            .and_then(|document| document.remove("trace_id"));
        let trace = trace.expect("every document carries its trace");
        assert_eq!(trace.as_str().map(str::len), Some(32), "{name}");
        insta::assert_snapshot!(
            format!("{name}.json"),
            serde_json::to_string_pretty(&document).expect("JSON")
        );
    }
}

#[tokio::test]
async fn a_pass_is_quiet_in_tables_and_explained_where_somebody_asks() {
    let machine = Machine::new().await;
    for arguments in [&["run", "show", "0192"][..], &["drill", "list"][..]] {
        let table = machine.run(arguments).await.ends(0);
        assert!(!table.out.contains("the agent's answer"), "{}", table.out);
    }
    machine
        .run(&["drill", "explain", "0192", "--host", "db-1"])
        .await
        .ends(0)
        .says("passed: the agent's answer");
    machine
        .run(&["drill", "list", "--output", "json"])
        .await
        .ends(0)
        .says("the agent's answer");
}

#[tokio::test]
async fn what_changes_something_says_so_and_sends_what_was_asked() {
    let machine = Machine::new().await;
    machine
        .run(&["agent", "revoke", "db-1", "--reason", "stolen"])
        .await
        .ends(0)
        .says("db-1 is revoked; 1 live streams ended");
    machine
        .run(&["agent", "retire", "db-1", "--reason", "sold"])
        .await
        .ends(0)
        .says("db-1 is retired");
    machine
        .run(&["agent", "token", "withdraw", "t-1"])
        .await
        .ends(0)
        .says("t-1 is withdrawn");
    let token = machine
        .run(&[
            "agent",
            "token",
            "--host",
            "db-3",
            "--label",
            "env=prod",
            "--valid-for",
            "2h",
        ])
        .await
        .ends(0);
    assert_eq!(token.out, "drt1.SECRET\n", "the token alone is on stdout");
    let replaced = machine
        .run(&[
            "agent",
            "replace",
            "db-3",
            "--reason",
            "disk died",
            "--needs-approval",
        ])
        .await
        .ends(0);
    assert_eq!(replaced.out, "drt1.SECRET\n", "the token alone is on stdout");
    assert!(replaced.err.contains("1 live streams ended"), "{}", replaced.err);
    machine
        .run(&["agent", "approve", "db-1"])
        .await
        .ends(0)
        .says("db-1 is approved; it is connected");
    machine
        .run(&["suspend", "--reason", "maintenance", "--for", "2h"])
        .await
        .ends(0)
        .says("fleet is suspended until 2026-01-01T04:00:00Z");
    machine.run(&["resume"]).await.ends(0).says("1 suspensions");
    machine
        .run(&["resume", "--scope", "host=db-9"])
        .await
        .ends(66)
        .says("host=db-9");
    machine
        .run(&["plan", "disable", "weekly"])
        .await
        .ends(0)
        .says("plan weekly is disabled");
    machine
        .run(&["plan", "delete", "weekly"])
        .await
        .ends(0)
        .says("plan weekly is deleted");
    let script = &machine.script;
    assert!(script.asked("revoke_agent")[0].contains("stolen"));
    assert!(script.asked("create_token")[0].contains("seconds: 7200"));
    let replaced = script.asked("replace_agent");
    assert!(replaced[0].contains("disk died") && replaced[0].contains("needs_approval: true"));
    assert!(script.asked("suspend")[0].contains("maintenance"));
    assert!(script.asked("enable_plan")[0].contains("enabled: false"));
}

#[tokio::test]
async fn work_is_asked_for_as_it_was_said() {
    let machine = Machine::new().await;
    let asked = async |arguments: &[&str]| {
        machine.run(arguments).await.ends(0).says("the work goes on");
        machine
            .script
            .asked("start_run")
            .pop()
            .expect("a run was started")
    };
    let drill = asked(&[
        "drill", "start", "--host", "db-1", "--on", "runner-1", "--kind", "verify",
    ])
    .await;
    for part in ["Host(\"runner-1\")", "from_host: \"db-1\"", "kind: Verify"] {
        assert!(drill.contains(part), "{part} is not in {drill}");
    }
    let restore = asked(&[
        "restore",
        "start",
        "--from",
        "db-1",
        "--to-host",
        "db-2",
        "--to",
        "/srv/restore",
        "--source",
        "memory",
        "--table",
        "notes",
        "--existing",
        "entries",
        "--deadline",
        "1h",
    ])
    .await;
    for part in [
        "Host(\"db-2\")",
        "from_host: \"db-1\"",
        "table: \"notes\"",
        "to: \"/srv/restore\"",
        "existing: Entries",
        "seconds: 3600",
    ] {
        assert!(restore.contains(part), "{part} is not in {restore}");
    }
    let snapshot = asked(&[
        "snapshot",
        "create",
        "--select",
        "env=prod",
        "--reason",
        "pre-upgrade",
    ])
    .await;
    for part in ["Select(\"env=prod\")", "reason: \"pre-upgrade\"", "hold: None"] {
        assert!(snapshot.contains(part), "{part} is not in {snapshot}");
    }
    let held = asked(&[
        "snapshot", "create", "--host", "db-1", "--hold", "30d", "--reason", "OPS-1",
    ])
    .await;
    for part in ["HoldTerms { reason: \"OPS-1\"", "seconds: 2592000"] {
        assert!(held.contains(part), "{part} is not in {held}");
    }
    machine
        .run(&["snapshot", "create", "--host", "db-1", "--hold", "30d"])
        .await
        .ends(64)
        .says("--reason");
    for (length, why) in [("500ms", "a second or longer"), ("1500ms", "whole seconds")] {
        machine
            .run(&[
                "snapshot", "hold", "db-1", "0192b", "--for", length, "--reason", "OPS-1",
            ])
            .await
            .ends(64)
            .says("--for")
            .says(why);
    }
    let hold = asked(&[
        "snapshot", "hold", "db-1", "0192b", "--for", "2d", "--reason", "OPS-1", "--detach",
    ])
    .await;
    for part in ["Host(\"db-1\")", "snapshot: \"0192b\"", "Set(", "seconds: 172800"] {
        assert!(hold.contains(part), "{part} is not in {hold}");
    }
    let release = asked(&[
        "snapshot", "release", "db-1", "0192b", "--reason", "done", "--detach",
    ])
    .await;
    assert!(release.contains("Release("), "{release}");
    let plan = asked(&["run", "start", "weekly"]).await;
    assert!(plan.contains("Plan(\"weekly\")"), "{plan}");
    let check = asked(&["check", "vector-db", "--host", "db-1", "--detach"]).await;
    assert!(check.contains("kind: VectorDb"), "{check}");
}

#[tokio::test]
async fn a_note_goes_beside_what_was_named_and_into_every_report() {
    let machine = Machine::new().await;
    fn note<'a>(more: &[&'a str]) -> Vec<&'a str> {
        [&["drill", "note", "0192", "OPS-1: looked at it"], more].concat()
    }
    machine.run(&note(&[])).await.ends(0).says("noted beside the run");
    let of_host = machine.run(&note(&["--host", "db-2", "--output", "json"])).await;
    let of_host = of_host.ends(0).json();
    assert_eq!(of_host["note"]["text"], "OPS-1: looked at it");
    let task = of_host["note"]["task"].as_str().expect("the host's task");
    let asked = machine.script.asked("add_note");
    assert!(asked[0].contains("id: \"0192\""), "{asked:?}");
    assert!(asked[1].contains(task), "{asked:?}");
    machine
        .run(&note(&["--host", "db-9"]))
        .await
        .ends(66)
        .says("db-9");
    machine.run(&["drill", "note", "0192", "  "]).await.ends(64);
    for format in ["json", "html", "markdown", "junit"] {
        let report = machine
            .run(&["report", "export", "0192", "--format", format])
            .await
            .ends(0);
        assert!(
            report.out.contains("restored from the snapshot before"),
            "{}",
            report.out
        );
        let says = report.out.contains("the disk was swapped");
        // Build servers show what belongs to a case; the run as a whole is none.
        assert_eq!(says, format != "junit", "{}", report.out);
    }
    for command in [&["report", "show", "0192"][..], &["run", "show", "0192"]] {
        machine.run(command).await.ends(0).says("the disk was swapped");
    }
    let other = machine
        .run(&["drill", "explain", "0192", "--host", "db-1"])
        .await
        .ends(0);
    assert!(
        !other.out.contains("restored from"),
        "it is about db-2: {}",
        other.out
    );
}

#[tokio::test]
async fn a_list_of_hosts_is_handed_over_whole_or_not_at_all() {
    let machine = Machine::new().await;
    let file = machine.path("hosts.json");
    let import = ["inventory", "import", file.to_str().expect("UTF-8")];
    std::fs::write(
        &file,
        r#"[{ "host": "db-1", "labels": { "env": "prod" } }, { "host": "db-2" }]"#,
    )
    .expect("write");
    machine
        .run(&import)
        .await
        .ends(0)
        .says("2 hosts are expected: 2 more than before, 1 no longer")
        .says("drctl agent retire");
    let asked = machine.script.asked("import_inventory");
    assert!(asked[0].contains("\"env\": \"prod\""), "{asked:?}");
    std::fs::write(&file, r#"[{ "host": "db-1" }, { "host": "db 2" }]"#).expect("write");
    machine
        .run(&import)
        .await
        .ends(78)
        .says("hosts.json")
        .says("entry 2 (`db 2`)")
        .says("is not a host name");
    machine
        .run(&["inventory", "import", "/nowhere/hosts.json"])
        .await
        .ends(66)
        .says("/nowhere/hosts.json");
    assert_eq!(machine.script.asked("import_inventory").len(), 1);
}

#[tokio::test]
async fn a_fleet_unlike_its_list_is_only_a_part_of_it() {
    let machine = Machine::new().await;
    let table = machine.run(&["inventory", "diff"]).await.ends(3);
    insta::assert_snapshot!("inventory-diff.table", table.out);
    let json = machine
        .run(&["inventory", "diff", "--output", "json"])
        .await
        .ends(3);
    let mut document = json.json();
    document
        .as_object_mut()
        .and_then(|document| document.remove("trace_id"));
    insta::assert_snapshot!(
        "inventory-diff.json",
        serde_json::to_string_pretty(&document).expect("JSON")
    );
}

#[tokio::test]
async fn one_trace_goes_through_every_call() {
    let machine = Machine::new().await;
    let mut command = machine.command(&["drill", "list", "--output", "json"]);
    command.env(
        "TRACEPARENT",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    );
    let ran = crate::machine::finish(command).await.ends(0);
    assert_eq!(ran.json()["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    let traces = machine.script.traces();
    assert!(traces.len() > 1, "{traces:?}");
    for trace in traces {
        let trace = trace.expect("a traceparent");
        assert!(
            trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"),
            "{trace}"
        );
        assert!(
            !trace.contains("00f067aa0ba902b7"),
            "the span is the command's own: {trace}"
        );
    }
}
