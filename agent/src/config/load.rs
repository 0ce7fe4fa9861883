//! The layers in order: file, environment, flags; then the host's name is put in and everything is validated.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use dr_proto::model::document as diagnosis;
use toml::{Table, Value};

use super::error::{Error, Problem};
use super::{Config, environment, validate};

/// Where the configuration lies when nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/drctl/agent.toml";

/// What flags say about the configuration.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--repository URL`.
    pub repository: Option<String>,
    /// `--identity FILE`: the key that opens the repository.
    pub identity: Option<PathBuf>,
    /// `--state-dir DIR`.
    pub state_dir: Option<PathBuf>,
}

/// What the configuration takes from the process's surroundings, as arguments so that tests own them.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The environment.
    pub variables: Vec<(OsString, OsString)>,
    /// The host's name, for `{hostname}`.
    pub hostname: String,
    /// The state folder when neither file nor flag names one.
    pub state_dir: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            variables: std::env::vars_os().collect(),
            hostname,
            state_dir: private_state_dir(),
        }
    }
}

/// Root keeps state under `/var/lib`; anybody else where the desktop rules say.
fn private_state_dir() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return None;
    }
    let base = match std::env::var_os("XDG_STATE_HOME") {
        Some(base) => PathBuf::from(base),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".local/state"),
    };
    Some(base.join("dr-agent"))
}

/// Reads all layers. `file` absent means flags and environment alone: a bare host.
pub fn load(file: Option<&Path>, surroundings: &Surroundings, flags: &Overrides) -> Result<Config, Error> {
    let text = file.map(read).transpose()?.unwrap_or_default();
    let mut document = parse(file, &text)?;
    if let Some(state_dir) = &surroundings.state_dir {
        let agent = document
            .entry("agent")
            .or_insert_with(|| Value::Table(Table::new()));
        if let Some(agent) = agent.as_table_mut() {
            agent
                .entry("state_dir")
                .or_insert_with(|| Value::String(state_dir.to_string_lossy().into_owned()));
        }
    }
    let mut config = apply_environment(&mut document, surroundings, file, &text)?;
    apply_flags(&mut config, flags);
    substitute(&mut config, &surroundings.hostname);
    let problems = validate::problems(&config);
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(blame(file, &text, problems))
    }
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}

/// The file alone, read strictly first: an error in it then carries its line.
fn parse(file: Option<&Path>, text: &str) -> Result<Table, Error> {
    let complain = |error: &toml::de::Error| blame(file, text, vec![diagnosis::problem(text, error)]);
    toml::from_str::<Config>(text).map_err(|error| complain(&error))?;
    toml::from_str(text).map_err(|error| complain(&error))
}

fn apply_environment(
    document: &mut Table,
    surroundings: &Surroundings,
    file: Option<&Path>,
    text: &str,
) -> Result<Config, Error> {
    let read = |document: &Table| Value::Table(document.clone()).try_into::<Config>();
    let mut config =
        read(document).map_err(|error| blame(file, text, vec![diagnosis::problem("", &error)]))?;
    let mut variables: Vec<(&str, &str)> = surroundings
        .variables
        .iter()
        .filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)))
        .collect();
    variables.sort_unstable();
    for (variable, value) in variables {
        if environment::apply(document, variable, value)? {
            config = read(document).map_err(|error| {
                let problem = diagnosis::problem("", &error);
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

fn apply_flags(config: &mut Config, flags: &Overrides) {
    if let Some(url) = &flags.repository {
        config.repository.get_or_insert_default().url.clone_from(url);
    }
    if let Some(identity) = &flags.identity {
        let repository = config.repository.get_or_insert_default();
        repository.key_file = Some(identity.clone());
        repository.key_command = None;
    }
    if let Some(state_dir) = &flags.state_dir {
        config.agent.state_dir.clone_from(state_dir);
    }
}

/// Puts the host's name where `{hostname}` and `{host}` stand.
fn substitute(config: &mut Config, hostname: &str) {
    config.agent.host = config.agent.host.replace("{hostname}", hostname);
    let host = config.agent.host.clone();
    let put = |text: &mut String| *text = text.replace("{host}", &host).replace("{hostname}", hostname);
    if let Some(repository) = &mut config.repository {
        repository.template = repository.url.replace("{hostname}", hostname);
        put(&mut repository.url);
        repository.key_command.iter_mut().flatten().for_each(put);
    }
    for hook in config.hooks.values_mut() {
        hook.command.iter_mut().for_each(put);
    }
    for source in &mut config.sources {
        put(&mut source.path);
    }
}

fn blame(file: Option<&Path>, text: &str, mut problems: Vec<Problem>) -> Error {
    let Some(path) = file else {
        return Error::Flags { problems };
    };
    for problem in &mut problems {
        if problem.line.is_none() && !problem.key.is_empty() {
            problem.line = diagnosis::line_of_key(text, &problem.key);
        }
    }
    Error::File {
        path: path.to_owned(),
        problems,
    }
}
