//! Selectors: `env=prod,tier in (gold,silver),!spot`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{HOST, Labels, is_key, is_value, is_value_char, shortened};
use crate::model::HostName;

/// Picks hosts by their labels. All requirements must hold; none at all (written `*`) picks every host.
///
/// | written | holds if |
/// |---|---|
/// | `env=prod` | the label has this value |
/// | `env!=prod` | it has another value, or the host has no such label |
/// | `tier in (gold,silver)` | it has one of these values |
/// | `tier notin (gold,silver)` | it has none of them, or the host has no such label |
/// | `spot` | the host has such a label |
/// | `!spot` | it has none |
///
/// The host's name stands under the key `host`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector(Vec<Requirement>);

/// One part of a selector.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// The label's key, or `host`.
    pub key: String,
    /// What is asked of its value.
    pub test: Test,
}

/// What a requirement asks of a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Test {
    /// There, with one of these values.
    In(BTreeSet<String>),
    /// Not there, or with none of these values.
    NotIn(BTreeSet<String>),
    /// There.
    Present,
    /// Not there.
    Absent,
}

impl Selector {
    /// Every host.
    pub fn all() -> Self {
        Self::default()
    }

    /// One host.
    pub fn host(host: &HostName) -> Self {
        Self(vec![Requirement {
            key: HOST.to_owned(),
            test: Test::In(BTreeSet::from([host.as_str().to_owned()])),
        }])
    }

    /// Whether it picks every host, whatever its labels.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Its parts.
    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }

    /// Whether it picks this host.
    pub fn matches(&self, host: &HostName, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| {
            let value = if requirement.key == HOST {
                Some(host.as_str())
            } else {
                labels.get(&requirement.key)
            };
            match &requirement.test {
                Test::In(values) => value.is_some_and(|value| values.contains(value)),
                Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Test::Present => value.is_some(),
                Test::Absent => value.is_none(),
            }
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("*");
        }
        for (index, requirement) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let (one, many, values) = match &self.test {
            Test::Present => return f.write_str(key),
            Test::Absent => return write!(f, "!{key}"),
            Test::In(values) => ("=", "in", values),
            Test::NotIn(values) => ("!=", "notin", values),
        };
        let mut each = values.iter();
        match (each.next(), each.next()) {
            (Some(only), None) => write!(f, "{key}{one}{only}"),
            _ => {
                let list: Vec<&str> = values.iter().map(String::as_str).collect();
                write!(f, "{key} {many} ({})", list.join(","))
            }
        }
    }
}

/// Where a selector stops making sense, and what was expected there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the selector `{text}` makes no sense at character {position}: {expected} is expected")]
pub struct SelectorError {
    text: String,
    position: usize,
    expected: &'static str,
}

impl SelectorError {
    /// The character, from 1, at which something else was expected.
    pub fn position(&self) -> usize {
        self.position
    }

    /// What was expected there.
    pub fn expected(&self) -> &'static str {
        self.expected
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Parser { text, at: 0 }.selector()
    }
}

impl TryFrom<String> for Selector {
    type Error = SelectorError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.to_string()
    }
}

/// The longest selector that is read, and the most requirements and values in it.
const LONGEST: usize = 4_096;

struct Parser<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
}

impl<'a> Parser<'a> {
    fn selector(mut self) -> Result<Selector, SelectorError> {
        if self.text.len() > LONGEST {
            return Err(self.expected("a selector of at most 4,096 bytes"));
        }
        self.space();
        if self.take("*") {
            self.space();
            return self.end().map(|()| Selector::all());
        }
        let mut requirements = vec![self.requirement()?];
        while self.take(",") {
            self.space();
            requirements.push(self.requirement()?);
        }
        self.end().map(|()| Selector(requirements))
    }

    fn end(&self) -> Result<(), SelectorError> {
        if self.rest().is_empty() {
            Ok(())
        } else {
            Err(self.expected("`,` and another requirement, or the end"))
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let negated = self.take("!");
        self.space();
        let key = self.key()?;
        self.space();
        let test = if negated { Test::Absent } else { self.test()? };
        self.space();
        Ok(Requirement { key, test })
    }

    fn test(&mut self) -> Result<Test, SelectorError> {
        if self.take("!=") {
            return self.value().map(|value| Test::NotIn(BTreeSet::from([value])));
        }
        if self.take("=") {
            return self.value().map(|value| Test::In(BTreeSet::from([value])));
        }
        if self.word("in") {
            return self.values().map(Test::In);
        }
        if self.word("notin") {
            return self.values().map(Test::NotIn);
        }
        match self.rest().chars().next() {
            None | Some(',') => Ok(Test::Present),
            Some(_) => Err(self.expected("`=`, `!=`, `in (…)`, `notin (…)`, `,` or the end")),
        }
    }

    fn values(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        self.space();
        if !self.take("(") {
            return Err(self.expected("`(` and a list of values"));
        }
        let mut values = BTreeSet::new();
        loop {
            values.insert(self.value()?);
            self.space();
            if self.take(")") {
                return Ok(values);
            }
            if !self.take(",") {
                return Err(self.expected("`,` or `)`"));
            }
        }
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        let key = self.run(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/'));
        if is_key(key) {
            self.at += key.len();
            Ok(key.to_owned())
        } else {
            Err(self.expected("a label's key (letters, digits, `.`, `-`, `_`, `/`, at most 63)"))
        }
    }

    fn value(&mut self) -> Result<String, SelectorError> {
        self.space();
        let value = self.run(is_value_char);
        // A host's name may be longer than a label's value.
        if is_value(value) || value.parse::<HostName>().is_ok() {
            self.at += value.len();
            Ok(value.to_owned())
        } else {
            Err(self.expected("a value (letters, digits, `.`, `-`, `_`, `/`, `:`, `@`, `+`, at most 63)"))
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn run(&self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    fn space(&mut self) {
        self.at += self.run(|c| c == ' ' || c == '\t').len();
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// A word that ends here, so that `in` is not found in `index`.
    fn word(&mut self, word: &str) -> bool {
        self.run(|c| c.is_ascii_alphabetic()) == word && self.take(word)
    }

    fn expected(&self, expected: &'static str) -> SelectorError {
        let position = self
            .text
            .get(..self.at)
            .map_or(0, |before| before.chars().count())
            + 1;
        SelectorError {
            text: shortened(self.text),
            position,
            expected,
        }
    }
}
