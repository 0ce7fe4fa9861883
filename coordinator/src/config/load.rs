//! The layers in order: file, then environment; then everything is validated.

use std::ffi::OsString;
use std::path::Path;

use dr_proto::model::document::{self, Problem};
use toml::{Table, Value};

use super::error::Error;
use super::{Config, environment, validate};

/// Where the configuration lies when nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/drctl/coordinator.toml";

/// Reads the file and the variables of the environment, which are an argument so that tests own them.
pub fn load(file: &Path, variables: &[(OsString, OsString)]) -> Result<Config, Error> {
    let text = std::fs::read_to_string(file).map_err(|source| Error::Read {
        path: file.to_owned(),
        source,
    })?;
    let mut document = parse(file, &text)?;
    let config = apply_environment(&mut document, variables, file)?;
    let problems = validate::problems(&config);
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(blame(file, &text, problems))
    }
}

/// The file alone, read strictly first: an error in it then carries its line.
fn parse(file: &Path, text: &str) -> Result<Table, Error> {
    let complain = |error: &toml::de::Error| blame(file, text, vec![document::problem(text, error)]);
    toml::from_str::<Config>(text).map_err(|error| complain(&error))?;
    toml::from_str(text).map_err(|error| complain(&error))
}

fn apply_environment(
    document: &mut Table,
    variables: &[(OsString, OsString)],
    file: &Path,
) -> Result<Config, Error> {
    let read = |document: &Table| Value::Table(document.clone()).try_into::<Config>();
    let mut config = read(document).map_err(|error| blame(file, "", vec![document::problem("", &error)]))?;
    let mut variables: Vec<(&str, &str)> = variables
        .iter()
        .filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)))
        .collect();
    variables.sort_unstable();
    for (variable, value) in variables {
        if environment::apply(document, variable, value)? {
            config = read(document).map_err(|error| {
                let problem = document::problem("", &error);
                Error::Variable {
                    variable: variable.to_owned(),
                    reason: problem.reason,
                    hint: problem.hint,
                }
            })?;
        }
    }
    Ok(config)
}

fn blame(file: &Path, text: &str, mut problems: Vec<Problem>) -> Error {
    for problem in &mut problems {
        if problem.line.is_none() && !problem.key.is_empty() {
            problem.line = document::line_of_key(text, &problem.key);
        }
    }
    Error::File {
        path: file.to_owned(),
        problems,
    }
}
