use std::time::Duration;

use dr_proto::model::{DrillKind, DrillWork, Fence, Labels, SnapshotWork, SourceKind, Work};
use dr_store::runs::Rollout;
use jiff::SignedDuration;
use proptest::prelude::*;

use super::super::testing::host;
use super::*;

fn now() -> Timestamp {
    "2026-11-26T03:00:00Z".parse().unwrap()
}

fn run(origin: Origin, rollout: Rollout) -> RunRecord {
    RunRecord {
        id: RunId::new(now()),
        state: RunState::Running,
        slot: None,
        plan_hash: None,
        work: "snapshot".to_owned(),
        origin,
        requested_by: "ana".to_owned(),
        reason: String::new(),
        created: now(),
        started: None,
        finished: None,
        retries: 0,
        retried: None,
        explanation: String::new(),
        traceparent: None,
        rollout,
        excluded: Vec::new(),
        tasks: BTreeMap::new(),
    }
}

/// A run that was made by this.
pub(crate) fn run_by(origin: Origin) -> RunRecord {
    run(origin, Rollout::default())
}

fn task(run: RunId, name: &str, wave: u32, state: TaskState) -> TaskRecord {
    TaskRecord {
        id: TaskId::new(now()),
        run,
        slot: None,
        host: host(name),
        agent: host(name),
        state,
        fence: Fence { epoch: 1, attempt: 1 },
        retries: 0,
        wave,
        work: Work::Snapshot(SnapshotWork::default()),
        cause: String::new(),
        explanation: String::new(),
        not_before: now(),
        start_by: None,
        allowance: Duration::from_secs(60),
        queued: now(),
        offered: None,
        started: None,
        finished: None,
        deadline: None,
        cancel_reason: None,
        missing_since: None,
        proof: None,
        time_to_usable: None,
        rpo: None,
        has_document: false,
    }
}

/// A task in this state, told to stop or not.
pub(crate) fn one(state: TaskState, cancelled: bool) -> TaskRecord {
    let mut task = task(RunId::new(now()), "db-1", 1, state);
    task.cancel_reason = cancelled.then(|| "wrong week".to_owned());
    task
}

/// A fleet whose tasks an agent can end, wave by wave.
struct World {
    run: RunRecord,
    tasks: Vec<TaskRecord>,
    fleet: FleetState,
    connected: BTreeSet<HostName>,
    caps: Caps,
}

impl World {
    fn new(hosts: usize, racks: usize, caps: Caps, wave_of: impl Fn(usize) -> u32, rollout: Rollout) -> Self {
        let run = run(Origin::Schedule, rollout);
        let mut fleet = FleetState::default();
        let mut tasks = Vec::new();
        for index in 0..hosts {
            let name = format!("db-{index:03}");
            let facts = HostFacts {
                labels: Labels::parse([format!("rack=r{}", index % racks).as_str()]).unwrap(),
                enrolled: true,
                ..HostFacts::default()
            };
            fleet.hosts.insert(host(&name), facts);
            tasks.push(task(run.id, &name, wave_of(index), TaskState::Queued));
        }
        let connected = fleet.hosts.keys().cloned().collect();
        Self {
            run,
            tasks,
            fleet,
            connected,
            caps,
        }
    }

    fn choose(&self) -> Choice {
        let open: Vec<TaskRecord> = self
            .tasks
            .iter()
            .filter(|task| !task.state.is_final())
            .cloned()
            .collect();
        let runs = BTreeMap::from([(self.run.id, self.run.clone())]);
        let mut tallies: BTreeMap<u32, Tally> = BTreeMap::new();
        for task in &self.tasks {
            *tallies
                .entry(task.wave)
                .or_default()
                .entry(task.state)
                .or_default() += 1;
        }
        choose(&Situation {
            now: now(),
            open: &open,
            runs: &runs,
            waves: &BTreeMap::from([(self.run.id, tallies)]),
            fleet: &self.fleet,
            connected: &self.connected,
            caps: &self.caps,
        })
    }

    fn start(&mut self, choice: &Choice) {
        for task in self
            .tasks
            .iter_mut()
            .filter(|task| choice.start.contains(&task.id))
        {
            assert_eq!(task.state, TaskState::Queued);
            task.state = TaskState::Offered;
        }
    }

