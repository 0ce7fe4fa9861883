//! Serves a file tree to one probe.
//!
//! # Overview
//! [`serve`] sends the job, then answers requests until the probe closes its side. Requests run concurrently, up
//! to [`Options::in_flight`]; beyond it the socket is simply not read, so that a greedy probe waits and the agent
//! holds at most that many answers in memory.
//!
//! # Cancellation
//! Cancelling ends the connection at once; a probe that is still running sees its standard input end and exits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::frame::{self, MAX_JOB, MAX_PAGE, MAX_REQUEST, Malformed, Request, Response};
use crate::job::Job;
use crate::tree::{FileTree, TreeError};

/// Bounds on what one probe may take.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Requests answered at the same time; each holds at most [`frame::MAX_READ`] bytes.
    pub in_flight: usize,
    /// The longest that the tree may take for one request.
    pub request_timeout: Duration,
    /// The longest that the probe may leave an answer unread.
    pub write_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            in_flight: 16,
            request_timeout: Duration::from_secs(120),
            write_timeout: Duration::from_secs(60),
        }
    }
}

/// What was served; the agent's own account, whatever the probe says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Served {
    /// Requests answered.
    pub requests: u64,
    /// Bytes of file content sent.
    pub bytes: u64,
    /// Files that the tree called damaged, with its first reason. At most [`MAX_REMEMBERED`].
    pub damaged: BTreeMap<String, String>,
    /// The first file that could not be read at the time, with the reason.
    pub unavailable: Option<(String, String)>,
}

/// The most damaged files that [`Served`] names.
pub const MAX_REMEMBERED: usize = 1000;

