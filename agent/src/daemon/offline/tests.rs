use std::path::Path;
use std::sync::Arc;

use dr_proto::model::{Suspension, TaskState, Work};
use tempfile::TempDir;

use super::*;
use crate::daemon::executor::Halt;
use crate::daemon::journal::Journal;
use crate::daemon::testing::{StandingClock, outcome, owed, time};

const SNAPSHOTS: &str = "schema = 1\nname = \"hourly\"\nselect = { labels = \"env=prod\" }\n\
                         schedule = { cron = \"0 * * * *\", timezone = \"UTC\" }\ndrill = { kind = \"snapshot\" }\n";

struct Rig {
    dir: TempDir,
    offline: Offline,
    clock: Arc<StandingClock>,
    standing: watch::Sender<Standing>,
    _inventory: watch::Sender<Option<Inventory>>,
}

fn gate(dir: &Path) -> Gate {
    Gate::new(dir.join("SUSPEND"))
}

/// A host that was given plans at 03:00, the clock's beginning, and lost its coordinator then.
async fn rig(plans: &[&str]) -> Rig {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clock = StandingClock::new();
    let now = time("2026-01-02T03:00:00Z");
    let journal = Journal::open(&dir.path().join("daemon")).expect("open the journal");
    let desk = Desk::open(journal, now).expect("open the desk");
    let (standing, seen) = watch::channel(Standing::Away {
        since: now,
        reason: None,
    });
    let (inventory, protects) = watch::channel(None);
    let texts = plans.iter().map(|text| PlanText {
        name: Plan::parse(text).expect("a plan").name,
        text: (*text).to_owned(),
        hash: String::new(),
    });
    desk.set_plans(texts.collect()).await.expect("plans");
    desk.set_labels(Labels::parse(["env=prod"]).expect("labels"))
        .await
        .expect("labels");
    desk.contact(now).await.expect("contact");
    let offline = Offline {
        host: "host-1".parse().expect("a host"),
        lasts: Duration::from_secs(7 * 86_400),
        desk,
        gate: gate(dir.path()),
        standing: seen,
        inventory: protects,
        clock: clock.clone(),
    };
    Rig {
        dir,
        offline,
        clock,
        standing,
        _inventory: inventory,
    }
}

impl Rig {
    async fn after(&self, minutes: u64) -> Looked {
        self.clock.advance(Duration::from_secs(minutes * 60));
        self.offline.look().await.expect("no panic")
    }
}

fn began(at: &str) -> Looked {
    Looked::Began(vec![Slot {
        plan: "hourly".to_owned(),
        at: time(at),
    }])
}

#[tokio::test]
async fn slots_that_fall_due_are_begun_once_and_carry_their_slot() {
    let rig = rig(&[SNAPSHOTS]).await;
    assert_eq!(rig.after(59).await, Looked::Began(Vec::new()), "not due yet");
    assert_eq!(rig.after(1).await, began("2026-01-02T04:00:00Z"));
    assert_eq!(rig.after(1).await, Looked::Began(Vec::new()));
    let next = rig
        .offline
        .desk
        .next(&Halt::default())
        .await
        .expect("no panic")
        .expect("a task");
    assert!(matches!(&next.task.work, Work::Snapshot(work) if work.sources.is_empty()));
    assert_eq!(next.task.key.fence.epoch, OFFLINE_EPOCH);
    let slot = next.task.slot.clone();
    rig.offline
        .desk
        .finish(next.task, outcome(TaskState::Passed, "{}"))
        .await
        .expect("finish");
    assert_eq!(owed(&rig.offline.desk).await[0].slot, slot);
    assert_eq!(rig.after(58).await, Looked::Began(Vec::new()), "it was done");
    assert_eq!(rig.after(1).await, began("2026-01-02T05:00:00Z"));
}

#[tokio::test]
async fn while_a_coordinator_answers_nothing_begins_by_itself() {
    let rig = rig(&[SNAPSHOTS]).await;
    rig.standing.send_replace(Standing::Attached { epoch: 1 });
    assert_eq!(rig.after(120).await, Looked::NotNeeded);
    let since = time("2026-01-02T05:00:00Z");
    rig.standing.send_replace(Standing::Away { since, reason: None });
    assert_eq!(rig.after(1).await, Looked::NotNeeded, "it may be restarting");
    assert!(matches!(rig.after(1).await, Looked::Began(_)));
}

#[tokio::test]
async fn slots_from_before_the_coordinator_was_lost_are_its_own() {
    let rig = rig(&[SNAPSHOTS]).await;
    rig.offline
        .desk
        .contact(time("2026-01-02T04:30:00Z"))
        .await
        .expect("contact");
    assert_eq!(rig.after(95).await, Looked::Began(Vec::new()));
    assert_eq!(rig.after(25).await, began("2026-01-02T05:00:00Z"));
}

#[tokio::test]
async fn after_an_outage_of_the_host_only_the_newest_slot_is_made_up_for() {
    let rig = rig(&[SNAPSHOTS]).await;
    assert_eq!(rig.after(300).await, began("2026-01-02T08:00:00Z"));
    assert_eq!(rig.after(1).await, Looked::Began(Vec::new()));
}

#[tokio::test]
async fn plans_that_need_somebody_else_or_pick_other_hosts_do_not_go_on() {
    let restore = SNAPSHOTS
        .replace("\"snapshot\"", "\"restore\"")
        .replace("hourly", "restores");
    let elsewhere = SNAPSHOTS
        .replace("env=prod", "env=test")
        .replace("hourly", "elsewhere");
    let verify = SNAPSHOTS
        .replace("\"snapshot\"", "\"verify\"")
        .replace("hourly", "verify");
    let rig = rig(&[&restore, &elsewhere, &verify]).await;
    let Looked::Began(slots) = rig.after(60).await else {
        panic!("plans go on");
    };
    assert_eq!(
        slots.iter().map(|slot| slot.plan.as_str()).collect::<Vec<_>>(),
        ["verify"]
    );
}

#[tokio::test]
async fn a_suspended_host_begins_nothing_until_the_suspension_ends_by_itself() {
    let rig = rig(&[SNAPSHOTS]).await;
    let suspension = Suspension {
        reason: Some("freeze".to_owned()),
        until: Some(time("2026-01-02T04:30:00Z")),
    };
    rig.offline
        .desk
        .set_suspension(suspension)
        .await
        .expect("suspension");
    assert!(matches!(rig.after(60).await, Looked::Held(why) if why.contains("freeze")));
    assert_eq!(rig.after(30).await, began("2026-01-02T04:00:00Z"));
    std::fs::write(rig.dir.path().join("SUSPEND"), "by hand").expect("write");
    assert!(matches!(rig.after(60).await, Looked::Held(why) if why.contains("by hand")));
}

#[tokio::test]
async fn a_host_that_nobody_has_spoken_to_for_too_long_begins_nothing() {
    let rig = rig(&[SNAPSHOTS]).await;
    assert!(matches!(rig.after(8 * 24 * 60).await, Looked::Held(why) if why.contains("offline_schedule")));
}
