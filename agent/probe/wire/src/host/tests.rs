//! Probes that are shell scripts: they say what a test wants, and then behave badly.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::job::Location;

const PANIC: &str =
    r#"{"event":"panic","table":"memory.lance","step":"query","message":"slice out of range"}"#;
const DONE: &str = r#"{"event":"done","tables":0,"reads":0,"bytes":0,"peak_memory":0,"millis":0}"#;
const FOUND: &str = r#"{"event":"found","tables":[]}"#;

/// A program that is still open for writing in the fork of another test can not be started.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Runs a script as the probe; one that waits must be ended by the host.
async fn run_script(script: &str, after_panic: Duration) -> Outcome {
    let _alone = ONE_AT_A_TIME.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("probe");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let options = Options {
        after_panic,
        ..Options::new(program)
    };
    let job = Job::open(Location::Tree { origin: None });
    run(&options, &job, None, |_| {}, &CancellationToken::new()).await
}

#[tokio::test]
async fn a_panic_that_leaves_a_probe_waiting_is_its_end() {
    let script = format!("echo '{PANIC}'\nexec sleep 3600");
    let outcome = run_script(&script, Duration::from_millis(50)).await;
    let (kind, message) = outcome.ended.fault().unwrap();
    assert_eq!(kind, FaultKind::Undecodable);
    assert!(
        message.contains("slice out of range") && message.contains("memory.lance"),
        "{message}"
    );
}

#[tokio::test]
async fn a_panic_that_a_probe_goes_on_after_is_not() {
    let script = format!("echo '{PANIC}'\necho '{FOUND}'\necho '{DONE}'");
    let outcome = run_script(&script, Duration::from_secs(60)).await;
    assert!(matches!(outcome.ended, Ended::Done(_)), "{:?}", outcome.ended);
    assert_eq!(outcome.panics, ["slice out of range"]);
}

#[tokio::test]
async fn a_probe_without_a_last_word_is_known_by_its_end() {
    let killed = run_script("kill -ABRT $$", Duration::from_secs(60)).await;
    let (kind, message) = killed.ended.fault().unwrap();
    assert_eq!(kind, FaultKind::Undecodable, "{message}");
    let exited = run_script("exit 9", Duration::from_secs(60)).await;
    let (kind, message) = exited.ended.fault().unwrap();
    assert_ne!(kind, FaultKind::Undecodable, "{message}");
}
