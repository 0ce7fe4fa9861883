use std::io::Write;

use dr_proto::model::TaskState;
use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::daemon::testing::{outcome, slot_task, task, time};

fn accepted(task: &dr_proto::model::StartTask) -> Record {
    Record::Accepted {
        task: Box::new(task.clone()),
        at: time("2026-01-02T03:00:00Z"),
    }
}

fn finished(task: &dr_proto::model::StartTask) -> TaskResult {
    TaskResult {
        key: task.key,
        outcome: outcome(TaskState::Passed, "{\"rows\":7}"),
        work: task.work.clone(),
        slot: task.slot.clone(),
    }
}

#[test]
fn what_was_written_down_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (open, ended) = (task(), slot_task(1, "2026-01-02T03:00:00Z"));
    let before = {
        let mut journal = Journal::open(dir.path()).expect("open");
        journal.record(accepted(&open)).expect("record");
        journal.record(accepted(&ended)).expect("record");
        journal.finish(finished(&ended)).expect("finish");
        journal.memory().clone()
    };
    let journal = Journal::open(dir.path()).expect("open again");
    assert_eq!(*journal.memory(), before);
    assert_eq!(journal.memory().open().count(), 1);
    let owed = &journal.memory().owed()[0];
    let complete = journal.complete(owed).expect("complete");
    assert_eq!(complete, finished(&ended), "the document comes back with it");
    assert!(journal.memory().knows_slot(ended.slot.as_ref().expect("a slot")));
}

#[test]
fn a_line_torn_by_a_crash_is_cut_off_and_the_next_one_is_whole() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let task = task();
    Journal::open(dir.path())
        .expect("open")
        .record(accepted(&task))
        .expect("record");
    let path = dir.path().join("journal");
    let whole = std::fs::metadata(&path).expect("stat").len();
    let mut file = std::fs::File::options().append(true).open(&path).expect("open");
    file.write_all(b"0123456789abcdef {\"record\":\"contact\",\"at\":\"20")
        .expect("write");
    let mut journal = Journal::open(dir.path()).expect("open again");
    assert_eq!(std::fs::metadata(&path).expect("stat").len(), whole);
    assert_eq!(journal.memory().open().count(), 1);
    journal
        .record(Record::Acknowledged { key: task.key })
        .expect("record");
    assert!(
        Journal::open(dir.path())
            .expect("open")
            .memory()
            .opened(&task.key)
            .is_some()
    );
}

#[test]
fn a_line_changed_on_the_disk_takes_no_other_with_it_and_is_set_aside() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (first, second) = (task(), task());
    {
        let mut journal = Journal::open(dir.path()).expect("open");
        journal.record(accepted(&first)).expect("record");
        journal.record(accepted(&second)).expect("record");
    }
    let path = dir.path().join("journal");
    let mut bytes = std::fs::read(&path).expect("read");
    let middle = bytes.iter().position(|byte| *byte == b'{').expect("a record") + 20;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).expect("write");
    let journal = Journal::open(dir.path()).expect("open again");
    assert!(journal.memory().opened(&first.key).is_none());
    assert!(journal.memory().opened(&second.key).is_some());
    assert_eq!(
        std::fs::read(dir.path().join("journal.damaged")).expect("read"),
        bytes
    );
}

#[test]
fn a_newer_journal_and_another_file_are_refused_by_name() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("journal");
    std::fs::write(&path, "drctl agent journal 2\n").expect("write");
    assert!(matches!(
        Journal::open(dir.path()),
        Err(Error::Newer { version: 2, .. })
    ));
    for other in ["something else\n", ""] {
        std::fs::write(&path, other).expect("write");
        let error = Journal::open(dir.path()).expect_err("it is no journal");
        assert!(matches!(error, Error::NotAJournal { .. }), "{error}");
        let failure = crate::error::Failure::from(error);
        assert_eq!(failure.class(), crate::error::Class::Configuration, "{failure}");
    }
}

/// A coordinator that lost its store has no plans and says so; if it loses that store too, agents still know them.
#[test]
fn the_last_plans_that_were_any_are_kept_for_an_empty_coordinator() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut journal = Journal::open(dir.path()).expect("open");
    let nightly = vec![dr_proto::model::PlanText {
        name: "nightly".to_owned(),
        text: "x".repeat(32 << 10),
        hash: "1".to_owned(),
    }];
    for _ in 0..40 {
        let plans = nightly.clone();
        journal.record(Record::Plans { plans }).expect("record");
        let plans = Vec::new();
        journal.record(Record::Plans { plans }).expect("record");
    }
    let length = std::fs::metadata(dir.path().join("journal")).expect("stat").len();
    assert!(length < 2 * SMALL, "it was rewritten meanwhile: {length}");
    let again = Journal::open(dir.path()).expect("open again");
    for memory in [journal.memory(), again.memory()] {
        assert!(memory.plans().is_empty(), "nothing is done by them");
        assert_eq!(memory.plans_to_recall(), nightly);
    }
}

#[test]
fn it_is_rewritten_when_most_of_it_is_past_and_says_the_same() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut journal = Journal::open(dir.path()).expect("open");
    let plans = |number: usize| Record::Plans {
        plans: vec![dr_proto::model::PlanText {
            name: "nightly".to_owned(),
            text: format!("{number}{}", "x".repeat(64 << 10)),
            hash: number.to_string(),
        }],
    };
    let kept = task();
    journal.record(accepted(&kept)).expect("record");
    for number in 0..40 {
        journal.record(plans(number)).expect("record");
    }
    let length = std::fs::metadata(dir.path().join("journal")).expect("stat").len();
    assert!(length < 2 * SMALL, "{length}");
    let again = Journal::open(dir.path()).expect("open again");
    assert_eq!(again.memory(), journal.memory());
    assert_eq!(again.memory().plans()[0].hash, "39");
    assert!(again.memory().opened(&kept.key).is_some());
}

