//! The probe's side of the socket.
//!
//! # Overview
//! [`TreeClient`] multiplexes any number of concurrent questions over the socket. It remembers out of band what
//! the tree called damaged or missing: Lance retries a failed read several times and wraps its reason in its own
//! words, so the memo, not the error that comes out of Lance, says what really happened.
//!
//! # Retries
//! None here: the agent's storage has its own. A damaged file is not asked again.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};

use crate::frame::{self, Listed, MAX_JOB, MAX_READ, MAX_RESPONSE, Malformed, Request, Response};
use crate::job::Job;

/// The longest that an answer may take. The agent's own limit is shorter, and says more.
const PATIENCE: Duration = Duration::from_secs(300);
/// The most files that the memo names.
const MAX_REMEMBERED: usize = 1000;

/// Why a question got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file is not in the tree.
    #[error("{path} is not in the tree")]
    NotFound {
        /// The file.
        path: String,
    },
    /// The file's bytes are wrong.
    #[error("{path} is damaged: {why}")]
    Damaged {
        /// The file.
        path: String,
        /// What the agent says.
        why: String,
    },
    /// The file could not be read now.
    #[error("{path} could not be read: {why}")]
    Unavailable {
        /// The file.
        path: String,
        /// What the agent says.
        why: String,
    },
    /// The agent is gone, or broke the protocol.
    #[error("the agent is gone: {0}")]
    Gone(String),
}

