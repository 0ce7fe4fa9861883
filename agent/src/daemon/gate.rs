//! Whether anything may start on this host: the suspend file, and what the coordinator said last.
//!
//! The suspend file is the host's own switch. While it is there nothing starts and what runs stops at its next safe
//! point, whoever asked. What the coordinator says concerns only what the agent would start by itself while it is
//! offline: what the coordinator asks for, it has weighed itself.

use std::io::Read;
use std::path::{Path, PathBuf};

use dr_proto::model::Suspension;
use jiff::Timestamp;

/// The most of a suspend file that is read: its first line says why.
const MOST: u64 = 1024;

/// The host's own switch.
#[derive(Debug, Clone)]
pub struct Gate {
    file: PathBuf,
}

impl Gate {
    /// The switch that is `file`.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into() }
    }

    /// Why nothing starts; `None` if it may. A file that can not be looked for closes the gate: work that somebody
    /// wanted stopped must not go on for a lack of permission.
    pub fn closed(&self) -> Option<String> {
        match self.file.try_exists() {
            Ok(false) => None,
            Ok(true) => Some(reason(&self.file)),
            Err(error) => Some(format!("{} can not be looked for: {error}", self.file.display())),
        }
    }

    /// Waits until the gate is closed, and says why.
    pub async fn until_closed(&self) -> String {
        let mut tick = tokio::time::interval(super::POLL);
        loop {
            tick.tick().await;
            let gate = self.clone();
            match tokio::task::spawn_blocking(move || gate.closed()).await {
                Ok(Some(reason)) => return reason,
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "the suspend file could not be looked for"),
            }
        }
    }
}

fn reason(file: &Path) -> String {
    let said = std::fs::File::open(file).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    });
    let said = said.unwrap_or_default();
    match said.lines().next().map(str::trim).filter(|line| !line.is_empty()) {
        Some(line) => line.to_owned(),
        None => format!("{} exists", file.display()),
    }
}

/// Why the agent starts nothing by itself, by what the coordinator said last. A suspension without an end holds until
/// the coordinator says otherwise.
pub fn suspended(suspension: &Suspension, now: Timestamp) -> Option<&str> {
    let over = suspension.until.is_some_and(|until| until <= now);
    suspension.reason.as_deref().filter(|_| !over)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspend_file_says_why_nothing_starts() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let file = dir.path().join("SUSPEND");
        let gate = Gate::new(&file);
        assert_eq!(gate.closed(), None);
        std::fs::write(&file, b"").expect("write");
        assert_eq!(gate.closed(), Some(format!("{} exists", file.display())));
        std::fs::write(&file, "disk is replaced, ask ana\nsecond line\n").expect("write");
        assert_eq!(gate.closed().as_deref(), Some("disk is replaced, ask ana"));
    }

    #[test]
    fn a_suspension_ends_by_itself() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let mut suspension = Suspension {
            reason: Some("upgrade".to_owned()),
            until: Some(at("2026-01-01T04:00:00Z")),
        };
        assert_eq!(
            suspended(&suspension, at("2026-01-01T03:59:59Z")),
            Some("upgrade")
        );
        assert_eq!(suspended(&suspension, at("2026-01-01T04:00:00Z")), None);
        suspension.until = None;
        assert_eq!(
            suspended(&suspension, at("2027-01-01T00:00:00Z")),
            Some("upgrade")
        );
        assert_eq!(
            suspended(&Suspension::default(), at("2027-01-01T00:00:00Z")),
            None
        );
    }
}
