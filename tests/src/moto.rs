//! `moto_server`: an S3 written by others, with an atomic `If-None-Match`, versions and object lock.
//!
//! Looked for on PATH, then in a virtual environment in the user's cache, which is made when it is missing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use dr_vault::storage::s3::{S3Credentials, S3Options};

/// A server in a child process; dropped, it is killed.
pub struct Moto {
    child: Child,
    endpoint: String,
}

impl Moto {
    /// Starts a server on a free port, and installs it first if need be.
    pub fn start() -> Result<Self> {
        Self::spawn(&program()?)
    }

    fn spawn(program: &Path) -> Result<Self> {
        let mut child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let mut lines = BufReader::new(child.stderr.take().context("moto_server's messages")?).lines();
        let address = lines.by_ref().find_map(|line| {
            let line = line.ok()?;
            line.split_once("Running on http://")
                .map(|(_, address)| address.trim().to_owned())
        });
        let Some(address) = address else {
            let _ = child.kill();
            bail!(
                "{} ended before it listened: {}",
                program.display(),
                child.wait()?
            );
        };
        // It writes a line a request: somebody has to read them.
        std::thread::spawn(move || lines.count());
        Ok(Self {
            child,
            endpoint: format!("http://{address}"),
        })
    }

    /// `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Makes a bucket in `us-east-1`.
    pub fn create_bucket(&self, name: &str) -> Result<()> {
        let address = self.endpoint.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).context("connect to moto_server")?;
        let head = format!(
            "PUT /{name} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.contains(" 200 "), "create bucket {name}: {answer}");
        Ok(())
    }

    /// Options that reach this server; it takes any credentials.
    pub fn options(&self) -> S3Options {
        S3Options {
            region: Some("us-east-1".to_owned()),
            endpoint: Some(self.endpoint.clone()),
            credentials: S3Credentials::Static {
                access_key: "moto".to_owned(),
                secret_key: "moto".into(),
                session_token: None,
            },
            ..S3Options::default()
        }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) = std::env::split_paths(&path)
        .map(|dir| dir.join("moto_server"))
        .find(|path| path.is_file())
    {
        return Ok(found);
    }
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
            .join(".cache"),
    };
    let environment = cache.join("drctl/moto");
    let program = environment.join("bin/moto_server");
    if !program.is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        run(Command::new(environment.join("bin/pip")).args(["install", "--quiet", "moto[server]>=5,<6"]))?;
    }
    Ok(program)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
