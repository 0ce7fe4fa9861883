//! What the probe allows itself.
//!
//! CPU time, core files and descriptors are the kernel's to enforce. Memory is watched from a thread: an address
//! space limit would count what is only mapped, and a failed allocation aborts without a word.

use std::time::Duration;

use dr_probe_wire::event::{EXIT_LIMIT, Event};
use dr_probe_wire::fault::{Fault, FaultKind, Step};
use dr_probe_wire::job::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::report::Reporter;

/// How often memory is looked at.
const INTERVAL: Duration = Duration::from_millis(25);

/// Sets what the kernel enforces. A limit that is lower already stays.
pub fn apply(limits: &Limits) -> Result<(), rustix::io::Errno> {
    lower(Resource::Core, 0)?;
    lower(Resource::Cpu, limits.cpu_seconds.max(1))?;
    lower(Resource::Nofile, limits.descriptors.max(64))
}

fn lower(resource: Resource, to: u64) -> Result<(), rustix::io::Errno> {
    let most = getrlimit(resource).maximum.map_or(to, |most| most.min(to));
    setrlimit(
        resource,
        Rlimit {
            current: Some(most),
            maximum: Some(most),
        },
    )
}

/// Ends the process when it holds more memory than it may.
pub fn watch_memory(most: u64, reporter: std::sync::Arc<Reporter>) -> std::io::Result<()> {
    let watch = move || {
        loop {
            let held = resident();
            if held > most {
                let message = format!("{} MiB of memory held, {} MiB allowed", held >> 20, most >> 20);
                let step = reporter.step().unwrap_or(Step::Connect);
                let fault = Fault {
                    kind: FaultKind::Limit,
                    step,
                    subject: None,
                    file: None,
                    message,
                };
                reporter.tell(&Event::Failed(fault));
                std::process::exit(i32::from(EXIT_LIMIT));
            }
            std::thread::sleep(INTERVAL);
        }
    };
    std::thread::Builder::new()
        .name("memory".into())
        .spawn(watch)
        .map(drop)
}

/// Resident memory in bytes; zero where the kernel does not say.
fn resident() -> u64 {
    figure("VmRSS:")
}

/// The most memory that this process ever held, in bytes; zero where the kernel does not say.
pub fn peak() -> u64 {
    figure("VmHWM:")
}

fn figure(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or_default() << 10
}
