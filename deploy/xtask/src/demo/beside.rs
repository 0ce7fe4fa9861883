//! A process beside the demo, which can not outlive it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::workspace::words;

/// How long a daemon may take to end after it was asked to.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a process that was asked to end is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// A process that runs beside the demo; killed with it.
#[derive(Debug)]
pub(super) struct Beside {
    child: Child,
    name: String,
}

impl Beside {
    /// Starts one and listens to nothing that it says on standard output.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("start {}", words(command)))?;
        Ok(Self {
            child,
            name: words(command),
        })
    }

    /// Starts a daemon and waits for the line of JSON that it says when it is up.
    pub(super) fn start_daemon(command: &mut Command) -> Result<(Self, serde_json::Value)> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", words(command)))?;
        let output = child.stdout.take().context("take a daemon's standard output")?;
        let daemon = Self {
            child,
            name: words(command),
        };
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .with_context(|| format!("wait for {}", daemon.name))?;
        let said = serde_json::from_str(&line)
            .with_context(|| format!("read what {} says when it is up: {line:?}", daemon.name))?;
        Ok((daemon, said))
    }

    /// Asks it to end, as a service manager would, and waits until it has.
    pub(super) fn stop(mut self) -> Result<ExitStatus> {
        let id = self.child.id().to_string();
        let asked = Command::new("kill").arg(&id).status();
        if !asked.context("ask a daemon to end")?.success() {
            bail!("{} had ended by itself", self.name);
        }
        let waits = PATIENCE.as_millis() / GLANCE.as_millis();
        for _ in 0..waits {
            if let Some(status) = self.child.try_wait().context("wait for a daemon")? {
                return Ok(status);
            }
            std::thread::sleep(GLANCE);
        }
        bail!(
            "{} did not end within {} s of being asked",
            self.name,
            PATIENCE.as_secs()
        )
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
