//! What goes wrong: one message with what to do, and the right exit code.

use tonic::{Code, Status};

use crate::certificates::Authority;
use crate::machine::{Machine, finish};

fn answer(code: Code, word: &str, hint: &str) -> Status {
    let mut status = Status::new(code, "because");
    status
        .metadata_mut()
        .insert("drctl-code", word.parse().expect("ASCII"));
    status
        .metadata_mut()
        .insert("drctl-hint", hint.parse().expect("ASCII"));
    status
}

#[tokio::test]
async fn the_coordinators_no_has_the_exit_code_of_its_kind() {
    let machine = Machine::new().await;
    for (code, word, exit, name) in [
        (Code::NotFound, "not_found", 66, "not_found"),
        (Code::InvalidArgument, "invalid_request", 64, "usage"),
        (Code::InvalidArgument, "plan_invalid", 78, "plan_invalid"),
        (Code::PermissionDenied, "role", 77, "denied"),
        (Code::Unauthenticated, "no_certificate", 77, "denied"),
        (Code::ResourceExhausted, "busy", 75, "busy"),
        (Code::Aborted, "plan_changed", 75, "busy"),
        (Code::FailedPrecondition, "run_state", 75, "busy"),
        (Code::AlreadyExists, "exists", 73, "exists"),
        (Code::Unimplemented, "unknown_method", 78, "version"),
        (Code::Internal, "authority", 70, "coordinator"),
    ] {
        machine.script.refuse("get_run", answer(code, word, "do this"));
        let ran = machine
            .run(&["run", "show", "0192", "--output", "json"])
            .await
            .ends(exit);
        assert_eq!(ran.out, "", "{code:?}");
        let document: serde_json::Value = serde_json::from_str(&ran.err).expect("JSON on stderr");
        let error = &document["error"];
        assert_eq!(error["code"], name, "{document}");
        assert_eq!(error["exit"], exit, "{document}");
        assert_eq!(error["retry_safe"], exit == 75, "{document}");
        assert_eq!(error["message"], "ask for a run: because", "{document}");
        assert_eq!(error["hints"][0], "do this", "{document}");
        assert_eq!(error["trace_id"].as_str().map(str::len), Some(32), "{document}");
    }
}

#[tokio::test]
async fn a_coordinator_that_is_away_for_a_moment_is_asked_again() {
    let machine = Machine::new().await;
    machine
        .script
        .refuse("get_status", Status::unavailable("restarting"));
    machine.run(&["status"]).await.ends(0);
    assert_eq!(machine.script.called(), ["get_status", "get_status"]);
    for _ in 0..3 {
        machine
            .script
            .refuse("get_status", Status::unavailable("restarting"));
    }
    machine
        .run(&["status"])
        .await
        .ends(69)
        .says("restarting")
        .says("drctl doctor");
}

#[tokio::test]
async fn nobody_there_is_69_and_says_where() {
    let machine = Machine::new().await;
    // Held, so that no other test gets it, and nobody listens there.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let nowhere = format!("https://{}", held.local_addr().unwrap());
    let mut command = machine.command(&["status"]);
    command.env("DRCTL_ENDPOINT", &nowhere);
    finish(command)
        .await
        .ends(69)
        .says(&nowhere)
        .says("is the coordinator running");
    // The second endpoint answers.
    let mut command = machine.command(&["status"]);
    command.env("DRCTL_ENDPOINT", format!("{nowhere},{}", machine.endpoint));
    finish(command).await.ends(0);
}

#[tokio::test]
async fn silence_ends_after_the_timeout() {
    let machine = Machine::new().await;
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut command = machine.command(&["status", "--timeout", "1s"]);
    command.env(
        "DRCTL_ENDPOINT",
        format!("https://{}", mute.local_addr().unwrap()),
    );
    finish(command).await.ends(69).says("no answer within");
}

