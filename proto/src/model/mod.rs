//! Drills, checks, verdicts and reports.