    fn at_work(&self) -> impl Iterator<Item = &TaskRecord> {
        let at_work = |task: &&TaskRecord| matches!(task.state, TaskState::Offered | TaskState::Running);
        self.tasks.iter().filter(at_work)
    }

    /// That no cap is passed and no wave runs ahead.
    fn check(&self) {
        assert!(self.at_work().count() <= self.caps.tasks);
        let mut racks: BTreeMap<&str, usize> = BTreeMap::new();
        for task in self.at_work() {
            let rack = self.fleet.hosts[&task.agent].labels.get("rack").unwrap();
            *racks.entry(rack).or_default() += 1;
            let earlier = self.tasks.iter().filter(|other| other.wave < task.wave);
            assert!(
                earlier.clone().all(|other| other.state.is_final()),
                "wave {} runs ahead",
                task.wave
            );
        }
        let most = self.caps.per_label.get("rack").copied().unwrap_or(usize::MAX);
        assert!(racks.values().all(|busy| *busy <= most), "{racks:?}");
    }
}

fn caps(tasks: usize, per_host: usize, per_rack: Option<usize>) -> Caps {
    Caps {
        tasks,
        per_host,
        per_label: per_rack
            .map(|most| ("rack".to_owned(), most))
            .into_iter()
            .collect(),
    }
}

fn why(world: &World) -> Vec<String> {
    world.choose().waiting.into_iter().map(|(_, why)| why).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever ends in whatever order, no cap is ever passed, no wave runs ahead, and everybody gets their turn.
    #[test]
    fn caps_and_waves_hold_and_nobody_starves(
        hosts in 1_usize..40, racks in 1_usize..5, all in 1_usize..10, per_rack in 1_usize..4, waves in 1_u32..4,
        picks in prop::collection::vec(any::<prop::sample::Index>(), 200),
    ) {
        let wave_of = |index: usize| 1 + u32::try_from(index).unwrap() % waves;
        let mut world = World::new(hosts, racks, caps(all, 1, Some(per_rack)), wave_of, Rollout::default());
        let mut picks = picks.into_iter();
        while world.tasks.iter().any(|task| !task.state.is_final()) {
            let choice = world.choose();
            world.start(&choice);
            world.check();
            let busy: Vec<TaskId> = world.at_work().map(|task| task.id).collect();
            prop_assert!(!busy.is_empty(), "nothing is at work and something waits: {:?}", why(&world));
            let Some(pick) = picks.next() else { break };
            let ended = *pick.get(&busy);
            let task = world.tasks.iter_mut().find(|task| task.id == ended).unwrap();
            task.state = TaskState::Passed;
        }
        prop_assert!(world.tasks.iter().all(|task| task.state.is_final()));
    }
}

#[test]
fn one_agent_is_asked_as_much_as_it_may_be() {
    let mut world = World::new(1, 1, caps(10, 1, None), |_| 1, Rollout::default());
    let mut second = world.tasks[0].clone();
    second.id = TaskId::new(now());
    world.tasks.push(second);
    let choice = world.choose();
    assert_eq!(choice.start.len(), 1);
    assert_eq!(choice.waiting[0].1, "waits: 1 may be at work on db-000 at a time");
}

#[test]
fn everything_that_holds_a_task_up_is_said() {
    let mut world = World::new(1, 1, caps(1, 1, None), |_| 1, Rollout::default());
    world.connected.clear();
    assert_eq!(why(&world), ["waits for the agent of db-000 to connect"]);
    let facts = world.fleet.hosts.get_mut(&host("db-000")).unwrap();
    facts.suspended = Some(super::super::fleet::Hold {
        reason: "fleet by ana: upgrade".to_owned(),
        until: Some(now() + SignedDuration::from_hours(1)),
    });
    assert_eq!(
        why(&world),
        ["waits: suspended until 2026-11-26T04:00:00Z, fleet by ana: upgrade"]
    );
    world.fleet.hosts.get_mut(&host("db-000")).unwrap().barred = Some("revoked: stolen".to_owned());
    assert_eq!(why(&world), ["waits: db-000 is revoked: stolen"]);
    world.tasks[0].not_before = now() + SignedDuration::from_mins(5);
    assert_eq!(why(&world), ["waits until 2026-11-26T03:05:00Z"]);
    world.run.state = RunState::Cancelling;
    assert_eq!(why(&world), ["waits for its run to begin"]);
}

