//! One test body that every backend, decorated or not, must pass.
//!
//! [`check`] wants an empty store and leaves objects behind. It panics where the store breaks the contract of
//! [`Storage`] and gives errors of the store back.

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::storage::{Error, Key, MAX_OBJECT, ObjectMeta, PutMode, PutOutcome, Result, Storage};

/// More objects than one page of a listing holds, in any backend.
const MANY: usize = 1100;

/// Runs all cases on the empty store `store`.
pub async fn check(store: &dyn Storage) -> Result<()> {
    empty(store).await?;
    whole_and_ranges(store).await?;
    overwrite_and_create(store).await?;
    one_create_wins(store).await?;
    folders_are_no_objects(store).await?;
    order_of_names(store).await?;
    deletes(store).await?;
    refuses_what_is_no_object(store).await?;
    probe(store).await
}

/// Lists more than one page: slow on slow servers, so apart from [`check`].
pub async fn check_pages(store: &dyn Storage) -> Result<()> {
    let name = |number: usize| format!("pages/{:02x}/{number:05}", number % 7);
    stream::iter(0..MANY)
        .map(|number| async move {
            store
                .put(
                    &Key::new(name(number)),
                    Bytes::from_static(b"x"),
                    PutMode::Overwrite,
                )
                .await
        })
        .buffer_unordered(8)
        .try_collect::<Vec<_>>()
        .await?;
    let mut wanted: Vec<String> = (0..MANY).map(name).collect();
    wanted.sort_unstable();
    assert_eq!(
        names(store, "pages/").await?,
        wanted,
        "all names, once each, in order"
    );

    let middle = Key::new(wanted[MANY / 2].clone());
    let rest: Vec<ObjectMeta> = store.list_after("pages/", Some(&middle)).try_collect().await?;
    let rest: Vec<&str> = rest.iter().map(|meta| meta.key.as_str()).collect();
    assert_eq!(rest, wanted[MANY / 2 + 1..], "a listing behind a name");
    Ok(())
}

async fn empty(store: &dyn Storage) -> Result<()> {
    assert!(
        names(store, "").await?.is_empty(),
        "the store must be empty to begin with"
    );
    assert!(names(store, "absent/").await?.is_empty());
    let absent = Key::new("absent/object");
    assert!(matches!(store.get(&absent, None).await, Err(Error::NotFound(key)) if key == absent));
    assert!(matches!(
        store.get(&absent, Some(0..1)).await,
        Err(Error::NotFound(_))
    ));
    assert!(matches!(
        store.get(&absent, Some(0..0)).await,
        Err(Error::NotFound(_))
    ));
    assert!(matches!(store.head(&absent).await, Err(Error::NotFound(key)) if key == absent));
    assert!(!store.location().is_empty());
    Ok(())
}

async fn whole_and_ranges(store: &dyn Storage) -> Result<()> {
    let key = Key::new("packs/0a/ranges");
    let body: Bytes = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let size = body.len() as u64;
    assert_eq!(
        store.put(&key, body.clone(), PutMode::Overwrite).await?,
        PutOutcome::Stored
    );
    assert_eq!(store.head(&key).await?.size, size);
    assert_eq!(store.get(&key, None).await?, body);
    for range in [0..1, 0..size, 5..4096, size - 1..size, 70_001..300_000] {
        let wanted = super::slice(&body, &range);
        assert_eq!(
            store.get(&key, Some(range.clone())).await?,
            wanted,
            "range {range:?}"
        );
    }
    assert_eq!(
        store.get(&key, Some(size - 3..size + 10)).await?,
        super::slice(&body, &(size - 3..size)),
        "clamped"
    );
    assert!(
        store.get(&key, Some(size..size + 10)).await?.is_empty(),
        "behind the end"
    );
    assert!(store.get(&key, Some(7..7)).await?.is_empty(), "an empty range");

    let nothing = Key::new("packs/0a/nothing");
    store.put(&nothing, Bytes::new(), PutMode::Overwrite).await?;
    assert_eq!(store.head(&nothing).await?.size, 0);
    assert!(store.get(&nothing, None).await?.is_empty());
    assert!(store.get(&nothing, Some(0..10)).await?.is_empty());
    Ok(())
}

async fn overwrite_and_create(store: &dyn Storage) -> Result<()> {
    let key = Key::new("config");
    let (one, two) = (Bytes::from_static(b"one"), Bytes::from_static(b"number two"));
    assert_eq!(
        store.put(&key, one.clone(), PutMode::Create).await?,
        PutOutcome::Stored
    );
    assert_eq!(
        store.put(&key, one.clone(), PutMode::Overwrite).await?,
        PutOutcome::Stored,
        "again is harmless"
    );
    assert_eq!(
        store.put(&key, two.clone(), PutMode::Create).await?,
        PutOutcome::Exists
    );
    assert_eq!(
        store.get(&key, None).await?,
        one,
        "create-only leaves what is there"
    );
    assert_eq!(
        store.put(&key, two.clone(), PutMode::Overwrite).await?,
        PutOutcome::Stored
    );
    assert_eq!(store.get(&key, None).await?, two);
    Ok(())
}

