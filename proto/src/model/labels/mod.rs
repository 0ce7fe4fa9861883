//! Labels of hosts, and selectors that pick hosts by them.

mod selector;

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use selector::{Requirement, Selector, SelectorError, Test};

/// The key that every host has without being given it: its name.
pub const HOST: &str = "host";

/// The longest key and the longest value of a label.
const LONGEST: usize = 63;

/// Labels of one host: `env=prod`, `rack=b7`. A token fixes them when the host enrols.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// The most labels that a host can have.
    pub const MOST: usize = 64;

    /// The value of a label.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All of them, by key.
    pub fn iter(&self) -> btree_map::Iter<'_, String, String> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Labels as a command line gives them: `env=prod`, one text each.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, LabelError> {
        let mut labels = BTreeMap::new();
        for text in texts {
            let (key, value) = text
                .split_once('=')
                .ok_or_else(|| LabelError::NoValue(shortened(text)))?;
            if labels.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(LabelError::Twice(shortened(key)));
            }
        }
        Self::try_from(labels)
    }
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = LabelError;

    fn try_from(labels: BTreeMap<String, String>) -> Result<Self, LabelError> {
        if labels.len() > Self::MOST {
            return Err(LabelError::TooMany(labels.len()));
        }
        for (key, value) in &labels {
            if key == HOST {
                return Err(LabelError::Reserved);
            }
            if !is_key(key) {
                return Err(LabelError::Key(shortened(key)));
            }
            if !is_value(value) {
                return Err(LabelError::Value {
                    key: key.clone(),
                    value: shortened(value),
                });
            }
        }
        Ok(Self(labels))
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        labels.0
    }
}

/// `env=prod,rack=b7`; nothing for no labels.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{key}={value}")?;
        }
        Ok(())
    }
}

/// Why something is no set of labels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// No `=` in it.
    #[error("`{0}` is not a label: KEY=VALUE is expected")]
    NoValue(String),
    /// Given twice.
    #[error("the label `{0}` is given twice")]
    Twice(String),
    /// The key has characters that selectors could not read.
    #[error(
        "`{0}` is not a label's key: letters, digits, `.`, `-`, `_` and `/` are expected, at most 63, beginning with a \
         letter or digit"
    )]
    Key(String),
    /// The value has characters that selectors could not read.
    #[error(
        "the label `{key}` cannot be `{value}`: letters, digits, `.`, `-`, `_`, `/`, `:`, `@` and `+` are expected, 1 \
         to 63"
    )]
    Value {
        /// The label's key.
        key: String,
        /// What was given.
        value: String,
    },
    /// `host` is the host's name.
    #[error("the label `host` is the host's own name and cannot be set")]
    Reserved,
    /// More than a host can have.
    #[error("{0} labels are too many: a host has at most {most}", most = Labels::MOST)]
    TooMany(usize),
}

fn is_key(text: &str) -> bool {
    text.len() <= LONGEST
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/'))
}

fn is_value(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.chars().all(is_value_char)
}

fn is_value_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | ':' | '@' | '+')
}

/// What an error repeats of a text that somebody else chose.
fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
