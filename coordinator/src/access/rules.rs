//! Who may call what, method by method. A method that stands in no row is refused, so that a new one is closed until
//! somebody decides.

use dr_proto::model::Role;

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Anybody who reaches the port, without a certificate too.
    Open,
    /// Agents, each for its own host.
    Agent,
    /// People and programs that look: viewers and operators.
    Viewer,
    /// People and programs that change things.
    Operator,
}

impl Rule {
    /// Whether a caller of this role may.
    pub fn admits(self, role: Role) -> bool {
        match self {
            Self::Open => true,
            Self::Agent => role == Role::Agent,
            Self::Viewer => matches!(role, Role::Viewer | Role::Operator),
            Self::Operator => role == Role::Operator,
        }
    }

    /// Who is meant, for messages.
    pub fn wanted(self) -> &'static str {
        match self {
            Self::Open => "anybody",
            Self::Agent => "an agent",
            Self::Viewer => "a viewer or operator",
            Self::Operator => "an operator",
        }
    }
}

/// The rule of a method by its path, such as `/drill.v1.Fleet/GetStatus`.
pub fn rule(path: &str) -> Option<Rule> {
    TABLE
        .iter()
        .find(|(method, _)| *method == path)
        .map(|(_, rule)| *rule)
}

/// Every method that is served.
pub const TABLE: &[(&str, Rule)] = &[
    ("/drill.v1.Enrollment/Enroll", Rule::Open),
    ("/drill.v1.AgentGateway/Attach", Rule::Agent),
    ("/drill.v1.AgentGateway/RenewCertificate", Rule::Agent),
    ("/drill.v1.Fleet/GetStatus", Rule::Viewer),
    ("/drill.v1.Fleet/ListAgents", Rule::Viewer),
    ("/drill.v1.Fleet/GetAgent", Rule::Viewer),
    ("/drill.v1.Fleet/ListSources", Rule::Viewer),
    ("/drill.v1.Fleet/ListSnapshots", Rule::Viewer),
    // Tokens are how one becomes an agent: their list is not for everybody who may look.
    ("/drill.v1.Fleet/ListTokens", Rule::Operator),
    ("/drill.v1.Fleet/CreateToken", Rule::Operator),
    ("/drill.v1.Fleet/WithdrawToken", Rule::Operator),
    ("/drill.v1.Fleet/RevokeAgent", Rule::Operator),
    ("/drill.v1.Fleet/RetireAgent", Rule::Operator),
    ("/drill.v1.Fleet/ReplaceAgent", Rule::Operator),
    ("/drill.v1.Fleet/ApproveAgent", Rule::Operator),
    ("/drill.v1.Fleet/GetInventoryDiff", Rule::Viewer),
    ("/drill.v1.Fleet/ImportInventory", Rule::Operator),
    ("/drill.v1.Fleet/Suspend", Rule::Operator),
    ("/drill.v1.Fleet/Resume", Rule::Operator),
    ("/drill.v1.Plans/ListPlans", Rule::Viewer),
    ("/drill.v1.Plans/GetPlan", Rule::Viewer),
    ("/drill.v1.Plans/PreviewPlan", Rule::Viewer),
    ("/drill.v1.Plans/ApplyPlan", Rule::Operator),
    ("/drill.v1.Plans/DeletePlan", Rule::Operator),
    ("/drill.v1.Plans/EnablePlan", Rule::Operator),
    ("/drill.v1.Runs/ListRuns", Rule::Viewer),
    ("/drill.v1.Runs/GetRun", Rule::Viewer),
    ("/drill.v1.Runs/WatchRun", Rule::Viewer),
    ("/drill.v1.Runs/GetReport", Rule::Viewer),
    ("/drill.v1.Runs/StartRun", Rule::Operator),
    ("/drill.v1.Runs/CancelRun", Rule::Operator),
    ("/drill.v1.Runs/RetryRun", Rule::Operator),
    ("/drill.v1.Runs/AddNote", Rule::Operator),
    ("/drill.v1.Audit/ListAudit", Rule::Viewer),
    ("/drill.v1.Audit/VerifyAudit", Rule::Viewer),
    ("/grpc.health.v1.Health/Check", Rule::Open),
    ("/grpc.health.v1.Health/Watch", Rule::Open),
    (
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        Rule::Viewer,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_method_stands_in_two_rows() {
        for (index, (method, _)) in TABLE.iter().enumerate() {
            assert!(
                TABLE[index + 1..].iter().all(|(other, _)| other != method),
                "{method}"
            );
        }
    }

    #[test]
    fn what_changes_something_is_for_operators() {
        for (method, rule) in TABLE
            .iter()
            .filter(|(method, _)| method.starts_with("/drill.v1."))
        {
            let name = method.rsplit('/').next().unwrap_or_default();
            let reads = ["Get", "List", "Preview", "Watch", "VerifyAudit"]
                .iter()
                .any(|verb| name.starts_with(verb));
            let expected: &[Rule] = match *method {
                m if m.contains("AgentGateway") => &[Rule::Agent],
                m if m.contains("Enrollment") => &[Rule::Open],
                m if m.ends_with("/ListTokens") => &[Rule::Operator],
                _ if reads => &[Rule::Viewer],
                _ => &[Rule::Operator],
            };
            assert_eq!(&[*rule], expected, "{method}");
        }
    }

    #[test]
    fn an_unknown_method_has_no_rule() {
        assert_eq!(rule("/drill.v1.Fleet/Shutdown"), None);
        assert_eq!(rule(""), None);
    }
}
