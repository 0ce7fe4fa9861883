//! A coordinator that is started again on the same store.

use dr_proto::model::{AgentMessage, GoodbyeReason, Progress, TaskUpdate};
use dr_proto::v1;

use crate::world::{World, ask, check, fence, passed, snapshot, until};

async fn state(world: &World, run: &str) -> v1::RunState {
    let mut runs = world.operator().await.runs();
    let detail = runs
        .get_run(v1::GetRunRequest { id: run.to_owned() })
        .await
        .unwrap()
        .into_inner();
    detail.run.unwrap().state()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_reaches_its_end_across_a_restart() {
    let mut world = World::start().await;
    let mut agent = world.agent("db-1").await;
    let run = world
        .operator()
        .await
        .runs()
        .start_run(ask("r-1", "db-1", check()))
        .await
        .unwrap()
        .into_inner();
    let start = agent.start().await;
    let update = TaskUpdate {
        key: start.key,
        progress: Progress::default(),
    };
    agent.say(AgentMessage::Update(update)).await;
    until("it runs", || async {
        let task = world.store.tasks().get(start.key.task).await.unwrap()?;
        (task.state == dr_proto::model::TaskState::Running).then_some(())
    })
    .await;
    let before = world.epoch;
    world.restart().await;
    assert_eq!(agent.goodbye().await, GoodbyeReason::Shutdown);
    assert!(world.epoch > before, "each start is a new incarnation");
    let mut agent = world
        .agent_with("db-1", |hello| hello.tasks = vec![start.key])
        .await;
    assert_eq!(state(&world, &run.id).await, v1::RunState::Running);
    agent.answer(&passed(&start)).await;
    until("the run has passed", || async {
        (state(&world, &run.id).await == v1::RunState::Passed).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_not_handed_out_before_is_handed_out_by_the_next_incarnation() {
    let mut world = World::start().await;
    drop(world.agent("db-1").await);
    let run = world
        .operator()
        .await
        .runs()
        .start_run(ask("r-1", "db-1", snapshot()))
        .await
        .unwrap()
        .into_inner();
    world.restart().await;
    let mut agent = world.agent("db-1").await;
    let start = agent.start().await;
    assert_eq!(start.key.fence, fence(world.epoch, 1));
    agent.answer(&passed(&start)).await;
    until("the run has passed", || async {
        (state(&world, &run.id).await == v1::RunState::Passed).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_was_filed_before_is_acknowledged_after() {
    let mut world = World::start().await;
    let mut agent = world.agent("db-1").await;
    world
        .operator()
        .await
        .runs()
        .start_run(ask("r-1", "db-1", snapshot()))
        .await
        .unwrap();
    let start = agent.start().await;
    agent.answer(&passed(&start)).await;
    world.restart().await;
    let mut agent = world.agent("db-1").await;
    agent.answer(&passed(&start)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_coordinator_makes_room_for_a_newer_one_on_the_same_store() {
    let mut world = World::start().await;
    world.store.epochs().begin("another").await.unwrap();
    let ended = until("it stops by itself", || async { world.is_over().then_some(()) }).await;
    let () = ended;
    let error = world.stop().await.expect_err("it says why");
    assert!(error.to_string().contains("took over"), "{error}");
}
