//! What can be wrong with a TOML file: from an error of the reader to a line, a key and a suggestion. Plans and
//! configurations are read with it.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing that is wrong: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, where a file is to blame.
    pub line: Option<usize>,
    /// The key, such as `source[0].path`; empty for a syntax error.
    pub key: String,
    /// What is wrong, with the value.
    pub reason: String,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        f.write_str(&self.reason)
    }
}

/// The problem behind an error of the TOML reader in `text`.
pub fn problem(text: &str, error: &toml::de::Error) -> Problem {
    let span = error.span();
    let (reason, hint) = explain(error.message());
    Problem {
        line: span.as_ref().map(|span| line_of(text, span.start)),
        key: span.and_then(|span| key_at(text, span)).unwrap_or_default(),
        reason,
        hint,
    }
}

/// The line on which `key`, such as `source[1].path` or the nearest table above it, stands.
pub fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let (document, _) = DeTable::parse_recoverable(text);
    let mut table = document.get_ref();
    let mut line = None;
    for part in key.split('.') {
        let (name, index) = match part.split_once('[') {
            Some((name, index)) => (name, index.trim_end_matches(']').parse::<usize>().ok()),
            None => (part, None),
        };
        let Some((found, mut value)) = table.iter().find(|(key, _)| key.get_ref() == name) else {
            break;
        };
        line = Some(line_of(text, found.span().start));
        if let (Some(index), DeValue::Array(values)) = (index, value.get_ref()) {
            let Some(element) = values.get(index) else { break };
            value = element;
            line = Some(line_of(text, element.span().start));
        }
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    line
}

pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset)
        .map_or(1, |before| before.matches('\n').count() + 1)
}

/// The dotted name of the innermost key or value that spans `at`.
fn key_at(text: &str, at: Range<usize>) -> Option<String> {
    let (document, _) = DeTable::parse_recoverable(text);
    find_in_table(document.get_ref(), &at)
}

fn find_in_table(table: &DeTable<'_>, at: &Range<usize>) -> Option<String> {
    for (key, value) in table {
        let name = key.get_ref();
        if let Some(inner) = find_in_value(value, at) {
            return Some(if inner.starts_with('[') || inner.is_empty() {
                format!("{name}{inner}")
            } else {
                format!("{name}.{inner}")
            });
        }
        if contains(&key.span(), at) || contains(&value.span(), at) {
            return Some(name.to_string());
        }
    }
    None
}

fn find_in_value(value: &Spanned<DeValue<'_>>, at: &Range<usize>) -> Option<String> {
    match value.get_ref() {
        DeValue::Table(table) => find_in_table(table, at),
        DeValue::Array(values) => values
            .iter()
            .enumerate()
            .find_map(|(index, element)| match find_in_value(element, at) {
                Some(inner) if inner.starts_with('[') => Some(format!("[{index}]{inner}")),
                Some(inner) if !inner.is_empty() => Some(format!("[{index}].{inner}")),
                _ => contains(&element.span(), at).then(|| format!("[{index}]")),
            }),
        _ => None,
    }
}

fn contains(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end && !inner.is_empty()
}

/// Turns "unknown field `x`, expected one of `a`, `b`" into plain words and a suggestion.
fn explain(message: &str) -> (String, Option<String>) {
    let message = message.trim_end();
    for (prefix, what) in [("unknown field `", "key"), ("unknown variant `", "value")] {
        let Some((unknown, rest)) = message.strip_prefix(prefix).and_then(|rest| rest.split_once('`')) else {
            continue;
        };
        let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
        return (
            format!("unknown {what} `{unknown}`"),
            suggest(unknown, &known, what),
        );
    }
    if let Some(missing) = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split_once('`'))
    {
        return (format!("the key `{}` is missing", missing.0), None);
    }
    (message.replace('\n', "; "), None)
}

/// "Did you mean", or all that would be known.
pub fn suggest(unknown: &str, known: &[&str], what: &str) -> Option<String> {
    let likely = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(unknown, candidate), candidate))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|left, right| left.0.total_cmp(&right.0));
    match likely {
        Some((_, candidate)) => Some(format!("did you mean `{candidate}`?")),
        None if known.is_empty() => None,
        None => Some(format!("known {what}s here: {}", known.join(", "))),
    }
}
