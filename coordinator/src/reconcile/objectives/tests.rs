use dr_proto::model::{DrillKind, TaskId};
use jiff::SignedDuration;

use super::super::testing::{Bench, host};
use super::*;

fn gold() -> Objective {
    Objective {
        select: Selector::all(),
        rpo: Some(Duration::from_secs(3_600)),
        rto: Some(Duration::from_secs(1_800)),
        proof: Some(ProofLevel::Restored),
        proof_age: Some(Duration::from_secs(8 * 86_400)),
    }
}

fn pass(level: ProofLevel, ago: i64, now: Timestamp) -> ProofRecord {
    ProofRecord {
        task: TaskId::new(now),
        host: host("db-1"),
        source: "memory".to_owned(),
        kind: DrillKind::Restore,
        verdict: Verdict::Passed,
        proof: level,
        at: now - SignedDuration::from_secs(ago),
        time_to_usable: (level == ProofLevel::Restored).then(|| Duration::from_secs(600)),
        rpo: None,
        snapshot: None,
    }
}

fn cuts(now: Timestamp, last_ago: i64, worst: u64) -> Cuts {
    Cuts {
        host: host("db-1"),
        source: "memory".to_owned(),
        first: now - SignedDuration::from_hours(100),
        last: now - SignedDuration::from_secs(last_ago),
        worst_gap: Duration::from_secs(worst),
        snapshots: 10,
    }
}

fn now() -> Timestamp {
    "2026-11-26T03:00:00Z".parse().unwrap()
}

fn judged(cuts: Option<&Cuts>, passes: &[ProofRecord], known_for: i64) -> Readiness {
    let known = Known {
        first_seen: now() - SignedDuration::from_secs(known_for),
        cuts,
        passes,
    };
    judge((host("db-1"), "memory".to_owned()), known, Some(&gold()), now())
}

#[test]
fn a_source_that_meets_everything_has_no_breach() {
    let ready = judged(
        Some(&cuts(now(), 600, 3_000)),
        &[pass(ProofLevel::Restored, 86_400, now())],
        1_000_000,
    );
    assert!(ready.breached.is_empty(), "{ready:?}");
    assert_eq!(ready.rpo_worst, Some(Duration::from_secs(3_000)));
    assert_eq!(ready.rto, Some(Duration::from_secs(600)));
}

#[test]
fn the_gap_up_to_now_counts_like_any_other() {
    let ready = judged(
        Some(&cuts(now(), 3_700, 100)),
        &[pass(ProofLevel::Restored, 60, now())],
        1_000_000,
    );
    assert_eq!(ready.breached, [Breach::Rpo]);
    assert_eq!(ready.rpo_worst, Some(Duration::from_secs(3_700)));
}

#[test]
fn a_shallow_pass_does_not_prove_a_restore() {
    let passes = [pass(ProofLevel::Engine, 60, now())];
    let ready = judged(Some(&cuts(now(), 60, 60)), &passes, 1_000_000);
    assert_eq!(ready.breached, [Breach::Rto, Breach::Proof, Breach::ProofAge]);
    assert_eq!((ready.proof, ready.last_proof), (ProofLevel::Engine, None));
}

#[test]
fn an_old_proof_is_too_old() {
    let passes = [pass(ProofLevel::Restored, 9 * 86_400, now())];
    let ready = judged(Some(&cuts(now(), 60, 60)), &passes, 10_000_000);
    assert_eq!(ready.breached, [Breach::Proof, Breach::ProofAge]);
    assert!(ready.last_proof.is_some());
}

#[test]
fn a_new_source_has_as_long_as_its_objectives_allow() {
    assert!(judged(None, &[], 60).breached.is_empty());
    assert_eq!(judged(None, &[], 3_700).breached, [Breach::Rpo]);
    let all = judged(None, &[], 9 * 86_400).breached;
    assert_eq!(all, [Breach::Rpo, Breach::Rto, Breach::Proof, Breach::ProofAge]);
}

#[test]
fn a_drill_that_failed_since_takes_the_proof_away() {
    let passed = vec![pass(ProofLevel::Restored, 86_400, now())];
    let failed = |ago| ProofRecord {
        verdict: Verdict::Failed,
        ..pass(ProofLevel::None, ago, now())
    };
    let key = (host("db-1"), "memory".to_owned());
    assert!(standing(passed.clone(), &[failed(3_600)]).is_empty());
    assert_eq!(standing(passed, &[failed(2 * 86_400)])[&key].len(), 1);
}

#[tokio::test]
async fn the_first_objective_that_selects_a_host_counts_and_the_worst_come_first() {
    let bench = Bench::new().await;
    bench.attach("db-1", &["tier=gold"]).await;
    bench.attach("db-2", &[]).await;
    bench.clock.pass(7_200);
    bench.inventory("db-2", &[60]).await;
    let relaxed = Objective {
        rpo: Some(Duration::from_secs(86_400)),
        rto: None,
        proof: None,
        proof_age: None,
        select: Selector::all(),
    };
    let gold = Objective {
        select: "tier=gold".parse().unwrap(),
        ..gold()
    };
    let ready = read(&bench.store, &[gold, relaxed]).await.unwrap();
    let breached: Vec<_> = ready
        .iter()
        .map(|ready| (ready.host.as_str(), ready.breached.len()))
        .collect();
    assert_eq!(breached, [("db-1", 1), ("db-2", 0)]);
    assert_eq!(ready[1].rpo_now, Some(Duration::from_secs(60)));
}