/// Why no job came.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The socket failed or ended.
    #[error("read the job from standard input")]
    Socket(#[source] std::io::Error),
    /// The frame is no job, or one of another protocol.
    #[error("the job's frame is wrong")]
    Frame(#[from] Malformed),
    /// The JSON is not a job.
    #[error("the job is not understood")]
    Json(#[from] serde_json::Error),
}

/// What the tree refused, kept beside whatever Lance makes of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memo {
    /// Damaged files with the first reason.
    pub damaged: BTreeMap<String, String>,
    /// Files that could not be read, with the last reason.
    pub unavailable: BTreeMap<String, String>,
}

type Waiting = HashMap<u64, oneshot::Sender<Response>>;

#[derive(Debug, Default)]
struct Shared {
    waiting: Waiting,
    gone: Option<String>,
    memo: Memo,
}

/// Asks the agent for files.
#[derive(Debug)]
pub struct TreeClient {
    shared: Arc<Mutex<Shared>>,
    /// Its sender lives as long as answers can come.
    open: watch::Receiver<()>,
    requests: mpsc::Sender<Bytes>,
    next: AtomicU64,
    reads: AtomicU64,
    bytes: AtomicU64,
}

/// Takes the job from the socket; afterwards the socket answers the questions of a [`TreeClient`].
pub async fn receive(socket: &mut UnixStream) -> Result<Job, JobError> {
    let mut length = [0u8; 4];
    socket.read_exact(&mut length).await.map_err(JobError::Socket)?;
    let length = frame::check_length(u32::from_le_bytes(length), MAX_JOB)?;
    let mut body = BytesMut::zeroed(length);
    socket.read_exact(&mut body).await.map_err(JobError::Socket)?;
    Ok(serde_json::from_slice(&frame::decode_job(body.freeze())?)?)
}

impl TreeClient {
    /// Asks over a socket from which the job was taken.
    pub fn new(socket: UnixStream) -> Self {
        let (reading, writing) = socket.into_split();
        let (requests, queue) = mpsc::channel(64);
        let shared = Arc::new(Mutex::new(Shared::default()));
        tokio::spawn(write_requests(writing, queue, Arc::clone(&shared)));
        let (alive, open) = watch::channel(());
        let answers = Arc::clone(&shared);
        tokio::spawn(async move {
            read_answers(reading, answers).await;
            drop(alive);
        });
        Self {
            shared,
            open,
            requests,
            next: 1.into(),
            reads: 0.into(),
            bytes: 0.into(),
        }
    }

    /// Length and etag of a file.
    pub async fn stat(&self, path: &str) -> Result<(u64, String), Error> {
        match self
            .ask(
                path,
                Request::Stat {
                    path: path.to_owned(),
                },
            )
            .await?
        {
            Response::Stat { len, etag } => Ok((len, etag)),
            _ => Err(self.broken("an answer of another kind to a stat")),
        }
    }

    /// A range of a file, in as many requests as it takes.
    pub async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, Error> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        if range.end - range.start <= MAX_READ {
            return self.read_once(path, range).await;
        }
        let mut all = BytesMut::new();
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min(start + MAX_READ);
            all.extend_from_slice(&self.read_once(path, start..end).await?);
            start = end;
        }
        Ok(all.freeze())
    }

    async fn read_once(&self, path: &str, range: Range<u64>) -> Result<Bytes, Error> {
        let wanted = range.end - range.start;
        let request = Request::Read {
            path: path.to_owned(),
            start: range.start,
            end: range.end,
        };
        match self.ask(path, request).await? {
            Response::Read(bytes) if bytes.len() as u64 == wanted => {
                self.reads.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(wanted, Ordering::Relaxed);
                Ok(bytes)
            }
            _ => Err(self.broken("an answer of another kind or length to a read")),
        }
    }

    /// One page of the files below `prefix` that sort after `after`, and whether there are more.
    pub async fn list(&self, prefix: &str, after: &str) -> Result<(Vec<Listed>, bool), Error> {
        let request = Request::List {
            prefix: prefix.to_owned(),
            after: after.to_owned(),
        };
        match self.ask(prefix, request).await? {
            Response::List { entries, more } => {
                let places = std::iter::once(after).chain(entries.iter().map(|entry| entry.path.as_str()));
                let inside = entries.iter().all(|entry| entry.path.starts_with(prefix));
                if !inside || !places.is_sorted_by(|a, b| a < b) || (more && entries.is_empty()) {
                    return Err(self.broken("a listing that is out of order or out of its folder"));
                }
                Ok((entries, more))
            }
            _ => Err(self.broken("an answer of another kind to a list")),
        }
    }

    /// Returns when the agent has closed the socket: nobody waits for the job any more.
    pub async fn closed(&self) {
        let mut open = self.open.clone();
        while open.changed().await.is_ok() {}
    }

    /// What was refused so far.
    pub fn memo(&self) -> Memo {
        self.lock().memo.clone()
    }

    /// Reads and bytes so far.
    pub fn counts(&self) -> (u64, u64) {
        (
            self.reads.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }

    async fn ask(&self, path: &str, request: Request) -> Result<Response, Error> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, arrives) = oneshot::channel();
        {
            let mut shared = self.lock();
            if let Some(why) = &shared.gone {
                return Err(Error::Gone(why.clone()));
            }
            if let Some(why) = shared.memo.damaged.get(path) {
                return Err(Error::Damaged {
                    path: path.to_owned(),
                    why: why.clone(),
                });
            }
            shared.waiting.insert(id, answer);
        }
        let asked = async {
            self.requests.send(request.encode(id)).await.ok()?;
            arrives.await.ok()
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Some(response)) => self.judge(path, response),
            Ok(None) => Err(Error::Gone(
                self.lock().gone.clone().unwrap_or_else(|| "it closed".into()),
            )),
            Err(_) => {
                self.lock().waiting.remove(&id);
                let why = format!("no answer within {PATIENCE:?}");
                self.judge(path, Response::Unavailable(why))
            }
        }
    }

    fn judge(&self, path: &str, response: Response) -> Result<Response, Error> {
        let path = path.to_owned();
        match response {
            Response::NotFound => Err(Error::NotFound { path }),
            Response::Damaged(why) => {
                remember(&mut self.lock().memo.damaged, &path, &why);
                Err(Error::Damaged { path, why })
            }
            Response::Unavailable(why) => {
                remember(&mut self.lock().memo.unavailable, &path, &why);
                Err(Error::Unavailable { path, why })
            }
            other => Ok(other),
        }
    }

    fn broken(&self, why: &str) -> Error {
        end(&self.shared, why);
        Error::Gone(why.to_owned())
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remember(into: &mut BTreeMap<String, String>, path: &str, why: &str) {
    if into.len() < MAX_REMEMBERED {
        into.entry(path.to_owned()).or_insert_with(|| why.to_owned());
    }
}

/// Fails every question that waits and every later one.
fn end(shared: &Mutex<Shared>, why: &str) {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    shared.gone.get_or_insert_with(|| why.to_owned());
    shared.waiting.clear();
}

async fn write_requests(
    mut socket: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Bytes>,
    shared: Arc<Mutex<Shared>>,
) {
    while let Some(request) = queue.recv().await {
        if let Err(error) = socket.write_all(&request).await {
            end(&shared, &format!("write a request: {error}"));
            return;
        }
    }
}

async fn read_answers(mut socket: OwnedReadHalf, shared: Arc<Mutex<Shared>>) {
    let why = loop {
        match read_answer(&mut socket).await {
            Ok((id, response)) => {
                let waiting = {
                    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    shared.waiting.remove(&id)
                };
                // An answer that nobody waits for belongs to a question that timed out or was dropped.
                if let Some(waiting) = waiting {
                    let _ = waiting.send(response);
                }
            }
            Err(why) => break why,
        }
    };
    end(&shared, &why);
}

async fn read_answer(socket: &mut OwnedReadHalf) -> Result<(u64, Response), String> {
    let mut length = [0u8; 4];
    socket
        .read_exact(&mut length)
        .await
        .map_err(|error| format!("read an answer: {error}"))?;
    let length = u32::from_le_bytes(length);
    let length = frame::check_length(length, MAX_RESPONSE).map_err(|error| error.to_string())?;
    let mut body = BytesMut::zeroed(length);
    socket
        .read_exact(&mut body)
        .await
        .map_err(|error| format!("read an answer: {error}"))?;
    Response::decode(body.freeze()).map_err(|error| error.to_string())
}