#[test]
fn an_agent_that_would_do_something_else_is_not_asked() {
    let mut world = World::new(2, 1, caps(10, 1, None), |_| 1, Rollout::default());
    let narrow = Work::Drill(DrillWork {
        kind: DrillKind::Verify,
        snapshot: "latest".to_owned(),
        from_host: None,
        bytes_budget: None,
        hooks: Vec::new(),
        recall_tolerance: None,
        only: Some(SourceKind::AuditLog),
        loss: None,
        bytes_cycle: None,
        content_cycle: None,
    });
    for task in &mut world.tasks {
        task.work = narrow.clone();
    }
    let old = world.fleet.hosts.get_mut(&host("db-000")).unwrap();
    old.version = "0.0.9".to_owned();
    let new = world.fleet.hosts.get_mut(&host("db-001")).unwrap();
    new.capabilities = vec![capability::DRILL_ONLY.to_owned()];
    let choice = world.choose();
    assert_eq!(choice.start, [world.tasks[1].id]);
    let why = "the agent of db-000 is dr-agent 0.0.9, which does not understand drill.only: upgrade it";
    assert_eq!(choice.beyond, [(world.tasks[0].key(), why.to_owned())]);
    // While it is away it may be upgraded.
    world.connected.remove(&host("db-000"));
    assert!(world.choose().beyond.is_empty());
}

#[test]
fn one_that_waits_holds_up_nobody_else() {
    let mut world = World::new(3, 3, caps(10, 1, None), |_| 1, Rollout::default());
    world.connected.remove(&host("db-000"));
    assert_eq!(world.choose().start.len(), 2);
}

#[test]
fn operators_go_before_the_clock() {
    let scheduled = World::new(1, 1, caps(1, 1, None), |_| 1, Rollout::default());
    let asked = run(Origin::Operator, Rollout::default());
    let mine = task(asked.id, "db-000", 1, TaskState::Queued);
    let open = [scheduled.tasks[0].clone(), mine.clone()];
    let runs = BTreeMap::from([(scheduled.run.id, scheduled.run.clone()), (asked.id, asked)]);
    let choice = choose(&Situation {
        now: now(),
        open: &open,
        runs: &runs,
        waves: &BTreeMap::new(),
        fleet: &scheduled.fleet,
        connected: &scheduled.connected,
        caps: &scheduled.caps,
    });
    assert_eq!(choice.start, [mine.id]);
}

#[test]
fn a_failed_first_host_stops_the_run_and_one_of_a_hundred_does_not() {
    let rollout = || Rollout {
        waves: 2,
        stop_failed: Some(0.02),
        ..Rollout::default()
    };
    let first_alone = |index| if index == 0 { 1 } else { 2 };
    let mut world = World::new(100, 1, caps(200, 1, None), first_alone, rollout());
    world.tasks[0].state = TaskState::Failed;
    let choice = world.choose();
    assert_eq!(choice.stop.len(), 1);
    assert!(
        choice.stop[0].1.starts_with("1 of 1 asked hosts failed"),
        "{}",
        choice.stop[0].1
    );
    assert!(choice.start.is_empty(), "nothing of a stopped run is handed out");

    let mut world = World::new(100, 1, caps(200, 1, None), |_| 1, rollout());
    world.tasks[0].state = TaskState::Failed;
    let choice = world.choose();
    assert!(choice.stop.is_empty());
    assert_eq!(choice.start.len(), 99);
}

#[test]
fn lost_expired_and_refused_hosts_count_as_inconclusive() {
    let rollout = Rollout {
        stop_inconclusive: Some(0.2),
        ..Rollout::default()
    };
    let mut world = World::new(10, 1, caps(20, 1, None), |_| 1, rollout);
    for (task, state) in world.tasks.iter_mut().zip([TaskState::Lost, TaskState::Expired]) {
        task.state = state;
    }
    assert!(world.choose().stop.is_empty(), "2 of 10 are 20 %, not more");
    world.tasks[2].state = TaskState::Refused;
    assert!(
        world.choose().stop[0]
            .1
            .starts_with("3 of 10 asked hosts were inconclusive")
    );
}
