use super::*;
use crate::storage::conformance;
use crate::storage::memory::MemoryStorage;

const MIB: u64 = 1 << 20;

fn store(upload: &RateLimit, download: &RateLimit) -> Throttled {
    Throttled::new(
        Arc::new(MemoryStorage::new()),
        Some(upload.clone()),
        Some(download.clone()),
    )
}

async fn send(store: &Throttled, objects: u64) -> Duration {
    let started = Instant::now();
    for number in 0..objects {
        let body = Bytes::from(vec![0; MIB as usize]);
        store
            .put(&Key::new(format!("packs/{number}")), body, PutMode::Overwrite)
            .await
            .unwrap();
    }
    started.elapsed()
}

#[tokio::test(start_paused = true)]
async fn conforms() {
    let limit = RateLimit::new(MIB);
    conformance::check(&store(&limit, &limit)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn holds_the_rate_on_average() {
    let limit = RateLimit::new(2 * MIB);
    let store = store(&limit, &RateLimit::new(MIB));
    let took = send(&store, 100).await.as_secs_f64();
    assert!((48.0..=50.5).contains(&took), "100 MiB at 2 MiB/s took {took} s");

    let started = Instant::now();
    for number in 0..10 {
        store
            .get(&Key::new(format!("packs/{number}")), None)
            .await
            .unwrap();
    }
    let took = started.elapsed().as_secs_f64();
    assert!((8.0..=10.5).contains(&took), "10 MiB at 1 MiB/s took {took} s");
}

#[tokio::test(start_paused = true)]
async fn an_object_larger_than_the_rate_passes() {
    let limit = RateLimit::new(MIB / 4);
    let store = store(&limit, &limit);
    let took = send(&store, 3).await.as_secs_f64();
    assert!((6.0..=12.0).contains(&took), "3 MiB at 256 KiB/s took {took} s");
}

#[tokio::test(start_paused = true)]
async fn several_stores_share_one_rate() {
    let limit = RateLimit::new(MIB);
    let (one, two) = (store(&limit, &limit), store(&limit, &limit));
    let started = Instant::now();
    tokio::join!(send(&one, 10), send(&two, 10));
    let took = started.elapsed().as_secs_f64();
    assert!((17.0..=20.5).contains(&took), "20 MiB at 1 MiB/s took {took} s");
}

#[tokio::test(start_paused = true)]
async fn the_rate_may_change_while_others_wait() {
    let limit = RateLimit::new(1);
    let store = store(&limit, &limit);
    send(&store, 1).await;
    let waiting = async { send(&store, 10).await };
    let raising = async {
        sleep(Duration::from_secs(100)).await;
        limit.set(MIB);
    };
    let (took, ()) = tokio::join!(waiting, raising);
    assert!(took < Duration::from_secs(180), "{took:?}");
}
