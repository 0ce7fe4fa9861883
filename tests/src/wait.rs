//! Waiting for what must come about: looked at again and again, with a bound, and told what was seen last if it does not.

use std::time::Duration;

use tokio::time::Instant;

/// How often it is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Looks until there is an answer; until then a look says what it sees.
///
/// # Panics
///
/// If none comes within `patience`.
#[track_caller]
pub fn until<T>(patience: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match look() {
            Ok(answer) => return answer,
            Err(seen) => assert!(Instant::now() < deadline, "not within {patience:?}: {seen}"),
        }
        std::thread::sleep(POLL);
    }
}

/// The same beside other work of this thread: simulated hosts, collectors.
///
/// # Panics
///
/// If none comes within `patience`.
pub async fn until_beside<T>(patience: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    until_answered(patience, async || look()).await
}

/// The same where a look itself waits for an answer: of a store, of a server.
///
/// # Panics
///
/// If none comes within `patience`.
pub async fn until_answered<T>(patience: Duration, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match look().await {
            Ok(answer) => return answer,
            Err(seen) => assert!(Instant::now() < deadline, "not within {patience:?}: {seen}"),
        }
        tokio::time::sleep(POLL).await;
    }
}
