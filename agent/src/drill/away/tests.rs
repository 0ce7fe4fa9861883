use std::sync::Arc;
use std::time::Duration;

use dr_proto::model::{Outcome, Report, Verdict};
use dr_vault::storage::Operation;
use dr_vault::storage::circuit::Circuit;
use dr_vault::storage::faulty::{Fault, Faults, Faulty, Rule};
use dr_vault::storage::retrying::{RetryOptions, Retrying};

use super::*;
use crate::drill::testing::{Rig, SOURCES, request};

const TRIES: u32 = 4;

/// A restore drill whose store is away from the GET number `from` of it on; the report, and how many calls met no
/// store.
async fn drill_away(rig: &Rig, from: u64) -> (Report, u64) {
    let faults = Faults::none();
    let faulty = Arc::new(Faulty::new(Arc::clone(&rig.storage), faults.clone()));
    let retries = RetryOptions {
        tries: TRIES,
        first_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(1),
        total: Duration::from_secs(60),
    };
    let circuit = Circuit::default();
    let storage = Arc::new(Retrying::with_circuit(faulty, retries, circuit.clone()));
    let dir = tempfile::tempdir().unwrap();
    let repository = rig.open_through(storage, &dir).await;
    faults.add(Rule::on(Operation::Get, "packs/").after(from), Fault::Before);
    let report = rig.drill_of(&repository, &circuit, request(&dir)).await;
    (report, faults.hits())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_goes_away_is_waited_for_once() {
    let rig = Rig::new().await;
    let mut interrupted = 0;
    for from in 0.. {
        let (report, unmet) = drill_away(&rig, from).await;
        let checks = || report.sources.iter().flat_map(|source| &source.checks);
        assert!(
            checks().all(|check| check.outcome != Outcome::Failed),
            "{report:#?}"
        );
        if unmet == 0 {
            assert_eq!(report.verdict, Verdict::Passed, "{report:#?}");
            break;
        }
        if report.verdict == Verdict::Passed {
            // All came back before the store went; what is missing is the word of it in the ledger.
            let told = |note: &String| note.contains("not noted as verified");
            assert!(report.notes.iter().any(told), "{report:#?}");
            continue;
        }
        interrupted += 1;
        assert_eq!(report.verdict, Verdict::Inconclusive, "{report:#?}");
        let away = |check: &&CheckResult| check.outcome == Outcome::Inconclusive(Cause::StoreUnavailable);
        assert!(checks().filter(away).count() > 0, "{report:#?}");
        // Some are under way together when the first of them gives up.
        let most = u64::from(TRIES) * 4;
        assert!(
            unmet <= most && most < u64::from(TRIES) * SOURCES,
            "{unmet} calls from {from}: {report:#?}"
        );
    }
    assert!(interrupted > SOURCES, "each source is fetched on its own");
}
