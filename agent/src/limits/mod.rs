//! What the agent takes from the host, so that the host's own work comes first.
//!
//! # Overview
//! Before a command that works hard starts its threads, [`lower`] gives the process nice 10, the I/O class idle, and
//! as many of the host's cores as `limits.cpu` says. Threads and probes inherit all three, so that the kernel holds
//! them to it, whatever a library decides by itself; [`threads`] is then how many at once make sense.
//! `limits.memory` is the probe's to keep, `limits.upload` the store's, `limits.pins` the cut's.
//!
//! [`busy`] asks a hook of the host's own whether the work should stop.

pub mod busy;

use std::fmt;

use ioprio::{Class, Pid, Priority, Target};
use rustix::io::Errno;
use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

/// The nice value of work; a process that was started with a higher one keeps it.
pub const NICE: i32 = 10;

/// What holds for the calling thread and for all that it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Its nice value.
    pub nice: i32,
    /// Whether its I/O waits until the disk has nothing else to do.
    pub io_idle: bool,
    /// Cores that it may run on.
    pub cores: u32,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = if self.io_idle { "idle" } else { "as started" };
        let plural = if self.cores == 1 { "" } else { "s" };
        write!(
            f,
            "nice {}, I/O class {class}, {} core{plural}",
            self.nice, self.cores
        )
    }
}

/// Why the host's own work could not be put first.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The nice value could not be read or set.
    #[error("set nice {NICE}")]
    Nice(#[source] Errno),
    /// The I/O class could not be set.
    #[error("set the I/O class idle")]
    Io(#[source] std::io::Error),
    /// The cores could not be read or set.
    #[error("keep to {cores} cores")]
    Cores {
        /// How many were wanted.
        cores: usize,
        /// What the system says.
        #[source]
        source: Errno,
    },
}

/// Puts the calling thread, and all that it starts from now on, behind the host's own work. Call it before threads
/// are started: those that run already are left alone.
///
/// Every step is tried; the errors are those that did not work.
pub fn lower(cpu: f64) -> Vec<Error> {
    [lower_nice(), lower_io(), keep_to_cores(cores(cpu))]
        .into_iter()
        .filter_map(Result::err)
        .collect()
}

fn lower_nice() -> Result<(), Error> {
    if getpriority_process(None).map_err(Error::Nice)? < NICE {
        setpriority_process(None, NICE).map_err(Error::Nice)?;
    }
    Ok(())
}

fn lower_io() -> Result<(), Error> {
    // Process 0 is the calling thread.
    ioprio::set_priority(Target::Process(Pid::from_raw(0)), Priority::new(Class::Idle))
        .map_err(|errno| Error::Io(std::io::Error::other(errno)))
}

/// Leaves the last `wanted` of the cores that the thread may use: the first ones serve most interrupts.
fn keep_to_cores(wanted: usize) -> Result<(), Error> {
    let failed = |source| Error::Cores {
        cores: wanted,
        source,
    };
    let allowed = sched_getaffinity(None).map_err(failed)?;
    let mut kept = CpuSet::new();
    (0..CpuSet::MAX_CPU)
        .rev()
        .filter(|core| allowed.is_set(*core))
        .take(wanted)
        .for_each(|core| kept.set(core));
    if kept.count() < allowed.count() {
        sched_setaffinity(None, &kept).map_err(failed)?;
    }
    Ok(())
}

/// Whole cores for a configured number: 0.5 is one core, 1.5 are two.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "validated to be positive and finite; `as` saturates"
)]
pub fn cores(cpu: f64) -> usize {
    (cpu.ceil() as usize).max(1)
}

/// How many threads may work at once: the cores that the process was left with.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What holds for the calling thread.
///
/// # Errors
/// When the system does not say.
pub fn standing() -> Result<Standing, Error> {
    let class = ioprio::get_priority(Target::Process(Pid::from_raw(0)))
        .map_err(|errno| Error::Io(std::io::Error::other(errno)))?
        .class();
    let cores = sched_getaffinity(None).map_err(|source| Error::Cores { cores: 0, source })?;
    Ok(Standing {
        nice: getpriority_process(None).map_err(Error::Nice)?,
        io_idle: class == Some(Class::Idle),
        cores: cores.count(),
    })
}

/// What would hold after [`lower`], tried on a thread of its own that then ends.
pub fn try_out(cpu: f64) -> (Vec<Error>, Result<Standing, Error>) {
    let tried = std::thread::scope(|scope| scope.spawn(|| (lower(cpu), standing())).join());
    // Nothing in there panics; if it ever does, the panic is ours to pass on.
    tried.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lowered_thread_and_what_it_starts_yield_to_the_host() {
        let before = standing().expect("a standing");
        let (errors, inherited) = std::thread::scope(|scope| {
            let lowered = scope.spawn(|| {
                let errors = lower(0.5);
                (errors, std::thread::spawn(standing).join().expect("no panic"))
            });
            lowered.join().expect("no panic")
        });
        assert!(errors.is_empty(), "{errors:?}");
        let expected = Standing {
            nice: before.nice.max(NICE),
            io_idle: true,
            cores: 1,
        };
        assert_eq!(inherited.expect("a standing"), expected);
        assert_eq!(
            standing().expect("a standing"),
            before,
            "other threads are left alone"
        );
    }

    #[test]
    fn more_cores_than_there_are_change_nothing() {
        let before = standing().expect("a standing");
        let (errors, after) = try_out(4096.0);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(after.expect("a standing").cores, before.cores);
    }

    #[test]
    fn parts_of_cores_are_rounded_up() {
        assert_eq!([0.1, 1.0, 1.2, 8.0].map(cores), [1, 1, 2, 8]);
    }
}
