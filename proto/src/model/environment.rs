//! Variables of the environment that stand for keys of a configuration. A misspelt variable is refused like a misspelt
//! key.

use toml::{Table, Value};

use super::document::suggest;

/// How a variable's text becomes a TOML value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// As it is.
    Text,
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Whole,
    /// A number.
    Number,
    /// Texts separated by commas.
    List,
}

/// The variables of one program.
#[derive(Debug, Clone, Copy)]
pub struct Variables {
    /// What all of them begin with.
    pub prefix: &'static str,
    /// Their names, the keys that they stand for, and how they are read.
    pub keys: &'static [(&'static str, &'static str, Shape)],
    /// Variables with the prefix that are no keys: read elsewhere.
    pub others: &'static [&'static str],
}

/// Why a variable can not be put into a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong, with the value.
    pub reason: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Variables {
    /// Puts one variable into the document; `Ok(false)` if it is none of these.
    ///
    /// # Errors
    /// [`Wrong`] if it has the prefix and no key, or its text is not of the key's shape.
    pub fn apply(&self, document: &mut Table, variable: &str, text: &str) -> Result<bool, Wrong> {
        if !variable.starts_with(self.prefix) || self.others.contains(&variable) {
            return Ok(false);
        }
        let Some((_, key, shape)) = self.keys.iter().find(|(name, ..)| *name == variable) else {
            let names = self.keys.iter().map(|(name, ..)| *name);
            let known: Vec<&str> = names.chain(self.others.iter().copied()).collect();
            return Err(Wrong {
                reason: "no such variable is known".to_owned(),
                hint: suggest(variable, &known, "variable"),
            });
        };
        let wrong = |reason| Wrong { reason, hint: None };
        let value = shape.value(text).map_err(wrong)?;
        insert(document, key, value).map_err(wrong)?;
        Ok(true)
    }
}

impl Shape {
    fn value(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Text => Ok(Value::String(text.to_owned())),
            Self::Switch => text
                .parse()
                .map(Value::Boolean)
                .map_err(|_| format!("`{text}` is not `true` or `false`")),
            Self::Whole => text
                .parse()
                .map(Value::Integer)
                .map_err(|_| format!("`{text}` is not a whole number")),
            Self::Number => text
                .parse()
                .map(Value::Float)
                .map_err(|_| format!("`{text}` is not a number")),
            Self::List => Ok(Value::Array(
                text.split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty())
                    .map(|part| Value::String(part.to_owned()))
                    .collect(),
            )),
        }
    }
}

/// Sets a dotted key, making tables on the way.
///
/// # Errors
/// A sentence, if something on the way is no table.
pub fn insert(document: &mut Table, key: &str, value: Value) -> Result<(), String> {
    let (path, last) = key.rsplit_once('.').unwrap_or(("", key));
    let mut table = document;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        table = table
            .entry(part)
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .ok_or_else(|| format!("`{part}` is not a section in the file"))?;
    }
    table.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VARIABLES: Variables = Variables {
        prefix: "DR_TEST_",
        keys: &[
            ("DR_TEST_HOST", "agent.host", Shape::Text),
            ("DR_TEST_TASKS", "limits.tasks", Shape::Whole),
            ("DR_TEST_CPU", "limits.cpu", Shape::Number),
            ("DR_TEST_NAMES", "names", Shape::List),
            ("DR_TEST_FAST", "limits.fast", Shape::Switch),
        ],
        others: &["DR_TEST_CONFIG"],
    };

    #[test]
    fn each_variable_becomes_its_key() {
        let mut document = Table::new();
        let given = [
            ("DR_TEST_HOST", "db-1"),
            ("DR_TEST_TASKS", "4"),
            ("DR_TEST_CPU", "1.5"),
            ("DR_TEST_NAMES", "a, b,"),
            ("DR_TEST_FAST", "true"),
        ];
        for (variable, text) in given {
            assert_eq!(VARIABLES.apply(&mut document, variable, text), Ok(true));
        }
        for passed_by in ["DR_TEST_CONFIG", "DR_OTHER_HOST", "PATH"] {
            assert_eq!(VARIABLES.apply(&mut document, passed_by, "x"), Ok(false));
        }
        let expected = "names = [\"a\", \"b\"]\n[agent]\nhost = \"db-1\"\n\
                        [limits]\ncpu = 1.5\nfast = true\ntasks = 4\n";
        assert_eq!(document, toml::from_str(expected).unwrap());
    }

    #[test]
    fn what_is_misspelt_or_misshapen_is_refused() {
        let mut document: Table = toml::from_str("agent = 1").unwrap();
        let mut refused = |variable, text| VARIABLES.apply(&mut document, variable, text).unwrap_err();
        let misspelt = refused("DR_TEST_TASK", "4");
        assert_eq!(misspelt.hint.as_deref(), Some("did you mean `DR_TEST_TASKS`?"));
        assert_eq!(
            refused("DR_TEST_TASKS", "1.5").reason,
            "`1.5` is not a whole number"
        );
        assert_eq!(
            refused("DR_TEST_FAST", "yes").reason,
            "`yes` is not `true` or `false`"
        );
        assert_eq!(
            refused("DR_TEST_HOST", "x").reason,
            "`agent` is not a section in the file"
        );
    }
}