/// Of many that create one name at once, one is told that it did.
async fn one_create_wins(store: &dyn Storage) -> Result<()> {
    let key = Key::new("race/object");
    let key = &key;
    let outcomes: Vec<(u8, PutOutcome)> = stream::iter(0..8_u8)
        .map(|racer| async move {
            let outcome = store
                .put(key, Bytes::from(vec![racer; 1000]), PutMode::Create)
                .await?;
            Ok::<_, Error>((racer, outcome))
        })
        .buffer_unordered(8)
        .try_collect()
        .await?;
    let winners: Vec<u8> = outcomes
        .iter()
        .filter(|(_, outcome)| *outcome == PutOutcome::Stored)
        .map(|(racer, _)| *racer)
        .collect();
    assert_eq!(winners.len(), 1, "one winner: {outcomes:?}");
    assert_eq!(store.get(key, None).await?, vec![winners[0]; 1000]);
    Ok(())
}

async fn folders_are_no_objects(store: &dyn Storage) -> Result<()> {
    store
        .put(
            &Key::new("folder/below/object"),
            Bytes::from_static(b"x"),
            PutMode::Overwrite,
        )
        .await?;
    for folder in ["folder", "folder/below"] {
        let key = Key::new(folder);
        assert!(
            matches!(store.head(&key).await, Err(Error::NotFound(_))),
            "head of {folder}"
        );
        assert!(
            matches!(store.get(&key, None).await, Err(Error::NotFound(_))),
            "get of {folder}"
        );
    }
    Ok(())
}

async fn order_of_names(store: &dyn Storage) -> Result<()> {
    // '-' and '.' come before '/', '0' behind it: a walk over folders has to mind that.
    let wanted = [
        "order/a-b",
        "order/a.b",
        "order/a/b",
        "order/a/c/d",
        "order/a0",
        "order/b",
    ];
    for name in wanted.iter().rev() {
        store
            .put(
                &Key::new(*name),
                Bytes::from_static(b"1234567"),
                PutMode::Overwrite,
            )
            .await?;
    }
    assert_eq!(names(store, "order/").await?, wanted);
    assert_eq!(names(store, "order/a/").await?, wanted[2..4]);
    assert_eq!(
        names(store, "order/a").await?,
        wanted[..5],
        "a prefix need not end at a folder"
    );
    assert!(names(store, "orde/").await?.is_empty());
    for after in 0..wanted.len() {
        let rest: Vec<ObjectMeta> = store
            .list_after("order/", Some(&Key::new(wanted[after])))
            .try_collect()
            .await?;
        let rest: Vec<&str> = rest.iter().map(|meta| meta.key.as_str()).collect();
        assert_eq!(rest, wanted[after + 1..], "behind {}", wanted[after]);
    }
    let listed: Vec<ObjectMeta> = store.list("order/").try_collect().await?;
    for meta in listed {
        assert_eq!(meta.size, 7);
        assert_eq!(store.head(&meta.key).await?.size, 7);
    }
    Ok(())
}

async fn deletes(store: &dyn Storage) -> Result<()> {
    let key = Key::new("order/a/c/d");
    store.delete(&key).await?;
    assert!(matches!(store.get(&key, None).await, Err(Error::NotFound(_))));
    assert_eq!(names(store, "order/a/").await?, ["order/a/b"]);
    store.delete(&key).await?;
    store.delete(&Key::new("never/was")).await?;
    assert_eq!(
        store
            .put(&key, Bytes::from_static(b"back"), PutMode::Create)
            .await?,
        PutOutcome::Stored
    );
    Ok(())
}

async fn refuses_what_is_no_object(store: &dyn Storage) -> Result<()> {
    for name in ["", "/etc/passwd", "a/../../b", "a//b", "a/", "./a", "a\0b"] {
        let answer = store.put(&Key::new(name), Bytes::new(), PutMode::Overwrite).await;
        assert!(matches!(answer, Err(Error::Other { .. })), "{name:?}: {answer:?}");
    }
    let large = Bytes::from(vec![0; usize::try_from(MAX_OBJECT).unwrap_or(usize::MAX) + 1]);
    let answer = store.put(&Key::new("large"), large, PutMode::Overwrite).await;
    assert!(matches!(answer, Err(Error::Other { .. })));
    Ok(())
}

async fn probe(store: &dyn Storage) -> Result<()> {
    let key = Key::new("config");
    let before = store.get(&key, None).await?;
    let capabilities = store.probe(&key).await?;
    assert_eq!(store.get(&key, None).await?, before, "a probe changes nothing");
    assert_eq!(store.capabilities(), capabilities);
    Ok(())
}

async fn names(store: &dyn Storage, prefix: &str) -> Result<Vec<String>> {
    store
        .list(prefix)
        .map_ok(|meta| meta.key.to_string())
        .try_collect()
        .await
}
