//! Where the other roots of a table lie.
//!
//! Branches, shallow clones and extra bases refer to files by the path or URI that their creator used. Only
//! what lies inside the database folder can be taken; the rest is named.

use std::path::{Component, Path, PathBuf};

use super::context::Context;

/// Where a base path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// Into the database: the folder relative to it, `""` for itself.
    Inside(String),
    /// Elsewhere.
    Outside,
}

impl Context {
    pub(crate) fn locate_base(&self, spelled: &str) -> Location {
        let Some(path) = local_path(spelled) else {
            return Location::Outside;
        };
        let candidates = [
            Some(path.clone()),
            Some(Path::new("/").join(&path)),
            path.canonicalize().ok(),
        ];
        for candidate in candidates
            .into_iter()
            .flatten()
            .filter(|candidate| candidate.is_absolute())
        {
            for root in [&self.path, &self.canonical] {
                if let Ok(inside) = normal(&candidate).strip_prefix(normal(root)) {
                    return Location::Inside(inside.to_string_lossy().into_owned());
                }
            }
        }
        self.locate_relative(&path)
    }

    /// A relative path is relative to the working directory of whoever opens the table. If its tail names a
    /// folder of this database, that is what it was.
    fn locate_relative(&self, path: &Path) -> Location {
        let path = normal(path);
        let parts: Vec<_> = path.components().collect();
        let Some(name) = self.path.file_name() else {
            return Location::Outside;
        };
        let Some(at) = parts.iter().rposition(|part| part.as_os_str() == name) else {
            return Location::Outside;
        };
        let head: PathBuf = parts[..=at].iter().collect();
        let tail: PathBuf = parts[at + 1..].iter().collect();
        let matches = path.is_relative() && (self.path.ends_with(&head) || self.canonical.ends_with(&head));
        match tail.to_str() {
            Some(tail) if matches && self.root.sub(tail).is_ok() => Location::Inside(tail.to_owned()),
            _ => Location::Outside,
        }
    }
}

/// The path of a `file:` URI or plain path; `None` for other schemes.
pub(crate) fn local_path(spelled: &str) -> Option<PathBuf> {
    if let Some(rest) = spelled.strip_prefix("file:") {
        let path = rest
            .strip_prefix("//")
            .map_or(rest, |rest| rest.strip_prefix("localhost").unwrap_or(rest));
        return Some(PathBuf::from(percent_decoded(path)));
    }
    if spelled.contains("://") {
        None
    } else {
        Some(PathBuf::from(spelled))
    }
}

pub(crate) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One spelling of a path: no `.`, no doubled or trailing slashes, `..` resolved by name.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if out.file_name().is_some() => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_local_paths() {
        assert_eq!(local_path("/a/b"), Some("/a/b".into()));
        assert_eq!(local_path("file:///a%20b/c"), Some("/a b/c".into()));
        assert_eq!(local_path("file:/a"), Some("/a".into()));
        assert_eq!(local_path("file://localhost/a"), Some("/a".into()));
        assert_eq!(local_path("s3://bucket/a"), None);
        assert_eq!(normal(Path::new("/a//b/./c/../d/")), PathBuf::from("/a/b/d"));
    }
}
