//! Writes a configuration for what was found: short, commented, and read back by the same code before anybody
//! relies on it.

use std::fmt::Write;

use toml::Value;

use super::Suggestion;
use crate::config::SourceKind;

/// What is known beyond the sources.
#[derive(Debug, Clone, Default)]
pub struct Preset {
    /// The repository's URL.
    pub repository: Option<String>,
    /// Where this host's key goes.
    pub key_file: Option<String>,
    /// The state folder, where it is not the default.
    pub state_dir: Option<String>,
}

/// The text of an `agent.toml` that protects `sources`.
pub fn configuration(sources: &[Suggestion], preset: &Preset) -> String {
    let mut text = String::from(
        "# Written by `dr-agent discover`. Look it over, then: dr-agent init, dr-agent doctor, dr-agent snapshot.\n\n\
         [agent]\nhost = \"{hostname}\"\n",
    );
    line(&mut text, "state_dir", preset.state_dir.as_deref());
    text.push_str("\n[repository]\n");
    match &preset.repository {
        Some(url) => line(&mut text, "url", Some(url)),
        None => text.push_str(
            "# Where snapshots go; `s3://bucket/prefix/{host}` in production.\nurl = \"file:///var/backups/drctl/{host}\"\n",
        ),
    }
    line(
        &mut text,
        "key_file",
        Some(preset.key_file.as_deref().unwrap_or("/etc/drctl/repository.key")),
    );
    text.push_str(
        "# Public age keys whose private halves live OFF this host. `dr-agent init` wants at least one, here or by\n\
         # --generate-recovery-key FILE.\nrecovery_recipients = []\n",
    );
    for source in sources {
        text.push('\n');
        append(&mut text, source);
    }
    text
}

fn append(text: &mut String, source: &Suggestion) {
    // Writing to a string cannot fail.
    let _infallible = writeln!(text, "# {}\n[[source]]", source.why.replace('\n', " "));
    line(text, "name", Some(&source.name));
    line(text, "kind", Some(source.kind.as_str()));
    line(text, "path", Some(&source.path.to_string_lossy()));
    if source.kind == SourceKind::Lancedb {
        return;
    }
    line(text, "rotated", source.rotated.as_deref());
    line(text, "time_field", source.time_field.as_deref());
    if let Some(chain) = &source.chain
        && let Ok(Value::Table(chain)) = Value::try_from(chain)
    {
        let parts: Vec<String> = chain
            .iter()
            .map(|(key, value)| format!("{key} = {value}"))
            .collect();
        let _infallible = writeln!(text, "chain = {{ {} }}", parts.join(", "));
    }
}

fn line(text: &mut String, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        let _infallible = writeln!(text, "{key} = {}", Value::String(value.to_owned()));
    }
}
