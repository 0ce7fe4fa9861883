//! Watches that no other coordinator works on the same store although this one holds its lock: somebody removed the lock
//! file, or the file system knows no locks. Two of them are harmless to the store (fences and unique slots see to
//! that), but agents attach to one only: the older one makes room.

use std::time::Duration;

use dr_store::Store;
use tokio::time::{MissedTickBehavior, interval};

/// How often the newest incarnation is looked up.
const EVERY: Duration = Duration::from_secs(5);

/// Waits until another incarnation than `epoch` is the newest, and says which.
pub(super) async fn taken_over(store: Store, epoch: u64) -> u64 {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match store.epochs().newest().await {
            Ok(Some(newest)) if newest.number > epoch => return newest.number,
            Ok(_) => {}
            Err(error) => {
                let error = dr_terminal::in_one_line(&error);
                tracing::warn!(%error, "the newest incarnation could not be looked up");
            }
        }
    }
}
