//! Paths inside a source: relative, normal, in an order that keeps a directory's contents together.
//!
//! A path that comes out of a repository is hostile until it has passed [`TreePath::new`]: whoever can forge a tree
//! could otherwise write outside the folder that a restore was pointed at.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Longest path that is taken (Linux' own limit).
pub const MAX_PATH: usize = 4096;
/// Longest single name that is taken (the limit of every common file system).
pub const MAX_NAME: usize = 255;

/// A relative path of plain names; the empty path is the source's own root.
///
/// Ordered by names from the top down, so that a directory is followed by everything below it before its next
/// sibling: `a`, `a/b`, `a-b`. Both the merge with the previous tree and the check that every parent is a directory
/// rest on that order.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct TreePath(Vec<u8>);

/// Why a path can not be part of a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Starts with `/`.
    #[error("path {0:?} is absolute")]
    Absolute(String),
    /// Has an empty, `.` or `..` part.
    #[error("path {0:?} has an empty, \".\" or \"..\" part")]
    NotNormal(String),
    /// Has a NUL byte.
    #[error("path {0:?} has a NUL byte")]
    Nul(String),
    /// Longer than any file system takes.
    #[error("path {0:?}… is longer than {MAX_PATH} bytes, or one of its names than {MAX_NAME}")]
    TooLong(String),
}

impl TreePath {
    /// The source's own root.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Takes a path from outside, or says why not.
    pub fn new(path: impl AsRef<[u8]>) -> Result<Self, Invalid> {
        let bytes = path.as_ref();
        let shown =
            || String::from_utf8_lossy(bytes.get(..bytes.len().min(200)).unwrap_or(bytes)).into_owned();
        if bytes.is_empty() {
            return Ok(Self::root());
        }
        if bytes.len() > MAX_PATH {
            return Err(Invalid::TooLong(shown()));
        }
        if bytes.starts_with(b"/") {
            return Err(Invalid::Absolute(shown()));
        }
        if bytes.contains(&0) {
            return Err(Invalid::Nul(shown()));
        }
        for name in bytes.split(|byte| *byte == b'/') {
            if name.is_empty() || name == b"." || name == b".." {
                return Err(Invalid::NotNormal(shown()));
            }
            if name.len() > MAX_NAME {
                return Err(Invalid::TooLong(shown()));
            }
        }
        Ok(Self(bytes.to_vec()))
    }

    /// The bytes, names joined by `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// For the file system: always relative and without `..`.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Whether this is the source's own root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory that holds this; `None` for the root.
    pub fn parent(&self) -> Option<TreePath> {
        if self.is_root() {
            return None;
        }
        let cut = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        Some(Self(self.0.get(..cut).unwrap_or_default().to_vec()))
    }

    /// The last name; empty for the root.
    pub fn name(&self) -> &[u8] {
        self.0.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }

    /// The path of `name` in this directory.
    pub fn join(&self, name: &[u8]) -> Result<Self, Invalid> {
        if self.is_root() {
            return Self::new(name);
        }
        let mut joined = Vec::with_capacity(self.0.len() + 1 + name.len());
        joined.extend_from_slice(&self.0);
        joined.push(b'/');
        joined.extend_from_slice(name);
        Self::new(joined)
    }

    /// Whether this is `ancestor` or lies below it.
    pub fn is_within(&self, ancestor: &TreePath) -> bool {
        ancestor.is_root()
            || (self.0.starts_with(&ancestor.0) && matches!(self.0.get(ancestor.0.len()), None | Some(b'/')))
    }
}

/// A byte's place in the order: the separator before every other byte.
fn rank(byte: u8) -> u8 {
    if byte == b'/' { 0 } else { byte }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0
            .iter()
            .map(|byte| rank(*byte))
            .cmp(other.0.iter().map(|byte| rank(*byte)))
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl std::str::FromStr for TreePath {
    type Err = Invalid;

    fn from_str(path: &str) -> Result<Self, Invalid> {
        Self::new(path)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> TreePath {
        text.parse().unwrap()
    }

    #[test]
    fn hostile_paths_are_refused() {
        for hostile in [
            "/etc/passwd",
            "..",
            "a/../../b",
            "./a",
            "a//b",
            "a/",
            "a/.",
            "a\0b",
        ] {
            assert!(TreePath::new(hostile).is_err(), "{hostile:?} was taken");
        }
        assert!(TreePath::new("x".repeat(256)).is_err());
        assert!(TreePath::new("x/".repeat(2100) + "x").is_err());
        assert!(TreePath::new(b"not \xff utf-8").is_ok());
    }

    #[test]
    fn a_directory_is_followed_by_its_contents() {
        let mut paths = [
            path("a-b"),
            path("a/b"),
            path("a"),
            path("a/b/c"),
            path("a.b"),
            TreePath::root(),
        ];
        paths.sort();
        let shown: Vec<String> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(shown, [".", "a", "a/b", "a/b/c", "a-b", "a.b"]);
    }

    #[test]
    fn parents_names_and_ancestry() {
        assert_eq!(path("a/b/c").parent(), Some(path("a/b")));
        assert_eq!(path("a").parent(), Some(TreePath::root()));
        assert_eq!(TreePath::root().parent(), None);
        assert_eq!(path("a/bc").name(), b"bc");
        assert!(path("a/b").is_within(&path("a")) && path("a").is_within(&path("a")));
        assert!(!path("ab").is_within(&path("a")) && path("ab").is_within(&TreePath::root()));
        assert!(path("a").join(b"..").is_err() && path("a").join(b"b/../c").is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_taken_stays_below_its_root(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(path) = TreePath::new(&bytes) {
                prop_assert!(path.as_path().components().all(|c| matches!(c, std::path::Component::Normal(_))));
            }
        }

        #[test]
        fn order_agrees_with_names_from_the_top(a in "[a/.-]{0,8}", b in "[a/.-]{0,8}") {
            if let (Ok(a), Ok(b)) = (TreePath::new(&a), TreePath::new(&b)) {
                let names = |p: &TreePath| p.as_path().components().map(|c| c.as_os_str().to_owned()).collect::<Vec<_>>();
                prop_assert_eq!(a.cmp(&b), names(&a).cmp(&names(&b)));
            }
        }
    }
}
