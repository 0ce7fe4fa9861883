//! `dr-agent discover`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use dr_terminal::arguments::period;
use serde::Serialize;

use crate::config::{self, Overrides, Period, Surroundings};
use crate::discover::{self, Found, Preset, configuration};
use crate::error::{Class, Doing, Failure, Outcome};
use crate::exit::Code;
use crate::session::Session;
use crate::ui::Table;

/// Arguments of `discover`.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  dr-agent discover /srv --to /etc/drctl/agent.toml")]
pub(super) struct Arguments {
    /// Where to look
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// The configuration to write
    #[arg(long, value_name = "FILE", default_value = "agent.toml")]
    to: PathBuf,
    /// Replace that file if it exists
    #[arg(long)]
    force: bool,
    /// Only show what would be written
    #[arg(long)]
    dry_run: bool,
    /// How many folders down
    #[arg(long, value_name = "N", default_value_t = 6)]
    depth: usize,
    /// How long to search
    #[arg(long, value_name = "TIME", value_parser = period, default_value = "60s")]
    time: Period,
}

/// What `discover` did.
#[derive(Serialize)]
struct Done<'a> {
    #[serde(flatten)]
    found: &'a Found,
    written: Option<&'a Path>,
    configuration: &'a str,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    if !arguments.dry_run && !arguments.force && arguments.to.exists() {
        return Err(exists(&arguments.to));
    }
    let found = search(session, &arguments).await?;
    if found.sources.is_empty() {
        passed_over(session, &found);
        return Err(
            Failure::new(Class::NotFound, "no LanceDB database and no audit log was found").hint(
                "look elsewhere, or deeper with --depth; databases are folders whose tables hold `_versions`",
            ),
        );
    }
    let text = configuration(&found.sources, &preset(session));
    if !arguments.dry_run {
        write(&arguments.to, &text, arguments.force).doing(|| format!("write {}", arguments.to.display()))?;
        config::load(
            Some(&arguments.to),
            &Surroundings::of_process(),
            &Overrides::default(),
        )
        .doing(|| "read back what was written".to_owned())?;
    }
    report(session, &arguments, &found, &text)?;
    Ok(Code::Done)
}

/// Searches on a thread of its own, for no longer than asked.
async fn search(session: &Session, arguments: &Arguments) -> Result<Found, Failure> {
    let cancel = session.stop.token().child_token();
    let (folders, depth, inner) = (arguments.folders.clone(), arguments.depth, cancel.clone());
    let searching = tokio::task::spawn_blocking(move || discover::search(&folders, depth, &inner));
    let limit: Duration = arguments.time.0;
    let ended = tokio::select! {
        () = session.stop.token().cancelled() => {
            return Err(Failure::new(Class::Cancelled, "stopped before the search was complete"));
        }
        ended = tokio::time::timeout(limit, searching) => ended,
    };
    match ended {
        Ok(found) => Ok(found??),
        Err(_) => {
            cancel.cancel();
            Err(Failure::new(
                Class::Cancelled,
                format!("the search took longer than {} and was ended", arguments.time),
            )
            .hint("name a smaller folder, a smaller --depth or a longer --time"))
        }
    }
}

fn preset(session: &Session) -> Preset {
    let repository = session.config.repository.as_ref();
    let path = |path: &PathBuf| path.to_string_lossy().into_owned();
    Preset {
        repository: repository.map(|repository| repository.url.clone()),
        key_file: repository
            .and_then(|repository| repository.key_file.as_ref())
            .map(path),
        state_dir: Some(path(&session.config.agent.state_dir)),
    }
}

fn exists(path: &Path) -> Failure {
    Failure::new(
        Class::Exists,
        format!("{} exists and is left as it is", path.display()),
    )
    .hint("--force replaces it, --to FILE writes elsewhere, --dry-run only shows")
}

fn write(path: &Path, text: &str, force: bool) -> std::io::Result<()> {
    let mut options = std::fs::File::options();
    options.write(true);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn report(session: &Session, arguments: &Arguments, found: &Found, text: &str) -> std::io::Result<()> {
    let ui = &session.ui;
    let written = (!arguments.dry_run).then_some(arguments.to.as_path());
    if ui.is_json() {
        return ui.json(&Done {
            found,
            written,
            configuration: text,
        });
    }
    let mut table = Table::new(&["source", "kind", "path", "why"]);
    for source in &found.sources {
        table.row([
            source.name.clone(),
            source.kind.as_str().to_owned(),
            source.path.display().to_string(),
            source.why.clone(),
        ]);
    }
    table.print(ui)?;
    passed_over(session, found);
    match written {
        Some(path) => ui.say(&format!(
            "Wrote {}. Look it over, then: dr-agent --config {0} init",
            path.display()
        )),
        None => ui.data(&format!("\n{text}"))?,
    }
    Ok(())
}

fn passed_over(session: &Session, found: &Found) {
    for (path, why) in &found.passed_over {
        session.ui.say(&format!("Passed over {}: {why}", path.display()));
    }
}
