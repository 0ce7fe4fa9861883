//! Watching a run.

use dr_proto::model::{AgentMessage, Progress, TaskUpdate};
use dr_proto::v1;
use dr_proto::v1::run_event::Event;
use tonic::{Code, Streaming};

use crate::world::{PATIENCE, World, ask, check, passed, snapshot, word};

async fn next(events: &mut Streaming<v1::RunEvent>) -> Option<Event> {
    let event = tokio::time::timeout(PATIENCE, events.message())
        .await
        .expect("an event in time")
        .unwrap();
    event.map(|event| event.event.unwrap())
}

async fn watch(world: &World, id: &str) -> Streaming<v1::RunEvent> {
    let mut runs = world.operator().await.runs();
    runs.watch_run(v1::WatchRunRequest { id: id.to_owned() })
        .await
        .unwrap()
        .into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_the_run_its_progress_and_its_end() {
    let world = World::start().await;
    let mut agent = world.agent("db-1").await;
    let run = world
        .operator()
        .await
        .runs()
        .start_run(ask("1", "db-1", check()))
        .await
        .unwrap()
        .into_inner();
    let mut events = watch(&world, &run.id).await;
    match next(&mut events).await {
        Some(Event::Run(first)) => assert_eq!(first.id, run.id),
        other => panic!("the run comes first: {other:?}"),
    }
    let start = agent.start().await;
    let update = TaskUpdate {
        key: start.key,
        progress: Progress {
            bytes_done: 99,
            ..Progress::default()
        },
    };
    agent.say(AgentMessage::Update(update)).await;
    loop {
        match next(&mut events).await {
            Some(Event::Task(task))
                if task
                    .progress
                    .as_ref()
                    .is_some_and(|progress| progress.bytes_done == 99) =>
            {
                break;
            }
            Some(_) => {}
            None => panic!("it ended too early"),
        }
    }
    agent.answer(&passed(&start)).await;
    let mut last = None;
    while let Some(event) = next(&mut events).await {
        last = Some(event);
    }
    match last {
        Some(Event::Run(run)) => assert_eq!(run.state(), v1::RunState::Passed),
        other => panic!("the end of the run is the last word: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_watcher_sees_the_end_at_once() {
    let world = World::start().await;
    let mut agent = world.agent("db-1").await;
    let run = world
        .operator()
        .await
        .runs()
        .start_run(ask("1", "db-1", snapshot()))
        .await
        .unwrap()
        .into_inner();
    let mut early = watch(&world, &run.id).await;
    let start = agent.start().await;
    agent.answer(&passed(&start)).await;
    while next(&mut early).await.is_some() {}
    let mut late = watch(&world, &run.id).await;
    let (mut runs, mut tasks) = (Vec::new(), Vec::new());
    while let Some(event) = next(&mut late).await {
        match event {
            Event::Run(run) => runs.push(run.state()),
            Event::Task(task) => tasks.push(task.state()),
        }
    }
    assert_eq!(
        (runs, tasks),
        (vec![v1::RunState::Passed], vec![v1::TaskState::Passed])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_with_the_coordinator_and_says_to_come_back() {
    let mut world = World::start().await;
    let _agent = world.agent("db-1").await;
    let run = world
        .operator()
        .await
        .runs()
        .start_run(ask("1", "db-1", check()))
        .await
        .unwrap()
        .into_inner();
    let mut events = watch(&world, &run.id).await;
    next(&mut events).await;
    world.stop().await.unwrap();
    let status = loop {
        match events.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the run has not ended"),
            Err(status) => break status,
        }
    };
    assert_eq!(
        (status.code(), word(&status).as_str()),
        (Code::Unavailable, "stopping")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_not_there_can_not_be_watched() {
    let world = World::start().await;
    let mut runs = world.operator().await.runs();
    let status = runs
        .watch_run(v1::WatchRunRequest {
            id: "deadbeef".to_owned(),
        })
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}