#[test]
fn documents_of_forgotten_results_are_removed() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut journal = Journal::open(dir.path()).expect("open");
    for number in 0..=HISTORY {
        let task = task();
        let mut result = finished(&task);
        result.outcome.document = number.to_string().into_bytes();
        journal.finish(result).expect("finish");
        journal
            .record(Record::Acknowledged { key: task.key })
            .expect("record");
    }
    assert_eq!(journal.memory().history().count(), HISTORY);
    drop(journal);
    let journal = Journal::open(dir.path()).expect("open again");
    let files = std::fs::read_dir(dir.path().join("documents"))
        .expect("list")
        .count();
    assert_eq!(files, HISTORY);
    let newest = journal.memory().history().last().expect("one");
    assert_eq!(
        journal.complete(newest).expect("complete").outcome.document,
        HISTORY.to_string().into_bytes()
    );
}

#[test]
fn a_document_changed_on_the_disk_is_not_sent_as_if_it_were_right() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut journal = Journal::open(dir.path()).expect("open");
    journal.finish(finished(&task())).expect("finish");
    let answer = journal.memory().owed()[0].clone();
    let name = answer.document.as_ref().expect("a document").to_string();
    std::fs::write(dir.path().join("documents").join(name), b"{\"rows\":8}").expect("write");
    assert!(matches!(journal.complete(&answer), Err(Error::Document { .. })));
}

/// Steps that a journal may see, over a handful of tasks.
#[derive(Debug, Clone, Copy)]
enum Step {
    Accept(usize),
    Finish(usize),
    Acknowledge(usize),
    Contact(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6_usize).prop_map(Step::Accept),
        (0..6_usize).prop_map(Step::Finish),
        (0..6_usize).prop_map(Step::Acknowledge),
        (0..1000_i64).prop_map(Step::Contact),
    ]
}

proptest! {
    #[test]
    fn the_fewest_lines_say_what_all_lines_said(steps in proptest::collection::vec(step(), 0..60)) {
        let tasks: Vec<_> = (0..6).map(|at| slot_task(at % 2, &format!("2026-01-0{}T03:00:00Z", at + 1))).collect();
        let mut memory = Memory::default();
        for step in steps {
            memory.apply(match step {
                Step::Accept(at) => accepted(&tasks[at]),
                Step::Finish(at) => Record::Finished(Box::new(Answer { result: finished(&tasks[at]), document: None })),
                Step::Acknowledge(at) => Record::Acknowledged { key: tasks[at].key },
                Step::Contact(seconds) => Record::Contact {
                    at: time("2026-01-01T00:00:00Z") + SignedDuration::from_secs(seconds),
                },
            });
        }
        let mut again = Memory::default();
        memory.records().into_iter().for_each(|record| again.apply(record));
        prop_assert_eq!(again, memory);
    }
}

/// The folder that [`child`] works in.
const FOLDER: &str = "DR_TEST_JOURNAL";

/// Not a test of its own: what the next one has killed. Writes down a task, its result and its acknowledgement, then
/// so much that the journal is rewritten.
#[test]
#[ignore = "a child process of another test"]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let mut journal = Journal::open(Path::new(&folder)).expect("open");
    let task = task();
    journal.record(accepted(&task)).expect("record");
    journal.finish(finished(&task)).expect("finish");
    journal
        .record(Record::Acknowledged { key: task.key })
        .expect("record");
    for number in 0..40 {
        let plans = vec![dr_proto::model::PlanText {
            name: "nightly".to_owned(),
            text: "x".repeat(64 << 10),
            hash: number.to_string(),
        }];
        journal.record(Record::Plans { plans }).expect("record");
    }
}

/// Runs [`child`] until it reaches a point, where it is killed; `None` lets it end.
fn run_child(folder: &Path, failpoint: &str) -> std::process::ExitStatus {
    let program = std::env::current_exe().expect("the test's own program");
    let name = format!("{}::child", module_path!().split_once("::").expect("a module").1);
    std::process::Command::new(program)
        .args(["--exact", &name, "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env("DR_FAILPOINT", failpoint)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .expect("run the child")
}

#[test]
fn killed_at_any_point_it_says_what_was_confirmed_and_nothing_else() {
    use std::os::unix::process::ExitStatusExt;
    for point in FAILPOINTS {
        let dir = tempfile::tempdir().expect("a temporary folder");
        // The journal's own beginning is written like a rewriting: let that pass.
        let wanted = if *point == "journal.compacting" {
            format!("{point}:2")
        } else {
            (*point).to_owned()
        };
        let status = run_child(dir.path(), &wanted);
        assert_eq!(status.signal(), Some(9), "{point} was not reached: {status}");
        let journal = Journal::open(dir.path()).expect("open after the kill");
        let memory = journal.memory();
        let counts = (
            memory.open().count(),
            memory.owed().len(),
            memory.history().count(),
        );
        let expected = match *point {
            "journal.accepted" | "journal.document" => (1, 0, 0),
            "journal.finished" => (0, 1, 0),
            "journal.acknowledged" | "journal.compacting" => (0, 0, 1),
            other => panic!("what holds after {other} is not said here"),
        };
        assert_eq!(counts, expected, "{point}");
        for answer in memory.owed().iter().chain(memory.history()) {
            assert_eq!(
                journal.complete(answer).expect("complete").outcome.document,
                b"{\"rows\":7}"
            );
        }
        let named = memory.documents().count();
        let files = std::fs::read_dir(dir.path().join("documents"))
            .expect("list")
            .count();
        assert_eq!(files, named, "{point}: a document that nobody names is swept");
    }
}
