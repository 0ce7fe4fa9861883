//! An S3 server in this process: real HTTP and signatures on a port of its own, objects as files in a scratch folder.
//!
//! It runs on threads of its own, so that tests need no runtime, and ends when it is dropped. [`S3Server::behave`]
//! makes it ill on purpose. It counts requests and bytes by itself: figures of the product are checked against these.

mod store;

use std::io;
use std::net::TcpListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use dr_vault::storage::s3::{S3Credentials, S3Options};
use hyper::body::{Body as _, Incoming};
use hyper::service::{Service, service_fn};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3ErrorCode};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const ACCESS_KEY: &str = "drctl-tests";
const SECRET_KEY: &str = "not-a-secret";

/// How the server meets the requests that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Behaviour {
    /// As S3 does.
    #[default]
    Normal,
    /// 503 SlowDown.
    Refuse,
    /// 400 ExpiredToken, as AWS answers after the end of temporary credentials.
    Expired,
    /// 403 AccessDenied.
    Forbid,
    /// 403 AccessDenied to whatever would remove or replace an object, as a policy for agents should.
    AppendOnly,
    /// 507, the way MinIO names a full disk.
    Full,
    /// The connection closes without an answer, and nothing is done.
    Drop,
    /// The request is done, then the connection closes without an answer.
    LoseAnswer,
}

/// An S3 server; dropped, it is gone with all objects.
pub struct S3Server {
    endpoint: String,
    root: TempDir,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Shared {
    root: PathBuf,
    mood: Mutex<Mood>,
    requests: AtomicU64,
    received: AtomicU64,
}

#[derive(Default)]
struct Mood {
    delay: Duration,
    behaviour: Behaviour,
    /// Requests until it is normal again; for ever, without.
    left: Option<u64>,
}

impl S3Server {
    /// Starts a server without buckets on a free port of the loopback interface.
    pub fn start() -> Result<Self> {
        let root = tempfile::tempdir().context("make a folder for the S3 server")?;
        let listener = StdListener::bind("127.0.0.1:0").context("bind the S3 server")?;
        listener.set_nonblocking(true)?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let mut builder = S3ServiceBuilder::new(store::Store::new(root.path())?);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let shared = Arc::new(Shared {
            root: root.path().to_owned(),
            ..Shared::default()
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.spawn(serve(listener, builder.build(), Arc::clone(&shared)));
        Ok(Self {
            endpoint,
            root,
            shared,
            runtime: Some(runtime),
        })
    }

    /// Starts a server with one bucket.
    pub fn with_bucket(name: &str) -> Result<Self> {
        let server = Self::start()?;
        server.create_bucket(name)?;
        Ok(server)
    }

    /// Makes an empty bucket.
    pub fn create_bucket(&self, name: &str) -> Result<()> {
        std::fs::create_dir(self.root.path().join(name)).with_context(|| format!("create bucket {name}"))
    }

    /// `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Options that reach this server with its credentials.
    pub fn options(&self) -> S3Options {
        S3Options {
            region: Some("us-east-1".to_owned()),
            endpoint: Some(self.endpoint.clone()),
            credentials: S3Credentials::Static {
                access_key: ACCESS_KEY.to_owned(),
                secret_key: SECRET_KEY.into(),
                session_token: None,
            },
            ..S3Options::default()
        }
    }

    /// The same for a child process, as environment; nothing of the machine's own AWS configuration gets through.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
        ]
    }

    /// The folder of a bucket: objects are the files below it, to be damaged by tests.
    pub fn bucket_folder(&self, bucket: &str) -> PathBuf {
        self.root.path().join(bucket)
    }

    /// Meets all requests that follow in this way.
    pub fn behave(&self, behaviour: Behaviour) {
        self.shared
            .change(|mood| (mood.behaviour, mood.left) = (behaviour, None));
    }

    /// Meets the next `requests` in this way, and is normal again.
    pub fn behave_for(&self, requests: u64, behaviour: Behaviour) {
        self.shared
            .change(|mood| (mood.behaviour, mood.left) = (behaviour, Some(requests)));
    }

    /// Waits so long before each answer that follows.
    pub fn delay(&self, delay: Duration) {
        self.shared.change(|mood| mood.delay = delay);
    }

    /// Requests that came, whatever became of them.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Bytes of request bodies that were announced.
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// The folder that holds all buckets.
    pub fn root(&self) -> &Path {
        self.root.path()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        // On a thread that may block, and waited for: afterwards nobody listens there any more.
        let ending = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(10)));
        let _panicked = ending.join();
    }
}

impl Shared {
    fn change<T>(&self, change: impl FnOnce(&mut Mood) -> T) -> T {
        change(&mut self.mood.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a request would remove or replace an object.
    fn destroys(&self, request: &Request<Incoming>) -> bool {
        let object = request.uri().path().trim_start_matches('/');
        match *request.method() {
            Method::DELETE => true,
            Method::POST => request
                .uri()
                .query()
                .is_some_and(|query| query.contains("delete")),
            Method::PUT => self.root.join(object).is_file(),
            _ => false,
        }
    }

    /// The delay and behaviour for one request.
    fn next(&self) -> (Duration, Behaviour) {
        self.change(|mood| {
            let now = (mood.delay, mood.behaviour);
            if let Some(left) = &mut mood.left {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    (mood.behaviour, mood.left) = (Behaviour::Normal, None);
                }
            }
            now
        })
    }
}

async fn serve(listener: StdListener, service: S3Service, shared: Arc<Shared>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await?;
        connections.spawn(connection(socket, service.clone(), Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(socket: TcpStream, service: S3Service, shared: Arc<Shared>) {
    // Answers are small and waited for: Nagle's delay would dominate every figure.
    let _ = socket.set_nodelay(true);
    let answer = service_fn(|request| answer(request, &service, &shared));
    // Errors are broken connections, which are this server's business too.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(socket), answer)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    service: &S3Service,
    shared: &Shared,
) -> io::Result<Response<Body>> {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    shared
        .received
        .fetch_add(request.body().size_hint().lower(), Ordering::Relaxed);
    let (delay, behaviour) = shared.next();
    tokio::time::sleep(delay).await;
    match behaviour {
        Behaviour::AppendOnly if shared.destroys(&request) => {
            refuse(403, &S3ErrorCode::AccessDenied, "Access Denied")
        }
        Behaviour::Normal | Behaviour::AppendOnly => {
            Service::call(service, request).await.map_err(io::Error::other)
        }
        Behaviour::Drop => Err(io::ErrorKind::ConnectionAborted.into()),
        Behaviour::LoseAnswer => {
            Service::call(service, request).await.map_err(io::Error::other)?;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        Behaviour::Refuse => refuse(503, &S3ErrorCode::SlowDown, "Please reduce your request rate."),
        Behaviour::Expired => refuse(400, &S3ErrorCode::ExpiredToken, "The provided token has expired."),
        Behaviour::Forbid => refuse(403, &S3ErrorCode::AccessDenied, "Access Denied"),
        Behaviour::Full => refuse(
            507,
            &S3ErrorCode::Custom("XMinioStorageFull".into()),
            "Storage backend has reached its minimum free drive threshold.",
        ),
    }
}

fn refuse(status: u16, code: &S3ErrorCode, message: &str) -> io::Result<Response<Body>> {
    let code = code.as_str();
    let text =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>");
    // Without reading the request's body the connection can not be used again.
    Response::builder()
        .status(status)
        .header("content-type", "application/xml")
        .header("connection", "close")
        .body(Body::from(text))
        .map_err(io::Error::other)
}
