//! From the end of a run to an exit code.

use dr_proto::model::exit::Code;
use dr_proto::model::{RunState, TaskState};
use dr_proto::view::RunDetail;

/// The word of agents for rights that lack: a repository that does not open with the host's key, or a store that
/// refuses its credentials.
const DENIED: &str = "denied";
/// The word of agents for a snapshot, source or table that is not there.
const NOT_FOUND: &str = "not_found";

/// The worst host decides: 1 before 2 before 3. One host alone that does not allow what was asked, or is not allowed to
/// do it, is `denied`; one that has not got what was named is `not found`, for nothing was disproved.
pub(crate) fn code(detail: &RunDetail) -> Code {
    if let [task] = detail.tasks.as_slice()
        && (task.state == TaskState::Refused || task.cause.as_deref() == Some(DENIED))
    {
        return Code::Denied;
    }
    if let [task] = detail.tasks.as_slice()
        && task.state.is_final()
        && task.cause.as_deref() == Some(NOT_FOUND)
    {
        return Code::NotFound;
    }
    match detail.run.state {
        RunState::Passed => Code::Done,
        RunState::Failed => Code::Disproved,
        RunState::Partial => Code::Partial,
        RunState::Inconclusive
        | RunState::Cancelled
        | RunState::Pending
        | RunState::Running
        | RunState::Cancelling => Code::Inconclusive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::samples::{run, task};

    fn of(states: &[TaskState]) -> Code {
        let tasks = states.iter().map(|state| task("db", *state)).collect();
        let state = RunState::settle(states.iter().copied()).unwrap();
        code(&RunDetail {
            run: run(state),
            tasks,
            events: Vec::new(),
            notes: Vec::new(),
            left_out: Vec::new(),
        })
    }

    #[test]
    fn the_worst_host_decides() {
        use TaskState as S;
        assert_eq!(of(&[S::Passed, S::Passed]), Code::Done);
        assert_eq!(of(&[S::Passed, S::Partial]), Code::Partial);
        assert_eq!(of(&[S::Partial, S::Lost]), Code::Inconclusive);
        assert_eq!(of(&[S::Partial, S::Lost, S::Failed]), Code::Disproved);
        assert_eq!(of(&[S::Passed, S::Cancelled]), Code::Inconclusive);
        assert_eq!(of(&[]), Code::Inconclusive);
    }

    #[test]
    fn one_host_without_rights_or_without_what_was_named_has_disproved_nothing() {
        let ended = |cause: &str, states: &[TaskState]| {
            let tasks = states.iter().map(|state| dr_proto::view::Task {
                cause: Some(cause.to_owned()),
                ..task("db", *state)
            });
            code(&RunDetail {
                run: run(RunState::settle(states.iter().copied()).unwrap()),
                tasks: tasks.collect(),
                events: Vec::new(),
                notes: Vec::new(),
                left_out: Vec::new(),
            })
        };
        let both = [TaskState::Failed, TaskState::Failed];
        assert_eq!(ended(DENIED, &[TaskState::Failed]), Code::Denied);
        assert_eq!(ended(DENIED, &both), Code::Disproved);
        assert_eq!(ended(NOT_FOUND, &[TaskState::Failed]), Code::NotFound);
        assert_eq!(ended(NOT_FOUND, &[TaskState::Inconclusive]), Code::NotFound);
        assert_eq!(ended(NOT_FOUND, &both), Code::Disproved);
    }

    #[test]
    fn one_host_that_does_not_allow_it_is_denied() {
        assert_eq!(of(&[TaskState::Refused]), Code::Denied);
        assert_eq!(of(&[TaskState::Refused, TaskState::Passed]), Code::Inconclusive);
    }
}
