//! The process: takes the job, measures table after table, says goodbye.

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;

use dr_probe_wire::client::{self, TreeClient};
use dr_probe_wire::event::{Confinement, EXIT_GONE, EXIT_PANIC, EXIT_USAGE, Event, ProbeIdentity, Summary};
use dr_probe_wire::fault::{Fault, FaultKind, Step};
use dr_probe_wire::job::{Job, Location};
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::classify;
use crate::confine;
use crate::database::{self, Database};
use crate::limits;
use crate::report::Reporter;
use crate::table::{self, Task};

/// Version of LanceDB that this probe links.
pub const LANCEDB: &str = "0.41.0";
/// Version of Lance that this probe links.
pub const LANCE: &str = "14.0.2";

/// The whole program.
pub fn main() -> ExitCode {
    let reporter = Reporter::new(Box::new(std::io::stdout()));
    reporter.hook_panics();
    let hello = Event::Hello {
        probe: identity(),
        protocol: dr_probe_wire::PROTOCOL,
    };
    reporter.tell(&hello);
    match work(&reporter) {
        Ok(summary) => {
            reporter.tell(&Event::Done(summary));
            ExitCode::SUCCESS
        }
        Err((code, fault)) => {
            reporter.tell(&Event::Failed(fault));
            ExitCode::from(code)
        }
    }
}

/// Takes the job, gives up what it does not need, and does it. Threads are started only when that is given up.
fn work(reporter: &Arc<Reporter>) -> Result<Summary, Refusal> {
    let starting = |error| refuse(format!("start the runtime: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(starting)?;
    let (job, socket) = runtime.block_on(take())?;
    drop(runtime);
    limits::apply(&job.limits).map_err(|error| refuse(format!("set limits: {error}")))?;
    let confinement = confine::confine(&job, Some(&std::env::temp_dir()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(starting)?;
    let job = obey(job, socket, Arc::clone(reporter));
    let done = runtime.block_on(async { tokio::spawn(job).await });
    runtime.shutdown_background();
    // A panic was told by the hook already.
    let panicked = || classify::panicked(Step::Connect, None, &reporter.take_panics());
    let summary = done.unwrap_or_else(|_| Err((EXIT_PANIC, panicked())))?;
    Ok(Summary {
        confinement,
        ..summary
    })
}

type Refusal = (u8, Fault);

fn refuse(message: String) -> Refusal {
    (
        EXIT_USAGE,
        Fault {
            kind: FaultKind::Unavailable,
            step: Step::Connect,
            subject: None,
            file: None,
            message,
        },
    )
}

/// Who measures: answers of indices may depend on it.
pub fn identity() -> ProbeIdentity {
    ProbeIdentity {
        probe: env!("CARGO_PKG_VERSION").to_owned(),
        lancedb: LANCEDB.to_owned(),
        lance: LANCE.to_owned(),
        cpu: cpu(),
    }
}

/// Architecture and the vector instructions by which Lance chooses its kernels.
fn cpu() -> String {
    #[cfg(target_arch = "x86_64")]
    let features = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let features: [(&str, bool); 0] = [];
    let present = features
        .iter()
        .filter(|(_, present)| *present)
        .map(|(name, _)| *name);
    std::iter::once(std::env::consts::ARCH)
        .chain(present)
        .collect::<Vec<_>>()
        .join("+")
}

/// The job, and the socket over which its tree is asked.
async fn take() -> Result<(Job, std::os::unix::net::UnixStream), Refusal> {
    let socket = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map(std::os::unix::net::UnixStream::from);
    let socket = socket.and_then(|socket| {
        socket.set_nonblocking(true)?;
        UnixStream::from_std(socket)
    });
    let no_socket = |error| refuse(format!("standard input is no socket: {error}"));
    let mut socket = socket.map_err(no_socket)?;
    let job = client::receive(&mut socket).await;
    let job = job.map_err(|error| refuse(classify::chain(&error)))?;
    Ok((job, socket.into_std().map_err(no_socket)?))
}

async fn obey(
    job: Job,
    socket: std::os::unix::net::UnixStream,
    reporter: Arc<Reporter>,
) -> Result<Summary, Refusal> {
    let socket = UnixStream::from_std(socket)
        .map_err(|error| refuse(format!("standard input is no socket: {error}")))?;
    limits::watch_memory(job.limits.memory, Arc::clone(&reporter))
        .map_err(|error| refuse(format!("watch memory: {error}")))?;
    if job.write_test && matches!(job.location, Location::Tree { .. }) {
        return Err(refuse(
            "a write test needs a folder; this job is for a tree".to_owned(),
        ));
    }
    let client = Arc::new(TreeClient::new(socket));
    let watched = Arc::clone(&client);
    // A job in a folder asks the agent nothing, and would go on for an agent that has died.
    tokio::spawn(async move {
        watched.closed().await;
        std::process::exit(i32::from(EXIT_GONE));
    });
    measure(&job, client, &reporter).await
}

/// Measures every table of the job. Faults of tables are theirs; an error ends the job.
pub async fn measure(
    job: &Job,
    client: Arc<TreeClient>,
    reporter: &Arc<Reporter>,
) -> Result<Summary, Refusal> {
    let start = Instant::now();
    let failed = |error: database::Error, memo| (0, classify::fault(Step::Connect, None, &error, &memo, &[]));
    let connected = Database::connect(&job.location, Arc::clone(&client), job.limits.memory).await;
    let database = connected.map_err(|error| failed(error, client.memo()))?;
    let paths = match &job.tables {
        Some(paths) => paths.clone(),
        None => database
            .tables()
            .await
            .map_err(|error| failed(error, client.memo()))?,
    };
    reporter.tell(&Event::Found {
        tables: paths.clone(),
    });
    for path in &paths {
        let task = Task {
            job,
            database: &database,
            path,
            reporter,
        };
        let measured = table::measure(&task).await;
        reporter.tell(&Event::Table(Box::new(measured)));
    }
    let (reads, bytes) = client.counts();
    Ok(Summary {
        tables: paths.len() as u64,
        reads,
        bytes,
        peak_memory: limits::peak(),
        confinement: Confinement::default(),
        millis: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

#[cfg(test)]
mod tests;
