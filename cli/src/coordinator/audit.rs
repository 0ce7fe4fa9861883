//! Questions about the coordinator's audit log.

use dr_proto::v1;
use dr_proto::view::{AuditCheck, AuditEntry};

use super::{CallError, Coordinator, read_all};

/// The most entries that the coordinator gives at once.
const PAGE: u32 = 1_000;

impl Coordinator {
    /// The newest entries before number `before`, newest first; 0: from the newest.
    pub(crate) async fn audit_entries(&self, limit: u32, before: u64) -> Result<Vec<AuditEntry>, CallError> {
        const DOING: &str = "list the audit log";
        let mut entries: Vec<AuditEntry> = Vec::new();
        let mut before = before;
        while entries.len() < limit as usize {
            let left = limit - u32::try_from(entries.len()).unwrap_or(limit);
            let question = v1::ListAuditRequest {
                limit: left.min(PAGE),
                before,
            };
            let ask = async |request| self.client.audit().list_audit(request).await;
            let answer = self.ask(DOING, question, ask).await?;
            let page: Vec<AuditEntry> = read_all(DOING, answer.entries)?;
            // Numbers only fall, so that this ends.
            match page.last() {
                Some(last) if before == 0 || last.number < before => before = last.number,
                _ => break,
            }
            entries.extend(page);
            if before <= 1 {
                break;
            }
        }
        Ok(entries)
    }

    pub(crate) async fn verify_audit(&self) -> Result<AuditCheck, CallError> {
        let ask = async |request| self.client.audit().verify_audit(request).await;
        let answer = self
            .ask("verify the audit log", v1::VerifyAuditRequest {}, ask)
            .await?;
        Ok(answer.into())
    }
}
