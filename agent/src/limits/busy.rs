//! A hook of the host's own that says whether it is too busy for us.
//!
//! # Overview
//! The hook is a program that ends with 0 while the host can spare something. It is asked before work begins and, at
//! the [`Pace`], while it runs. A single failure is asked about again; the second in a row stops the work at its next
//! safe point. A hook that can not be started or does not end in time has failed: a host that is too busy to
//! answer is busy.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, Command};

use crate::config::{Hook, Period};
use crate::stop::{Reason, Stop};

/// How often the hook is asked.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long the host is left in peace after a good answer.
    pub every: Duration,
    /// How soon a bad answer is asked about again.
    pub again: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(30),
            again: Duration::from_secs(5),
        }
    }
}

/// As much of what a hook says on stderr as is kept.
const MOST: u64 = 4 << 10;

/// Why a hook did not say yes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started or watched.
    #[error("start {program}")]
    Start {
        /// The program.
        program: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// It did not end in time and was killed.
    #[error("{program} did not end within {limit}")]
    TimedOut {
        /// The program.
        program: String,
        /// The limit.
        limit: Period,
    },
    /// It said no.
    #[error("{program} ended with {status}{}", words(said))]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said on stderr.
        said: String,
    },
}

fn words(said: &str) -> String {
    if said.is_empty() {
        String::new()
    } else {
        format!(": {said}")
    }
}

/// Asks the hook once: without a shell, without our stdin, killed when its time is over.
///
/// # Errors
/// Whatever is not a clean end in time.
pub async fn ask(hook: &Hook) -> Result<(), Error> {
    ask_about(hook, &[]).await
}

/// The same, with variables in its environment that say what it is asked about.
///
/// # Errors
/// Whatever is not a clean end in time.
pub async fn ask_about(hook: &Hook, variables: &[(&str, String)]) -> Result<(), Error> {
    let (program, arguments) = match hook.command.split_first() {
        Some((program, arguments)) => (program.clone(), arguments),
        None => (String::new(), &[][..]),
    };
    let start = |source| Error::Start {
        program: program.clone(),
        source,
    };
    let mut child = Command::new(&program)
        .args(arguments)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(start)?;
    let stderr = child.stderr.take();
    let answer = async {
        let said = beginning(stderr).await?;
        Ok::<_, std::io::Error>((child.wait().await?, said))
    };
    let (status, said) = match tokio::time::timeout(hook.timeout.0, answer).await {
        Err(_) => {
            return Err(Error::TimedOut {
                program,
                limit: hook.timeout,
            });
        }
        Ok(answer) => answer.map_err(start)?,
    };
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed {
        program,
        status,
        said,
    })
}

/// The first lines that it says; the rest is read and dropped, so that it never waits for us.
async fn beginning(stderr: Option<ChildStderr>) -> std::io::Result<String> {
    let Some(mut stderr) = stderr else {
        return Ok(String::new());
    };
    let mut head = Vec::new();
    (&mut stderr).take(MOST).read_to_end(&mut head).await?;
    tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
    Ok(String::from_utf8_lossy(&head)
        .trim()
        .lines()
        .collect::<Vec<_>>()
        .join("; "))
}

/// Asks, and once more after a while if the answer is bad.
///
/// # Errors
/// The second answer, if that is bad, too.
pub async fn ask_twice(hook: &Hook, pace: Pace) -> Result<(), Error> {
    match ask(hook).await {
        Ok(()) => Ok(()),
        Err(first) => {
            tracing::info!(error = %crate::error::in_one_line(&first), "the busy hook says no; asking once more");
            tokio::time::sleep(pace.again).await;
            ask(hook).await
        }
    }
}

/// Asks again and again until the work is over, or stops it. Spawn it.
pub async fn watch(name: String, hook: Hook, pace: Pace, stop: Stop) {
    loop {
        tokio::select! {
            () = stop.token().cancelled() => return,
            () = tokio::time::sleep(pace.every) => {}
        }
        let answer = tokio::select! {
            () = stop.token().cancelled() => return,
            answer = ask_twice(&hook, pace) => answer,
        };
        if let Err(error) = answer {
            let error = crate::error::in_one_line(&error);
            tracing::warn!(
                hook = name,
                error,
                "the host is busy: stopping at the next safe point"
            );
            stop.request(Reason::HostBusy);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(script: &str, timeout: Duration) -> Hook {
        Hook {
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            timeout: Period(timeout),
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_a_hook_answers_is_told() {
        ask(&hook("exit 0", LONG)).await.expect("yes");
        let no = ask(&hook("echo p99 is 80 ms >&2; exit 3", LONG))
            .await
            .expect_err("no");
        assert_eq!(no.to_string(), "/bin/sh ended with exit status: 3: p99 is 80 ms");
        let late = ask(&hook("sleep 30", Duration::from_millis(20)))
            .await
            .expect_err("late");
        assert!(matches!(late, Error::TimedOut { .. }), "{late}");
        let absent = Hook {
            command: vec!["/nonexistent/hook".to_owned()],
            timeout: Period(LONG),
        };
        let absent = ask(&absent).await.expect_err("absent");
        assert_eq!(absent.to_string(), "start /nonexistent/hook");
    }

    #[tokio::test]
    async fn a_hook_that_says_more_than_is_kept_still_ends() {
        let said = ask(&hook("yes no | head -c 300000 >&2; exit 1", LONG)).await;
        let said = said.expect_err("no").to_string();
        assert!(said.len() < 8 << 10, "{} bytes", said.len());
    }

    #[tokio::test]
    async fn one_bad_answer_is_forgiven_and_two_stop_the_work() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let asked = dir.path().join("asked");
        // Yes, no, yes, no, no.
        let script = format!(
            "echo >> {0}; case $(wc -l < {0}) in 1|3) exit 0;; *) exit 1;; esac",
            asked.display()
        );
        let at_once = Pace {
            every: Duration::ZERO,
            again: Duration::ZERO,
        };
        let stop = Stop::default();
        watch("p99".to_owned(), hook(&script, LONG), at_once, stop.clone()).await;
        assert_eq!(stop.reason(), Some(Reason::HostBusy));
        let times = std::fs::read_to_string(&asked).expect("the hook was asked");
        assert_eq!(times.lines().count(), 5);
    }
}
