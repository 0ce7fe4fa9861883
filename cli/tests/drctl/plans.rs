//! Applying plans: errors are found before anything is sent.

use crate::machine::Machine;

const GOOD: &str = r#"
schema = 1
name = "weekly"
owner = "sre-data"
select = { labels = "*", sources = ["*"] }
schedule = { cron = "0 3 * * SUN" }
drill = { kind = "restore", snapshot = "latest" }
"#;

#[tokio::test]
async fn a_plan_with_errors_is_refused_with_file_line_key_and_reason() {
    let machine = Machine::new().await;
    machine.write("good.toml", GOOD);
    let bad = GOOD
        .replace("owner =", "onwer =")
        .replace("0 3 * * SUN", "0 3 * * FUNDAY")
        .replace("\"restore\"", "\"pretend\"");
    machine.write("bad.toml", &bad);
    let ran = machine
        .run(&["plan", "apply", "good.toml", "bad.toml"])
        .await
        .ends(78);
    assert_eq!(
        machine.script.called(),
        Vec::<&str>::new(),
        "nothing is half applied"
    );
    insta::assert_snapshot!("plan-errors", ran.err);
    let ran = machine
        .run(&["plan", "apply", "bad.toml", "--output", "json"])
        .await
        .ends(78);
    let document: serde_json::Value = serde_json::from_str(&ran.err).expect("JSON");
    assert_eq!(document["error"]["code"], "plan_invalid", "{document}");
    let causes = document["error"]["causes"].as_array().expect("causes");
    assert!(
        causes
            .iter()
            .all(|cause| cause.as_str().is_some_and(|cause| cause.starts_with("bad.toml:")))
    );
}

#[tokio::test]
async fn a_good_plan_is_sent_as_it_is() {
    let machine = Machine::new().await;
    machine.write("good.toml", GOOD);
    machine
        .run(&["plan", "apply", "good.toml", "--check-only"])
        .await
        .ends(0)
        .says("plan weekly in good.toml has no errors");
    assert_eq!(machine.script.called(), Vec::<&str>::new());
    machine
        .run(&["plan", "apply", "good.toml", "--if-hash", "abc"])
        .await
        .ends(0)
        .says("plan weekly created: 2 hosts, next slot 2026-01-04T00:00:00Z");
    let asked = machine.script.asked("apply_plan").remove(0);
    assert!(
        asked.contains("expected_hash: \"abc\"") && asked.contains("sre-data"),
        "{asked}"
    );
    machine
        .run(&["plan", "preview", "good.toml"])
        .await
        .ends(0)
        .says("left out: db-7");
    assert!(machine.script.asked("preview_plan")[0].contains("Text("));
    machine.run(&["plan", "preview", "weekly"]).await.ends(0);
    assert!(machine.script.asked("preview_plan")[1].contains("Name(\"weekly\")"));
    machine
        .run(&["plan", "apply", "none.toml"])
        .await
        .ends(66)
        .says("none.toml");
}
