//! What a suspension holds up: `fleet`, `host=NAME`, or whatever a label selector picks.

use std::fmt;
use std::str::FromStr;

use dr_proto::model::{HostName, Labels, Selector, SelectorError};

/// Some hosts, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope(Selector);

/// How the whole fleet is written.
const FLEET: &str = "fleet";

impl Scope {
    /// Whether it holds up this host.
    pub(crate) fn covers(&self, host: &HostName, labels: &Labels) -> bool {
        self.0.matches(host, labels)
    }

    /// The word for metrics: `fleet`, `host` or `labels`.
    pub(crate) fn word(&self) -> &'static str {
        let only_host = matches!(self.0.requirements(), [one] if one.key == dr_proto::model::HOST);
        match (self.0.is_all(), only_host) {
            (true, _) => FLEET,
            (_, true) => "host",
            _ => "labels",
        }
    }
}

impl FromStr for Scope {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            FLEET => Ok(Self(Selector::all())),
            other => other.parse().map(Self),
        }
    }
}

/// The one way to write it, so that what was suspended can be resumed by the same words.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_all() {
            f.write_str(FLEET)
        } else {
            self.0.fmt(f)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_hosts_are_written_the_same_way() {
        for (written, normal) in [
            ("fleet", "fleet"),
            ("*", "fleet"),
            ("host=db-1", "host=db-1"),
            (" env=prod ", "env=prod"),
        ] {
            assert_eq!(written.parse::<Scope>().unwrap().to_string(), normal);
        }
        assert!("env=".parse::<Scope>().is_err());
    }

    #[test]
    fn a_scope_covers_its_hosts_only() {
        let labels = Labels::parse(["env=prod"]).unwrap();
        let host: HostName = "db-1".parse().unwrap();
        for (scope, covers) in [
            ("fleet", true),
            ("host=db-1", true),
            ("host=db-2", false),
            ("env=prod", true),
            ("env=test", false),
        ] {
            assert_eq!(
                scope.parse::<Scope>().unwrap().covers(&host, &labels),
                covers,
                "{scope}"
            );
        }
    }
}