/// Why serving ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The job does not fit into a frame.
    #[error("the job for the probe is longer than {MAX_JOB} bytes: ask for fewer tables at once")]
    JobTooLarge(#[source] Malformed),
    /// The job could not be written as JSON.
    #[error("write the job as JSON")]
    JobJson(#[source] serde_json::Error),
    /// The probe broke the protocol.
    #[error("the probe broke the protocol")]
    Protocol(#[from] Malformed),
    /// The socket failed.
    #[error("talk to the probe")]
    Socket(#[source] std::io::Error),
    /// The probe left answers unread.
    #[error("the probe read nothing for {0:?}")]
    Stalled(Duration),
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// Sends the job, then answers the probe's requests until it closes the socket.
pub async fn serve(
    socket: UnixStream,
    job: &Job,
    tree: Option<Arc<dyn FileTree>>,
    options: Options,
    cancel: &CancellationToken,
) -> (Served, Result<(), Error>) {
    let account = Arc::new(Mutex::new(Served::default()));
    let work = converse(socket, job, tree, options, Arc::clone(&account));
    let result = tokio::select! {
        result = work => result,
        () = cancel.cancelled() => Err(Error::Cancelled),
    };
    let served = account.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (served, result)
}

async fn converse(
    socket: UnixStream,
    job: &Job,
    tree: Option<Arc<dyn FileTree>>,
    options: Options,
    account: Arc<Mutex<Served>>,
) -> Result<(), Error> {
    let json = serde_json::to_vec(job).map_err(Error::JobJson)?;
    let job = frame::encode_job(&json).map_err(Error::JobTooLarge)?;
    let (reading, writing) = socket.into_split();
    let (answers, queue) = mpsc::channel(options.in_flight.max(1));
    let writer = write_answers(writing, job, queue, options.write_timeout);
    let reader = read_requests(reading, tree, answers, options, account);
    tokio::pin!(writer, reader);
    tokio::select! {
        written = &mut writer => written,
        read = &mut reader => { read?; writer.await }
    }
}

async fn write_answers(
    mut socket: OwnedWriteHalf,
    job: Bytes,
    mut queue: mpsc::Receiver<Bytes>,
    patience: Duration,
) -> Result<(), Error> {
    let mut next = Some(job);
    while let Some(bytes) = next {
        match tokio::time::timeout(patience, socket.write_all(&bytes)).await {
            Err(_) => return Err(Error::Stalled(patience)),
            Ok(Err(error)) if closed(&error) => return Ok(()),
            Ok(Err(error)) => return Err(Error::Socket(error)),
            Ok(Ok(())) => next = queue.recv().await,
        }
    }
    Ok(())
}

async fn read_requests(
    mut socket: OwnedReadHalf,
    tree: Option<Arc<dyn FileTree>>,
    answers: mpsc::Sender<Bytes>,
    options: Options,
    account: Arc<Mutex<Served>>,
) -> Result<(), Error> {
    let slots = Arc::new(Semaphore::new(options.in_flight.max(1)));
    let mut running = JoinSet::new();
    loop {
        let slot = Arc::clone(&slots)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let Some(bytes) = read_frame(&mut socket, MAX_REQUEST).await? else {
            return Ok(());
        };
        let (id, request) = Request::decode(bytes)?;
        let (tree, answers, account) = (tree.clone(), answers.clone(), Arc::clone(&account));
        let answering = async move {
            let answer = answer(tree.as_deref(), &request, options.request_timeout).await;
            note(&account, &request, &answer);
            // The receiver is gone only when the connection is; nobody waits for the answer then.
            let _ = answers.send(answer.encode(id)).await;
            drop(slot);
        };
        running.spawn(answering.in_current_span());
        while running.try_join_next().is_some() {}
    }
}

/// Reads one frame without its length; `None` at the end of the stream.
pub(crate) async fn read_frame(socket: &mut OwnedReadHalf, most: usize) -> Result<Option<Bytes>, Error> {
    let mut length = [0u8; 4];
    match socket.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if closed(&error) => return Ok(None),
        Err(error) => return Err(Error::Socket(error)),
    }
    let mut body = vec![0; frame::check_length(u32::from_le_bytes(length), most)?];
    match socket.read_exact(&mut body).await {
        Ok(_) => Ok(Some(body.into())),
        Err(error) if closed(&error) => Ok(None),
        Err(error) => Err(Error::Socket(error)),
    }
}

fn closed(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

async fn answer(tree: Option<&dyn FileTree>, request: &Request, patience: Duration) -> Response {
    let Some(tree) = tree else {
        return Response::NotFound;
    };
    let asked = async {
        match request {
            Request::Stat { path } => Ok(match tree.stat(path).await? {
                Some(stat) => Response::Stat {
                    len: stat.len,
                    etag: stat.etag,
                },
                None => Response::NotFound,
            }),
            Request::List { prefix, after } => page(tree, prefix, after).await,
            Request::Read { path, start, end } => {
                let bytes = tree.read(path, *start..*end).await?;
                let (found, wanted) = (bytes.len() as u64, end - start);
                if found == wanted {
                    Ok(Response::Read(bytes))
                } else {
                    Err(TreeError::Damaged(format!(
                        "{found} bytes came where {wanted} were asked for"
                    )))
                }
            }
        }
    };
    match tokio::time::timeout(patience, asked).await {
        Ok(Ok(response)) => response,
        Ok(Err(TreeError::NotFound)) => Response::NotFound,
        Ok(Err(TreeError::Damaged(why))) => Response::Damaged(why),
        Ok(Err(TreeError::Unavailable(why))) => Response::Unavailable(why),
        Err(_) => Response::Unavailable(format!("no answer within {patience:?}")),
    }
}

async fn page(tree: &dyn FileTree, prefix: &str, after: &str) -> Result<Response, TreeError> {
    const ENTRIES: usize = 4096;
    let after = (!after.is_empty()).then_some(after);
    let mut entries = tree.list(prefix, after, ENTRIES).await?;
    let mut more = entries.len() >= ENTRIES;
    let mut size = 0;
    let fitting = entries.iter().take_while(|entry| {
        size += frame::entry_size(entry);
        size <= MAX_PAGE
    });
    let count = fitting.count();
    if let Some(long) = entries.iter().find(|entry| entry.path.len() > frame::MAX_PATH) {
        return Err(TreeError::Unavailable(format!(
            "a path in {prefix} is {} bytes long",
            long.path.len()
        )));
    }
    if count < entries.len() {
        entries.truncate(count);
        more = true;
    }
    Ok(Response::List { entries, more })
}

fn note(account: &Mutex<Served>, request: &Request, answer: &Response) {
    let path = match request {
        Request::Stat { path } | Request::Read { path, .. } => path,
        Request::List { prefix, .. } => prefix,
    };
    let mut served = account.lock().unwrap_or_else(PoisonError::into_inner);
    served.requests += 1;
    match answer {
        Response::Read(bytes) => served.bytes += bytes.len() as u64,
        Response::Damaged(why) if served.damaged.len() < MAX_REMEMBERED => {
            served.damaged.entry(path.clone()).or_insert_with(|| why.clone());
        }
        Response::Unavailable(why) => {
            served
                .unavailable
                .get_or_insert_with(|| (path.clone(), why.clone()));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