#[tokio::test]
async fn certificates_that_do_not_fit_are_named() {
    let machine = Machine::new().await;
    let dir = machine.path("");
    let stranger = Authority::new();
    // The coordinator is of another authority than ours.
    let foreign = stranger.issue(&dir, "foreign", "operator/ana");
    finish(machine.command_as(&foreign, &["status"])).await.ends(77);
    // Ours is of another authority than the coordinator's.
    let mut mixed = foreign.clone();
    mixed.trust_bundle = machine.files.trust_bundle.clone();
    finish(machine.command_as(&mixed, &["status"]))
        .await
        .ends(77)
        .says("refuses our certificate")
        .says("pki issue");
    let expired = machine
        .authority
        .issue_until(&dir, "expired", "operator/ana", 2021);
    finish(machine.command_as(&expired, &["status"]))
        .await
        .ends(78)
        .says("expired");
    let agent = machine.authority.issue(&dir, "agent", "agent/db-1");
    finish(machine.command_as(&agent, &["status"]))
        .await
        .ends(78)
        .says("agent");
    let mut missing = machine.files.clone();
    missing.private_key = "/nowhere/ana.key".into();
    finish(machine.command_as(&missing, &["status"]))
        .await
        .ends(78)
        .says("/nowhere/ana.key");
    assert_eq!(machine.script.called(), Vec::<&str>::new());
}

#[tokio::test]
async fn without_a_context_the_way_to_one_is_shown() {
    let machine = Machine::new().await;
    machine
        .run_bare(&["status"])
        .await
        .ends(78)
        .says("--endpoint")
        .says("drctl login");
}

#[tokio::test]
async fn login_tries_before_it_saves_and_contexts_are_kept() {
    let machine = Machine::new().await;
    let config = machine.path(".config/drctl/config.toml");
    machine
        .script
        .refuse("get_status", Status::permission_denied("not you"));
    machine
        .run(&["login", "prod"])
        .await
        .ends(77)
        .says("not you")
        .says("nothing was saved");
    assert!(!config.exists());
    machine
        .run(&["login", "prod"])
        .await
        .ends(0)
        .says("spiffe://acme.example/operator/ana");
    // From now on nothing needs to be given.
    machine.run_bare(&["status"]).await.ends(0).says("db-2");
    machine
        .run_bare(&["context", "list"])
        .await
        .ends(0)
        .says("prod")
        .says(&machine.endpoint);
    machine
        .run_bare(&["status", "--context", "test"])
        .await
        .ends(78)
        .says("known contexts: prod");
    machine.run_bare(&["context", "remove", "prod"]).await.ends(0);
    machine.run_bare(&["status"]).await.ends(78);
    std::fs::write(&config, "current = 5\n").unwrap();
    machine
        .run_bare(&["status"])
        .await
        .ends(78)
        .says("line 1")
        .says("current");
}

#[tokio::test]
async fn doctor_names_each_fault_with_its_fix() {
    let machine = Machine::new().await;
    let ran = machine.run(&["doctor"]).await.ends(0);
    for said in [
        "spiffe://acme.example/operator/ana",
        "1 lost: db-2",
        "clock skew 95 s",
        "1 sources are covered by no enabled plan: db-1/scratch",
        "drctl resume --scope s-1",
        "1 to act on now, 1 to act on this week",
        "Ready, with",
    ] {
        assert!(ran.out.contains(said), "`{said}` is not in\n{}", ran.out);
    }
    machine
        .run_bare(&["doctor"])
        .await
        .ends(78)
        .says("NOT READY")
        .says("drctl login");
    let mut away = machine.command(&["doctor"]);
    away.env("DRCTL_ENDPOINT", "https://127.0.0.1:9");
    finish(away).await.ends(69).says("FAIL  reachability");
    let viewer = machine.authority.issue(&machine.path(""), "joe", "viewer/joe");
    let ran = finish(machine.command_as(&viewer, &["doctor", "--output", "json"]))
        .await
        .ends(0);
    let role = ran.json()["findings"]
        .as_array()
        .and_then(|all| all.iter().find(|finding| finding["subject"] == "role").cloned())
        .expect("a finding on the role");
    assert_eq!(role["grade"], "warning", "{role}");
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_no_silent_pass() {
    let machine = Machine::new().await;
    let mut detail = crate::samples::ended_run();
    detail.tasks[0].state = 99;
    machine.script.run_is(detail);
    machine
        .run(&["run", "show", "0192"])
        .await
        .ends(78)
        .says("tasks[0].state")
        .says("newer");
}
