//! Run a process and ask the kernel what it took.

use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::time::Instant;

/// How often memory is looked at. The kernel keeps the peak, so only the last moments can be missed.
const LOOK: Duration = Duration::from_millis(20);

/// What a process took.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Measured {
    /// From its start to its end.
    pub(crate) seconds: f64,
    /// User and system time, threads included.
    pub(crate) cpu_seconds: f64,
    /// The most memory that was resident.
    pub(crate) peak_bytes: u64,
}

/// Runs `command`, which must succeed; its output is dropped, its errors are shown.
pub(crate) fn measure(command: &mut Command) -> Result<Measured> {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("start {}", command.get_program().display()))?;
    let pid = Pid::from_raw(i32::try_from(child.id())?).context("a child has an id")?;
    let (ended, end) = channel();
    let waiter = std::thread::spawn(move || {
        // Looks without reaping: the figures of a process that has ended stay readable until it is waited for.
        let outcome = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let _nobody_waits = ended.send(outcome.map(drop));
    });
    let mut peak_bytes = 0;
    loop {
        peak_bytes = peak_bytes.max(peak(pid).unwrap_or(0));
        match end.recv_timeout(LOOK) {
            Ok(outcome) => break outcome.context("wait for a process")?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("the thread that waits for a process is gone"),
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = cpu(pid)?;
    let status = child.wait().context("wait for a process")?;
    let _joined = waiter.join();
    if !status.success() {
        bail!("`{}` ended with {status}", command.get_program().display());
    }
    Ok(Measured {
        seconds,
        cpu_seconds,
        peak_bytes,
    })
}

/// `VmHWM`, in bytes; nothing once the process has ended.
fn peak(pid: Pid) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// User and system time of a process that has ended and is not yet waited for.
fn cpu(pid: Pid) -> Result<f64> {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    // The name stands in parentheses and may hold anything; fields 14 and 15 are ticks in user and kernel mode.
    let (_, fields) = text
        .rsplit_once(')')
        .context("find the end of the name in stat")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || {
        fields
            .next()
            .and_then(|field| field.parse::<u32>().ok())
            .context("read ticks in stat")
    };
    let total = ticks()? + ticks()?;
    let per_second = u32::try_from(rustix::param::clock_ticks_per_second())?;
    Ok(f64::from(total) / f64::from(per_second))
}
