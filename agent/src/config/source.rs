//! What is protected: the `[[source]]` entries, and the globs in their paths expanded to sources with names of
//! their own.

use std::path::{Component, Path, PathBuf};

use dr_auditlog::{ChainConfig, LogOptions, VerifyOptions};
use dr_lance::History;
use dr_lance::pins::PinMethod;
use serde::Deserialize;

use dr_proto::model::units::Period;

/// One `[[source]]` as written; its path may be a glob.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its name in snapshots and reports.
    pub name: String,
    /// What lies there.
    pub kind: SourceKind,
    /// A path or a glob.
    pub path: String,
    /// Which versions of a table go into a snapshot.
    #[serde(default)]
    pub history: Option<History>,
    /// Ways to pin files during a cut, in order of preference.
    #[serde(default)]
    pub pin: Option<Vec<PinMethod>>,
    /// File-name glob of rotated segments of an audit log, beside it.
    #[serde(default)]
    pub rotated: Option<String>,
    /// How long captured segments are carried forward after they left the host.
    #[serde(default)]
    pub keep_for: Option<Period>,
    /// How the bytes of an audit log are to be read.
    #[serde(default)]
    pub format: Option<dr_auditlog::Format>,
    /// The field with the time of an audit log's records.
    #[serde(default)]
    pub time_field: Option<String>,
    /// The hash chain of an audit log.
    #[serde(default)]
    pub chain: Option<ChainConfig>,
}

/// What kind of data a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// A LanceDB database folder.
    Lancedb,
    /// An append-only log and its rotated segments.
    AuditLog,
}

impl SourceKind {
    /// As the configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lancedb => "lancedb",
            Self::AuditLog => "audit-log",
        }
    }
}

/// One thing to protect: a source after its glob was expanded.
#[derive(Debug, Clone)]
pub struct ResolvedSource {
    /// Its name: the entry's, or `<entry>/<matched part>` of a glob.
    pub name: String,
    /// What lies there.
    pub kind: SourceKind,
    /// Where, absolute.
    pub path: PathBuf,
    /// Which versions of a table.
    pub history: History,
    /// Pins in order of preference.
    pub pin: Vec<PinMethod>,
    /// File-name glob of rotated segments.
    pub rotated: Option<String>,
    /// How long captured segments are carried forward.
    pub keep_for: Option<Period>,
    /// How a log's bytes are to be read.
    pub format: dr_auditlog::Format,
    /// The field with the time of a log's records.
    pub time_field: Option<String>,
    /// The hash chain.
    pub chain: Option<ChainConfig>,
}

impl ResolvedSource {
    /// Where a log and its rotated segments are.
    pub fn log_options(&self) -> LogOptions {
        LogOptions {
            rotated: self.rotated.clone(),
            time_field: self.time_field.clone(),
            ..LogOptions::new(&self.path)
        }
    }

    /// How a log is to be read.
    pub fn verify_options(&self) -> VerifyOptions {
        VerifyOptions {
            format: self.format,
            chain: self.chain.clone(),
            time_field: self.time_field.clone(),
            ..VerifyOptions::default()
        }
    }
}

/// Why a source's path could not be expanded.
#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    /// The glob can not be parsed.
    #[error("source `{name}`: `{path}` is not a glob that can be read")]
    Pattern {
        /// The source.
        name: String,
        /// Its path as written.
        path: String,
        /// What is wrong with it.
        source: glob::PatternError,
    },
    /// A folder on the way can not be listed.
    #[error("source `{name}`: list what matches `{path}`")]
    Unreadable {
        /// The source.
        name: String,
        /// Its path as written.
        path: String,
        /// The folder and the reason.
        source: glob::GlobError,
    },
    /// Nothing is there.
    #[error("source `{name}`: nothing matches `{path}`")]
    Nothing {
        /// The source.
        name: String,
        /// Its path as written.
        path: String,
    },
    /// Two sources would have one name.
    #[error("two sources would be called `{name}`: {first} and {second}")]
    Twice {
        /// The name.
        name: String,
        /// The first path.
        first: PathBuf,
        /// The second path.
        second: PathBuf,
    },
}

/// Whether the path of a source is a glob.
pub fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

impl Source {
    /// The sources that this entry stands for, in order of path. A glob names each match after the parts that its
    /// wildcards met, even when only one is there: a second database that appears next month then does not rename
    /// the first.
    pub fn expand(&self) -> Result<Vec<ResolvedSource>, ExpandError> {
        if !is_glob(&self.path) {
            return Ok(vec![self.resolved(self.name.clone(), PathBuf::from(&self.path))]);
        }
        let matches = glob::glob_with(&self.path, glob::MatchOptions::new()).map_err(|source| {
            ExpandError::Pattern {
                name: self.name.clone(),
                path: self.path.clone(),
                source,
            }
        })?;
        let mut found = Vec::new();
        for path in matches {
            let path = path.map_err(|source| ExpandError::Unreadable {
                name: self.name.clone(),
                path: self.path.clone(),
                source,
            })?;
            let wanted = match self.kind {
                SourceKind::Lancedb => path.is_dir(),
                SourceKind::AuditLog => path.is_file(),
            };
            if wanted && !is_hidden(&self.path, &path) {
                found.push(self.resolved(format!("{}/{}", self.name, matched_part(&self.path, &path)), path));
            }
        }
        if found.is_empty() {
            return Err(ExpandError::Nothing {
                name: self.name.clone(),
                path: self.path.clone(),
            });
        }
        Ok(found)
    }

