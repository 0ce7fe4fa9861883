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
    for part in ["Select(\"env=prod\")", "reason: \"pre-upgrade\""] {
        assert!(snapshot.contains(part), "{part} is not in {snapshot}");
    }
    let plan = asked(&["run", "start", "weekly"]).await;
    assert!(plan.contains("Plan(\"weekly\")"), "{plan}");
    let check = asked(&["check", "vector-db", "--host", "db-1", "--detach"]).await;
    assert!(check.contains("kind: VectorDb"), "{check}");
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
