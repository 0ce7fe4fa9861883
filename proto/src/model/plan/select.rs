//! Which hosts and sources a plan covers.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::Plan;
use crate::model::{HostName, Labels, Selector, SourceInfo};

/// Which hosts and sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Which hosts.
    pub labels: Selector,
    /// Which of their sources; at least one pattern.
    pub sources: Vec<SourcePattern>,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            labels: Selector::all(),
            sources: vec![SourcePattern::all()],
        }
    }
}

/// A host that is left out although it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    /// Which.
    pub host: HostName,
    /// Why.
    pub reason: String,
    /// Who said so.
    pub by: Option<String>,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

/// A host as a plan sees it.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Its name.
    pub host: &'a HostName,
    /// Its labels.
    pub labels: &'a Labels,
    /// Its sources; `None`: it has not said yet.
    pub sources: Option<&'a [SourceInfo]>,
}

/// What a plan covers of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Coverage {
    /// The plan does not pick this host.
    Elsewhere,
    /// It picks it and leaves it out.
    Excluded {
        /// Why, for people.
        reason: String,
        /// Whether the plan names the host as one to leave out.
        by_name: bool,
    },
    /// All its sources that the plan is about, whatever they are when the work begins.
    Whole {
        /// Names of those that are known now.
        sources: Vec<String>,
    },
    /// Some of its sources.
    Part {
        /// Their names.
        sources: Vec<String>,
    },
}

impl Coverage {
    /// Names of the sources that are covered, as far as they are known.
    pub fn sources(&self) -> &[String] {
        match self {
            Self::Elsewhere | Self::Excluded { .. } => &[],
            Self::Whole { sources } | Self::Part { sources } => sources,
        }
    }

    /// Whether there is anything to do on the host.
    pub fn is_covered(&self) -> bool {
        matches!(self, Self::Whole { .. } | Self::Part { .. })
    }

    /// What a task names: nothing stands for all.
    pub(super) fn named_sources(&self) -> Vec<String> {
        match self {
            Self::Part { sources } => sources.clone(),
            Self::Elsewhere | Self::Excluded { .. } | Self::Whole { .. } => Vec::new(),
        }
    }
}

impl Plan {
    /// What this plan covers of a host at a moment.
    pub fn covers(&self, member: Member<'_>, at: Timestamp) -> Coverage {
        if !self.select.labels.matches(member.host, member.labels) {
            return Coverage::Elsewhere;
        }
        if let Some(exclusion) = self.exclusion(member.host, at) {
            return Coverage::Excluded {
                reason: exclusion.to_string(),
                by_name: true,
            };
        }
        let whole = self.select.sources.iter().any(SourcePattern::is_all);
        let Some(sources) = member.sources else {
            return if whole {
                Coverage::Whole { sources: Vec::new() }
            } else {
                let reason = "its agent has not said yet what it protects".to_owned();
                Coverage::Excluded {
                    reason,
                    by_name: false,
                }
            };
        };
        let kind = self.action.source_kind();
        let of_kind = || {
            let fits =
                move |source: &&SourceInfo| source.configured && kind.is_none_or(|kind| source.kind == kind);
            sources.iter().filter(fits)
        };
        let picked = |source: &&SourceInfo| {
            self.select
                .sources
                .iter()
                .any(|pattern| pattern.matches(&source.name))
        };
        let sources: Vec<String> = of_kind()
            .filter(picked)
            .map(|source| source.name.clone())
            .collect();
        if sources.is_empty() {
            let reason = self.no_source(kind);
            Coverage::Excluded {
                reason,
                by_name: false,
            }
        } else if whole {
            Coverage::Whole { sources }
        } else {
            Coverage::Part { sources }
        }
    }

    fn exclusion(&self, host: &HostName, at: Timestamp) -> Option<&Exclusion> {
        let holds = |exclusion: &&Exclusion| {
            exclusion.host == *host && exclusion.until.is_none_or(|until| at < until)
        };
        self.exclude.iter().find(holds)
    }

    fn no_source(&self, kind: Option<&str>) -> String {
        let patterns: Vec<&str> = self
            .select
            .sources
            .iter()
            .map(|pattern| pattern.0.as_str())
            .collect();
        let kind = kind.map(|kind| format!(" of kind {kind}")).unwrap_or_default();
        format!("it has no source{kind} that `{}` names", patterns.join(", "))
    }
}

/// `OPS-4411 (ana, until 2027-01-01T00:00:00Z)`.
impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        let until = self.until.map(|until| format!("until {until}"));
        let notes: Vec<String> = self.by.clone().into_iter().chain(until).collect();
        if notes.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", notes.join(", "))
    }
}

/// A source's name in which `*` stands for any part. A name without `*` also stands for all matches of the glob
/// behind it: `memory` for `memory/a` and `memory/b`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePattern(String);

impl SourcePattern {
    /// Every source.
    pub fn all() -> Self {
        Self("*".to_owned())
    }

    /// Whether it matches every source.
    pub fn is_all(&self) -> bool {
        self.0 == "*"
    }

    /// Whether it names this source.
    pub fn matches(&self, name: &str) -> bool {
        if !self.0.contains('*') {
            return name
                .strip_prefix(&self.0)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        }
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
            return false;
        };
        let mut parts: Vec<&str> = parts.collect();
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

/// No pattern of sources.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no source: a name is expected, with `*` for any part, at most 255 bytes")]
pub struct SourcePatternError(String);

impl FromStr for SourcePattern {
    type Err = SourcePatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > 255 || text.contains(char::is_control) || text.contains("**") {
            return Err(SourcePatternError(text.chars().take(80).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for SourcePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
