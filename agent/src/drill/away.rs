//! A store that does not answer is waited for once in a drill, not once for each question.

use dr_proto::model::{Cause, CheckResult, Rung};

use super::{Drill, judge};

impl Drill<'_> {
    /// The answer of a question that is not worth asking: the store was found away, and has not answered since.
    pub(super) fn away(&self, rung: Rung) -> Option<CheckResult> {
        let why = self.store.circuit.away()?;
        let what = format!("not asked, for the store was away just before: {why}");
        Some(judge::unasked(rung, Cause::StoreUnavailable, "store", what))
    }
}

#[cfg(test)]
mod tests;
