//! Which part of a snapshot is restored, and to where.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::tree::TreePath;

/// Which part of a snapshot is restored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Selection {
    /// Names of sources; empty means all.
    #[serde(default)]
    pub sources: Vec<String>,
    /// What of them; empty means everything.
    #[serde(default)]
    pub paths: Vec<Pattern>,
}

/// Entries of a source, by their path relative to its root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// This entry and everything below it.
    Prefix(String),
    /// Entries that match: `*` and `?` within a name, `**` across directories; with everything below them.
    Glob(String),
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Prefix(text) | Self::Glob(text)) = self;
        f.write_str(text)
    }
}

impl Selection {
    /// Everything.
    pub fn whole() -> Self {
        Self::default()
    }

    /// Everything of one source.
    pub fn source(name: impl Into<String>) -> Self {
        Self {
            sources: vec![name.into()],
            paths: Vec::new(),
        }
    }

    /// Adds a pattern: a glob if `text` has one of `*?[`, else a prefix.
    pub fn path(mut self, text: &str) -> Self {
        let glob = text.contains(['*', '?', '[']);
        self.paths.push(if glob {
            Pattern::Glob(text.to_owned())
        } else {
            Pattern::Prefix(text.to_owned())
        });
        self
    }

    pub(super) fn compile(&self) -> Result<Matcher, Error> {
        let compile = |pattern: &Pattern| match pattern {
            Pattern::Prefix(text) => TreePath::new(text.trim_end_matches('/'))
                .map(Compiled::Prefix)
                .map_err(|error| Error::Pattern {
                    pattern: text.clone(),
                    reason: error.to_string(),
                }),
            Pattern::Glob(text) => {
                glob::Pattern::new(text)
                    .map(Compiled::Glob)
                    .map_err(|error| Error::Pattern {
                        pattern: text.clone(),
                        reason: error.to_string(),
                    })
            }
        };
        let met = |pattern: Compiled| Sought { pattern, met: false };
        let patterns = self.paths.iter().map(|pattern| compile(pattern).map(met));
        Ok(Matcher {
            patterns: patterns.collect::<Result<_, _>>()?,
            within: None,
        })
    }
}

enum Compiled {
    Prefix(TreePath),
    Glob(glob::Pattern),
}

/// A pattern, and whether any entry has met it.
struct Sought {
    pattern: Compiled,
    met: bool,
}

/// Tells selected entries, asked for in order.
pub(super) struct Matcher {
    patterns: Vec<Sought>,
    /// The topmost selected entry that was met last.
    within: Option<TreePath>,
}

/// How an entry stands to the selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// Selected, and its directory is not.
    Top,
    /// Selected with something above it.
    Below,
    /// Not selected.
    Out,
}

impl Matcher {
    pub(super) fn judge(&mut self, path: &TreePath) -> Match {
        if self.patterns.is_empty() {
            return if path.is_root() { Match::Top } else { Match::Below };
        }
        let below = self.within.as_ref().is_some_and(|top| path.is_within(top));
        let mut selected = false;
        // Within what is selected only those are asked that nothing has met yet.
        for sought in self.patterns.iter_mut().filter(|sought| !(below && sought.met)) {
            let meets = sought.pattern.matches(path);
            sought.met |= meets;
            selected |= meets;
        }
        if below {
            Match::Below
        } else if selected {
            self.within = Some(path.clone());
            Match::Top
        } else {
            Match::Out
        }
    }

    /// Patterns that no entry has met, of no source: by their place among those of the selection.
    pub(super) fn unmet(&self) -> impl Iterator<Item = usize> {
        let unmet = self.patterns.iter().enumerate().filter(|(_, sought)| !sought.met);
        unmet.map(|(place, _)| place)
    }

    pub(super) fn is_everything(&self) -> bool {
        self.patterns.is_empty()
    }

    /// For the next source.
    pub(super) fn rewind(&mut self) {
        self.within = None;
    }
}

impl Compiled {
    fn matches(&self, path: &TreePath) -> bool {
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        match self {
            Self::Prefix(prefix) => path.is_within(prefix),
            Self::Glob(glob) => !path.is_root() && glob.matches_with(&path.to_string(), options),
        }
    }
}

/// Where a restore goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Each source to the absolute path that it came from.
    Original,
    /// One source, its root becoming this directory.
    Directory(PathBuf),
    /// Each source to a directory of its name below this one.
    BySource(PathBuf),
}

/// What may happen to what stands at the target already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Existing {
    /// Nothing: the restore is refused unless the target is absent or empty.
    #[default]
    Refuse,
    /// The whole directory is exchanged in one step; the old one stays beside it.
    Exchange,
    /// Entry by entry: the topmost selected entries are exchanged one after the other, what else lies in the
    /// directory stays. For folders shared with others, mount points, and parts of a source. Stop the application.
    Entries,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(selection: &Selection, paths: &[&str]) -> Vec<Match> {
        let mut matcher = selection.compile().unwrap();
        paths
            .iter()
            .map(|path| matcher.judge(&path.parse().unwrap()))
            .collect()
    }

    #[test]
    fn prefixes_and_globs_select_with_what_lies_below() {
        use Match::{Below, Out, Top};
        let paths = [
            "",
            "a",
            "a.lance",
            "a.lance/data",
            "a.lance/data/x.lance",
            "b.log",
        ];
        assert_eq!(
            judged(&Selection::whole(), &paths),
            [Top, Below, Below, Below, Below, Below]
        );
        assert_eq!(
            judged(&Selection::whole().path("a.lance/"), &paths),
            [Out, Out, Top, Below, Below, Out]
        );
        assert_eq!(
            judged(&Selection::whole().path("*.l*"), &paths),
            [Out, Out, Top, Below, Below, Top]
        );
        assert_eq!(
            judged(&Selection::whole().path("**/x.lance"), &paths),
            [Out, Out, Out, Out, Top, Out]
        );
    }

    #[test]
    fn what_selects_nothing_is_known() {
        let selection = Selection::whole()
            .path("a")
            .path("a/b")
            .path("*.txt")
            .path("none");
        let mut matcher = selection.compile().unwrap();
        for path in ["", "a", "a/b", "a/c", "d.log"] {
            matcher.judge(&path.parse().unwrap());
        }
        matcher.rewind();
        assert_eq!(matcher.judge(&"x.txt".parse().unwrap()), Match::Top);
        assert_eq!(matcher.unmet().collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn hostile_or_broken_patterns_are_named() {
        for bad in ["../x", "/etc", "a[", "a***"] {
            let error = Selection::whole()
                .path(bad)
                .compile()
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            assert!(error.contains(bad), "{bad}: {error}");
        }
    }
}
