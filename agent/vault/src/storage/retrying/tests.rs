use std::sync::Arc;

use futures::stream::TryStreamExt;

use super::*;
use crate::storage::Operation;
use crate::storage::conformance;
use crate::storage::faulty::{Fault, Faults, Faulty, Rule};
use crate::storage::memory::MemoryStorage;

fn store(options: RetryOptions) -> (Retrying, Faults) {
    let faults = Faults::none();
    let faulty = Faulty::new(Arc::new(MemoryStorage::new()), faults.clone());
    (Retrying::new(Arc::new(faulty), options), faults)
}

#[tokio::test(start_paused = true)]
async fn a_store_that_loses_every_fifth_call_conforms() {
    for seed in 0..5 {
        let (store, faults) = store(RetryOptions {
            tries: 30,
            ..RetryOptions::default()
        });
        faults.randomly(
            seed,
            0.2,
            &[Fault::Before, Fault::After, Fault::Slow(Duration::from_secs(1))],
        );
        conformance::check(&store).await.unwrap();
        conformance::check_pages(&store).await.unwrap();
        assert!(faults.hits() > 20, "{} faults", faults.hits());
    }
}

#[tokio::test(start_paused = true)]
async fn gives_up_after_the_last_try_and_says_so() {
    let (store, faults) = store(RetryOptions {
        tries: 3,
        ..RetryOptions::default()
    });
    faults.add(Rule::default(), Fault::Before);
    let error = store.get(&Key::new("config"), None).await.unwrap_err();
    assert!(error.to_string().contains("gave up after 3 tries"), "{error}");
    assert_eq!(faults.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn gives_up_when_the_time_is_over() {
    let options = RetryOptions {
        tries: u32::MAX,
        total: Duration::from_secs(60),
        ..RetryOptions::default()
    };
    let (store, faults) = store(options);
    faults.add(Rule::default(), Fault::Before);
    let started = Instant::now();
    assert!(store.head(&Key::new("config")).await.is_err());
    let took = started.elapsed();
    assert!(took <= Duration::from_secs(60), "{took:?}");
    assert!(took > Duration::from_secs(20), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn only_what_got_no_answer_is_tried_again() {
    let (store, faults) = store(RetryOptions::default());
    faults.add(Rule::default(), Fault::Deny);
    assert!(matches!(
        store.get(&Key::new("config"), None).await,
        Err(Error::Denied { .. })
    ));
    assert_eq!(faults.calls(), 1);
    faults.clear();
    assert!(matches!(
        store.get(&Key::new("config"), None).await,
        Err(Error::NotFound(_))
    ));
    assert_eq!(faults.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_create_whose_answer_was_lost_is_settled_by_content() {
    let (store, faults) = store(RetryOptions::default());
    let (mine, others) = (Key::new("mine"), Key::new("others"));
    store
        .put(&others, Bytes::from_static(b"theirs"), PutMode::Create)
        .await
        .unwrap();

    faults.at(1, Fault::After);
    let outcome = store
        .put(&mine, Bytes::from_static(b"ours"), PutMode::Create)
        .await
        .unwrap();
    assert_eq!(outcome, PutOutcome::Stored);

    faults.add(Rule::on(Operation::Put, "others").times(1), Fault::Before);
    let outcome = store
        .put(&others, Bytes::from_static(b"ours"), PutMode::Create)
        .await
        .unwrap();
    assert_eq!(outcome, PutOutcome::Exists);
    assert_eq!(store.get(&others, None).await.unwrap(), &b"theirs"[..]);
}

#[tokio::test(start_paused = true)]
async fn a_listing_goes_on_where_it_broke_off() {
    let (store, faults) = store(RetryOptions::default());
    for number in 0..40 {
        store
            .put(
                &Key::new(format!("index/{number:02}")),
                Bytes::new(),
                PutMode::Overwrite,
            )
            .await
            .unwrap();
    }
    faults.add(Rule::on(Operation::List, "").times(4), Fault::After);
    let listed: Vec<ObjectMeta> = store.list("index/").try_collect().await.unwrap();
    assert_eq!(listed.len(), 40);
    assert!(listed.is_sorted_by(|one, next| one.key < next.key));
    assert_eq!(faults.hits(), 4);
}

#[test]
fn delays_grow_up_to_a_ceiling_and_depend_on_the_seed() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let options = RetryOptions {
            tries: 12,
            total: Duration::from_secs(3600),
            ..RetryOptions::default()
        };
        let delays = |seed| {
            let mut backoff = Backoff::seeded(options, seed);
            std::iter::from_fn(move || backoff.next_delay()).collect::<Vec<_>>()
        };
        let (one, other) = (delays(1), delays(2));
        assert_eq!(one.len(), 11);
        assert_eq!(one, delays(1));
        assert_ne!(one, other);
        for (turn, delay) in one.iter().enumerate() {
            let ceiling = options
                .first_delay
                .saturating_mul(1 << turn)
                .min(options.max_delay);
            assert!(*delay <= ceiling, "{delay:?} at turn {turn}");
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_found_away_is_tried_once_until_it_answers() {
    let faults = Faults::none();
    let faulty = Arc::new(Faulty::new(Arc::new(MemoryStorage::new()), faults.clone()));
    let options = RetryOptions {
        tries: 5,
        ..RetryOptions::default()
    };
    let circuit = Circuit::default();
    let store = Retrying::with_circuit(faulty, options, circuit.clone());
    faults.add(Rule::default(), Fault::Before);
    let calls = async |key: &str| {
        let before = faults.calls();
        assert!(store.get(&Key::new(key), None).await.is_err());
        faults.calls() - before
    };
    assert_eq!(calls("one").await, 5);
    assert!(
        circuit
            .away()
            .is_some_and(|why| why.contains("gave up after 5 tries"))
    );
    assert_eq!(calls("two").await, 1);
    assert!(store.list("").try_collect::<Vec<_>>().await.is_err());
    faults.clear();
    assert_eq!(calls("three").await, 1, "it is not there: an answer");
    assert_eq!(circuit.away(), None);
    faults.add(Rule::default(), Fault::Before);
    assert_eq!(calls("four").await, 5);
}
