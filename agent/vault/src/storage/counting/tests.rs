use std::sync::Arc;

use futures::stream::TryStreamExt;

use super::*;
use crate::storage::conformance;
use crate::storage::faulty::{Fault, Faults, Faulty, Rule};
use crate::storage::memory::MemoryStorage;

#[tokio::test]
async fn conforms_and_counts_requests_and_bytes() {
    let (counters, faults) = (Counters::new(), Faults::none());
    let faulty = Faulty::new(Arc::new(MemoryStorage::new()), faults.clone());
    let store = Counting::new(Arc::new(faulty), counters.clone());
    conformance::check(&store).await.unwrap();

    let counters = Counters::new();
    let store = Counting {
        counters: counters.clone(),
        ..store
    };
    let key = Key::new("counted/one");
    let body = Bytes::from_static(b"12345");
    store.put(&key, body.clone(), PutMode::Create).await.unwrap();
    store.put(&key, body, PutMode::Create).await.unwrap();
    store.get(&key, Some(1..3)).await.unwrap();
    assert!(store.get(&Key::new("counted/none"), None).await.is_err());
    assert_eq!(
        store
            .list("counted/")
            .try_collect::<Vec<_>>()
            .await
            .unwrap()
            .len(),
        1
    );
    assert!(
        store
            .list("nothing/")
            .try_collect::<Vec<_>>()
            .await
            .unwrap()
            .is_empty()
    );
    faults.add(Rule::default(), Fault::Before);
    assert!(store.delete(&key).await.is_err());
    assert!(store.list("counted/").try_collect::<Vec<_>>().await.is_err());

    let wanted = [
        (Operation::Put, Outcome::Ok, 1),
        (Operation::Put, Outcome::Exists, 1),
        (Operation::Get, Outcome::Ok, 1),
        (Operation::Get, Outcome::NotFound, 1),
        (Operation::List, Outcome::Ok, 2),
        (Operation::List, Outcome::Unavailable, 1),
        (Operation::Delete, Outcome::Unavailable, 1),
    ];
    assert_eq!(counters.snapshot(), wanted);
    assert_eq!((counters.sent(), counters.received()), (10, 2));
}
