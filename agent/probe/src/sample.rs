//! The sample application: a LanceDB database of three tables and a hash-chained audit log.
//!
//! # Overview
//! `dr-sample create DIR` writes both, with indices, deletions, updates and a compaction behind them.
//! `dr-sample write DIR` opens them again and goes on: it adds, updates, deletes, compacts, cleans up everything
//! older, and rotates its log, until its standard input ends. Whatever it has done, it acknowledges as a JSON line
//! on standard output: what was acknowledged before a cut must be in every copy of that cut.
//!
//! # Layout
//! ```text
//! DIR/rocketship-db/    memory (vectors: IVF_PQ; full text; BTree), context (nested, nulls), tool_calls (Bitmap)
//! DIR/logs/             audit.log, audit.log.1, audit.log.2.gz, …
//! ```
//! Everything is decided by the seed: two runs of `create` with one seed write the same rows.

mod audit;
mod create;
mod rows;
mod writer;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Name of the database's folder.
pub const DATABASE: &str = "rocketship-db";
/// Name of the log's folder.
pub const LOGS: &str = "logs";

const USAGE: &str = "usage: dr-sample create DIR [--rows N] [--seed S]
       dr-sample write DIR [--seed S] [--pace MILLISECONDS] [--rounds N]

create writes a LanceDB database and an audit log below DIR.
write goes on with them until its standard input ends, or for N rounds.";

/// What was asked on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Options {
    command: Command,
    folder: PathBuf,
    rows: u64,
    seed: u64,
    pace: Duration,
    rounds: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Create,
    Write,
}

/// The whole program.
pub fn main() -> ExitCode {
    const WRONG_USAGE: u8 = 64;
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            tell(&format!("dr-sample: {error:#}\n{USAGE}"));
            return ExitCode::from(WRONG_USAGE);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("dr-sample: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn tell(text: &str) {
    use std::io::Write;
    // Nobody is left to be told when this fails.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    match options.command {
        Command::Create => runtime.block_on(create::create(&options.folder, options.rows, options.seed)),
        Command::Write => {
            let pace = writer::Pace {
                pause: options.pace,
                rounds: options.rounds,
            };
            let written = runtime.block_on(writer::write(&options.folder, options.seed, pace));
            // The thread that waits for the end of standard input may still wait.
            runtime.shutdown_background();
            written
        }
    }
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut arguments = arguments;
    let command = match arguments.next().as_deref() {
        Some("create") => Command::Create,
        Some("write") => Command::Write,
        Some(other) => bail!("`{other}` is no command"),
        None => bail!("a command is missing"),
    };
    let mut folder = None;
    let mut numbers = [("--rows", 3000), ("--seed", 7), ("--pace", 100)];
    let mut rounds = None;
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .with_context(|| format!("{argument} wants a value"))
        };
        let number = |text: String| {
            text.parse::<u64>()
                .with_context(|| format!("`{text}` for {argument} is no number"))
        };
        if let Some((_, place)) = numbers.iter_mut().find(|(name, _)| *name == argument) {
            *place = number(value()?)?;
        } else if argument == "--rounds" {
            rounds = Some(number(value()?)?);
        } else if argument == "--dir" {
            folder = Some(PathBuf::from(value()?));
        } else if argument.starts_with('-') {
            bail!("`{argument}` is no option");
        } else if folder.replace(PathBuf::from(&argument)).is_some() {
            bail!("`{argument}` is one folder too many");
        }
    }
    let [(_, rows), (_, seed), (_, pace)] = numbers;
    if rows < 300 {
        bail!("--rows {rows}: a product quantiser wants at least 300 rows");
    }
    let folder = folder.context("the folder is missing")?;
    Ok(Options {
        command,
        folder,
        rows,
        seed,
        pace: Duration::from_millis(pace),
        rounds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_folder_may_stand_alone_or_behind_its_option() {
        assert_eq!(
            parsed("create here").unwrap(),
            parsed("create --dir here").unwrap()
        );
        assert_eq!(parsed("write x --rounds 3 --pace 0").unwrap().rounds, Some(3));
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for line in [
            "",
            "make x",
            "create",
            "create a b",
            "create a --rows",
            "create a --rows x",
            "create a --rows 9",
            "create a -z",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