    fn resolved(&self, name: String, path: PathBuf) -> ResolvedSource {
        ResolvedSource {
            name,
            kind: self.kind,
            path,
            history: self.history.unwrap_or_default(),
            pin: self
                .pin
                .clone()
                .unwrap_or_else(|| PinMethod::DEFAULT_ORDER.to_vec()),
            rotated: self.rotated.clone(),
            keep_for: self.keep_for,
            format: self.format.unwrap_or_default(),
            time_field: self.time_field.clone(),
            chain: self.chain.clone(),
        }
    }
}

/// Expands all entries and proves that names stay unique.
pub fn expand_all(sources: &[Source]) -> Result<Vec<ResolvedSource>, ExpandError> {
    let mut all: Vec<ResolvedSource> = Vec::new();
    for source in sources {
        for resolved in source.expand()? {
            if let Some(first) = all.iter().find(|other| other.name == resolved.name) {
                return Err(ExpandError::Twice {
                    name: resolved.name,
                    first: first.path.clone(),
                    second: resolved.path,
                });
            }
            all.push(resolved);
        }
    }
    Ok(all)
}

impl Source {
    /// The folder in which its matches lie: the part of a glob before its first wildcard, or the folder around a plain
    /// path.
    pub fn neighbourhood(&self) -> PathBuf {
        let plain = |part: &Component<'_>| !is_glob(&part.as_os_str().to_string_lossy());
        let fixed: PathBuf = Path::new(&self.path).components().take_while(plain).collect();
        if fixed == Path::new(&self.path) {
            fixed.parent().map(Path::to_owned).unwrap_or(fixed)
        } else {
            fixed
        }
    }
}

/// Whether a wildcard met a name that begins with a dot, as in shells it does not. The crate's own option for that panics
/// on names that are not UTF-8.
fn is_hidden(pattern: &str, path: &Path) -> bool {
    let dotted = |part: Component<'_>| part.as_os_str().as_encoded_bytes().starts_with(b".");
    let mut pairs = Path::new(pattern).components().zip(path.components());
    pairs.any(|(pattern, found)| dotted(found) && !dotted(pattern))
}

/// The components of `path` that met a wildcard in `pattern`, joined by `/`.
fn matched_part(pattern: &str, path: &Path) -> String {
    let parts: Vec<String> = Path::new(pattern)
        .components()
        .zip(path.components())
        .filter(|(pattern, _)| matches!(pattern, Component::Normal(part) if is_glob(&part.to_string_lossy())))
        .map(|(_, found)| found.as_os_str().to_string_lossy().into_owned())
        .collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str) -> Source {
        Source {
            name: "memory".into(),
            kind: SourceKind::Lancedb,
            path: path.into(),
            history: None,
            pin: None,
            rotated: None,
            keep_for: None,
            format: None,
            time_field: None,
            chain: None,
        }
    }

    #[test]
    fn hidden_names_and_names_that_are_no_text_are_passed_by() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().expect("a temporary folder");
        let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe");
        for tenant in [odd, "acme".as_ref(), ".hidden".as_ref()] {
            std::fs::create_dir_all(dir.path().join(tenant).join(".data")).expect("create");
        }
        let found = source(&format!("{}/*/.data", dir.path().display()))
            .expand()
            .expect("expand");
        let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["memory/acme"]);
    }

    #[test]
    fn a_glob_names_each_match_after_what_it_met() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for tenant in ["acme", "zeta"] {
            std::fs::create_dir_all(dir.path().join(tenant).join("data/db")).expect("create");
        }
        std::fs::write(dir.path().join("file"), b"not a folder").expect("write");
        let pattern = format!("{}/*/data/db", dir.path().display());
        let names: Vec<String> = source(&pattern)
            .expand()
            .expect("expand")
            .into_iter()
            .map(|found| found.name)
            .collect();
        assert_eq!(names, ["memory/acme", "memory/zeta"]);
        let star = format!("{}/*", dir.path().display());
        assert_eq!(
            source(&star).expand().expect("expand").len(),
            2,
            "only folders are databases"
        );
        let nothing = format!("{}/*/none", dir.path().display());
        assert!(matches!(
            source(&nothing).expand(),
            Err(ExpandError::Nothing { .. })
        ));
    }

    #[test]
    fn a_plain_path_keeps_its_name_even_when_missing() {
        let found = source("/nowhere/db").expand().expect("expand");
        assert_eq!(found[0].name, "memory");
        assert_eq!(found[0].pin, PinMethod::DEFAULT_ORDER);
        let twice = expand_all(&[source("/a"), source("/b")]);
        assert!(matches!(twice, Err(ExpandError::Twice { .. })));
    }
}
