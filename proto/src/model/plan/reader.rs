//! Takes a TOML document apart key by key and gathers everything that is wrong with it: a person who mends a plan
//! wants all errors at once, each with its line.

use std::cell::RefCell;
use std::error::Error as StdError;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::causes::in_one_line;
use crate::model::document::{Problem, line_of, suggest};

/// What is wrong so far.
pub(super) struct Problems<'t> {
    text: &'t str,
    found: RefCell<Vec<Problem>>,
}

impl<'t> Problems<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            found: RefCell::default(),
        }
    }

    pub(super) fn add(&self, at: Option<usize>, key: &str, reason: String, hint: Option<String>) {
        self.found.borrow_mut().push(Problem {
            line: at.map(|offset| line_of(self.text, offset)),
            key: key.to_owned(),
            reason,
            hint,
        });
    }

    pub(super) fn into_found(self) -> Vec<Problem> {
        self.found.into_inner()
    }
}

/// One table, or the place where one may stand.
pub(super) struct Section<'d> {
    problems: &'d Problems<'d>,
    path: String,
    table: Option<&'d DeTable<'d>>,
    start: Option<usize>,
    known: RefCell<Vec<&'static str>>,
}

type Value<'d> = &'d Spanned<DeValue<'d>>;

impl<'d> Section<'d> {
    pub(super) fn root(problems: &'d Problems<'d>, table: &'d DeTable<'d>) -> Self {
        Self::new(problems, String::new(), Some(table), None)
    }

    fn new(
        problems: &'d Problems<'d>,
        path: String,
        table: Option<&'d DeTable<'d>>,
        start: Option<usize>,
    ) -> Self {
        Self {
            problems,
            path,
            table,
            start,
            known: RefCell::default(),
        }
    }

    /// Whether there is such a table.
    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// Whether the key stands there, with whatever value.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    /// Says what is wrong with a key of this table.
    pub(super) fn wrong(&self, key: &'static str, reason: impl Into<String>, hint: Option<&str>) {
        let at = self.value(key).map(|value| value.span().start).or(self.start);
        self.problems
            .add(at, &self.name(key), reason.into(), hint.map(ToOwned::to_owned));
    }

    /// Says that the whole table is wrong here.
    pub(super) fn misplaced(&self, reason: &str, hint: &str) {
        let hint = Some(hint.to_owned());
        self.problems.add(self.start, &self.path, reason.to_owned(), hint);
    }

    /// A text.
    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        let value = self.value(key)?;
        match value.get_ref() {
            // It is shown in tables, logs and pages: nothing in it may move a cursor or begin a line.
            DeValue::String(text) if text.contains(char::is_control) => {
                self.wrong(
                    key,
                    "a control character is in it, such as a line feed",
                    Some("write it in one line"),
                );
                None
            }
            DeValue::String(text) => Some(text.clone().into_owned()),
            other => self.wanted(&self.name(key), value, "a text in quotes", other),
        }
    }

    /// A text that stands for something.
    pub(super) fn parsed<T: FromStr<Err: StdError + 'static>>(&self, key: &'static str) -> Option<T> {
        let text = self.text(key)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(key, in_one_line(&error), None);
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, key: &'static str, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let hint = suggest(&text, &known, "value");
            self.wrong(key, format!("unknown value `{text}`"), hint.as_deref());
        }
        found.map(|(_, value)| *value)
    }

    /// A number without a fraction, within bounds.
    pub(super) fn integer(&self, key: &'static str, bounds: Range<u64>) -> Option<u64> {
        let value = self.value(key)?;
        let DeValue::Integer(number) = value.get_ref() else {
            return self.wanted(&self.name(key), value, "a whole number", value.get_ref());
        };
        let read = u64::from_str_radix(&number.as_str().replace('_', ""), number.radix());
        match read.ok().filter(|number| bounds.contains(number)) {
            Some(number) => Some(number),
            None => {
                let reason = format!("`{number}` is not from {} to {}", bounds.start, bounds.end - 1);
                self.wrong(key, reason, None);
                None
            }
        }
    }

    /// A number from 0 to 1.
    pub(super) fn fraction(&self, key: &'static str) -> Option<f64> {
        let value = self.value(key)?;
        let read = match value.get_ref() {
            DeValue::Float(number) => number.as_str().replace('_', "").parse::<f64>().ok(),
            DeValue::Integer(number) => number.as_str().parse::<f64>().ok(),
            other => return self.wanted(&self.name(key), value, "a number from 0 to 1", other),
        };
        let found = read.filter(|number| (0.0..=1.0).contains(number));
        if found.is_none() {
            self.wrong(key, "the number is not from 0 to 1", None);
        }
        found
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            other => self.wanted(&self.name(key), value, "`true` or `false`", other),
        }
    }

    /// A list of texts that stand for something; those that do not are named by their index.
    pub(super) fn list<T: FromStr<Err: StdError + 'static>>(&self, key: &'static str) -> Option<Vec<T>> {
        let value = self.value(key)?;
        let DeValue::Array(values) = value.get_ref() else {
            return self.wanted(&self.name(key), value, "a list in brackets", value.get_ref());
        };
        let mut read = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            let name = format!("{}[{index}]", self.name(key));
            let DeValue::String(text) = value.get_ref() else {
                self.wanted::<T>(&name, value, "a text in quotes", value.get_ref());
                continue;
            };
            match text.parse() {
                Ok(value) => read.push(value),
                Err(error) => self
                    .problems
                    .add(Some(value.span().start), &name, in_one_line(&error), None),
            }
        }
        Some(read)
    }

    /// The table behind a key, or the place where it may stand.
    pub(super) fn section(&self, key: &'static str) -> Section<'d> {
        let value = self.value(key);
        let table = value.and_then(|value| match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => self.wanted(&self.name(key), value, "a table", other),
        });
        let start = value.map(|value| value.span().start).or(self.start);
        Self::new(self.problems, self.name(key), table, start)
    }

    /// The tables of a list.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'d>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let DeValue::Array(values) = value.get_ref() else {
            self.wanted::<()>(&self.name(key), value, "a list of tables", value.get_ref());
            return Vec::new();
        };
        let section = |(index, value): (usize, Value<'d>)| {
            let path = format!("{}[{index}]", self.name(key));
            let DeValue::Table(table) = value.get_ref() else {
                return self.wanted(&path, value, "a table", value.get_ref());
            };
            Some(Self::new(
                self.problems,
                path,
                Some(table),
                Some(value.span().start),
            ))
        };
        values.iter().enumerate().filter_map(section).collect()
    }

    /// Complains about every key that was not asked for. `elsewhere` explains keys that people expect here.
    pub(super) fn finish(&self, elsewhere: &[(&str, &str)]) {
        let known = self.known.borrow();
        for (key, _) in self.table.into_iter().flatten() {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let explained = elsewhere.iter().find(|(expected, _)| *expected == name);
            let hint = match explained {
                Some((_, hint)) => Some((*hint).to_owned()),
                None => suggest(name, &known, "key"),
            };
            let at = Some(key.span().start);
            self.problems
                .add(at, &self.name(name), format!("unknown key `{name}`"), hint);
        }
    }

    fn value(&self, key: &'static str) -> Option<Value<'d>> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&key) {
            known.push(key);
        }
        self.table?.get(key)
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn wanted<T>(&self, name: &str, value: Value<'d>, wanted: &str, found: &DeValue<'_>) -> Option<T> {
        let found = match found {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date without quotes",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let reason = format!("{wanted} is expected, not {found}");
        self.problems.add(Some(value.span().start), name, reason, None);
        None
    }
}
