use super::*;
use crate::storage::conformance;
use crate::storage::memory::MemoryStorage;

fn store() -> (Faulty, Faults) {
    let faults = Faults::none();
    (
        Faulty::new(Arc::new(MemoryStorage::new()), faults.clone()),
        faults,
    )
}

#[tokio::test]
async fn without_faults_it_conforms() {
    let (store, faults) = store();
    conformance::check(&store).await.unwrap();
    conformance::check_pages(&store).await.unwrap();
    assert_eq!(faults.hits(), 0);
}

#[tokio::test]
async fn a_lost_answer_has_had_its_effect_and_a_lost_request_has_not() {
    let (store, faults) = store();
    let (one, two) = (Key::new("packs/one"), Key::new("packs/two"));
    faults.at(0, Fault::After).at(1, Fault::Before);
    for key in [&one, &two] {
        let answer = store.put(key, Bytes::from_static(b"x"), PutMode::Create).await;
        assert!(matches!(answer, Err(Error::Unavailable { .. })));
    }
    assert!(store.head(&one).await.is_ok());
    assert!(matches!(store.head(&two).await, Err(Error::NotFound(_))));
    assert_eq!((faults.calls(), faults.hits()), (4, 2));
}

#[tokio::test]
async fn rules_choose_operation_name_and_turn() {
    let (store, faults) = store();
    faults.add(Rule::on(Operation::Put, "index/").after(1).times(1), Fault::Full);
    let put = async |name: &str| store.put(&Key::new(name), Bytes::new(), PutMode::Overwrite).await;
    assert!(put("packs/one").await.is_ok());
    assert!(put("index/one").await.is_ok());
    assert!(matches!(put("index/two").await, Err(Error::NoSpace { .. })));
    assert!(put("index/two").await.is_ok());
}

#[tokio::test]
async fn bytes_are_spoilt_in_answers_only() {
    let (store, faults) = store();
    let key = Key::new("packs/one");
    store
        .put(&key, Bytes::from_static(b"0123456789"), PutMode::Create)
        .await
        .unwrap();
    faults.add(Rule::on(Operation::Get, "").times(1), Fault::Truncate);
    faults.add(Rule::on(Operation::Get, "").times(1), Fault::FlipBit);
    assert_eq!(store.get(&key, None).await.unwrap(), &b"01234"[..]);
    assert_eq!(store.get(&key, None).await.unwrap(), &b"01234\x346789"[..]);
    assert_eq!(store.get(&key, None).await.unwrap(), &b"0123456789"[..]);
}

#[tokio::test]
async fn a_seed_determines_everything() {
    let run = async |seed| {
        let (store, faults) = store();
        faults.randomly(seed, 0.3, &[Fault::Before, Fault::After]);
        let mut failed = Vec::new();
        for number in 0..100 {
            let key = Key::new(format!("packs/{number}"));
            failed.push(store.put(&key, Bytes::new(), PutMode::Overwrite).await.is_err());
        }
        failed
    };
    let (one, again, other) = (run(7).await, run(7).await, run(8).await);
    assert_eq!(one, again);
    assert_ne!(one, other);
}
