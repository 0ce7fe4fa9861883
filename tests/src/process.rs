//! Child processes that can not outlive their test.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open, waitid};

/// What a finished process left.
#[derive(Clone)]
pub struct Finished {
    /// The command line, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// The exit code as a shell would see it: 128 and the signal's number after a signal.
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Fails the test unless the process ended with `code`.
    ///
    /// # Panics
    ///
    /// If it ended otherwise; the message holds everything it said.
    #[must_use = "what it said is usually worth a look; drop it with `let _`"]
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert!(self.code() == code, "exit code {code} expected\n{self:?}");
        self
    }

    /// Standard output as one JSON value.
    ///
    /// # Panics
    ///
    /// If it is not JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("standard output is not one JSON value: {error}\n{self:?}"),
        }
    }

    /// Standard output and error together, to look for words in.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Fails the test unless the process said all of `words`.
    ///
    /// # Panics
    ///
    /// If one of them is missing.
    #[track_caller]
    pub fn expect_said(&self, words: &[&str]) {
        let said = self.said();
        for word in words {
            assert!(said.contains(word), "it should have said {word:?}\n{self:?}");
        }
    }
}

impl fmt::Debug for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ended with {}", self.command, self.status)?;
        writeln!(f, "--- standard output\n{}", self.stdout)?;
        writeln!(f, "--- standard error\n{}", self.stderr)
    }
}

/// A process that runs beside the test and is killed with it.
#[derive(Debug)]
pub struct Running {
    command: String,
    child: Child,
    lines: Receiver<String>,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    said: Arc<Said>,
}

/// What a process said on standard error so far.
#[derive(Debug, Default)]
struct Said {
    text: Mutex<String>,
    more: Condvar,
}

impl Running {
    /// Starts a command with its own pipes.
    ///
    /// # Panics
    ///
    /// If it can not be started.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let text = words(command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("start {text}: {error}"));
        let (sender, lines) = channel();
        let out = child.stdout.take().expect("standard output is a pipe");
        let err = child.stderr.take().expect("standard error is a pipe");
        let stdout = std::thread::spawn(move || {
            let mut all = String::new();
            for line in BufReader::new(out).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                all.push_str(&line);
                all.push('\n');
                // Nobody has to listen.
                let _unheard = sender.send(line);
            }
            all
        });
        let said = Arc::new(Said::default());
        let telling = Arc::clone(&said);
        let stderr = std::thread::spawn(move || {
            for line in BufReader::new(err).split(b'\n').map_while(Result::ok) {
                let mut text = telling.text.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&String::from_utf8_lossy(&line));
                text.push('\n');
                telling.more.notify_all();
            }
            let text = telling.text.lock().unwrap_or_else(PoisonError::into_inner);
            text.clone()
        });
        Self {
            command: text,
            child,
            lines,
            stdout: Some(stdout),
            stderr: Some(stderr),
            said,
        }
    }

    /// Waits until it has said this on standard error.
    ///
    /// # Panics
    ///
    /// If it does not in time.
    #[track_caller]
    pub fn until_said(&self, words: &str, deadline: Duration) {
        let text = self.said.text.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .said
            .more
            .wait_timeout_while(text, deadline, |text| !text.contains(words));
        let (text, _) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(
            text.contains(words),
            "{} did not say {words:?} in {deadline:?}, but\n{text}",
            self.command
        );
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input; closed when dropped.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The next line of standard output.
    ///
    /// # Panics
    ///
    /// If none comes in time; the message holds what it said on standard error.
    #[track_caller]
    pub fn line(&mut self, deadline: Duration) -> String {
        match self.lines.recv_timeout(deadline) {
            Ok(line) => line,
            Err(reason) => {
                self.signal(Signal::KILL);
                let said = self
                    .stderr
                    .take()
                    .and_then(|thread| thread.join().ok())
                    .unwrap_or_default();
                let why = match reason {
                    RecvTimeoutError::Timeout => format!("said no further line in {deadline:?}"),
                    RecvTimeoutError::Disconnected => "closed its standard output".to_owned(),
                };
                panic!("{} {why}\n--- standard error\n{said}", self.command)
            }
        }
    }

    /// Waits until it has stopped itself.
    ///
    /// # Panics
    ///
    /// If it ended instead.
    #[track_caller]
    pub fn until_stopped(&self) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let id = id.expect("a child of ours has an id");
        // NOWAIT: what it ended with is for `finish` to take.
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(id), options).expect("wait for a child of ours");
        assert!(
            status.is_some_and(|status| status.stopped()),
            "{} ended before it came to where it stops",
            self.command
        );
    }

    /// Sends a signal; a process that has already ended does not mind.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(id) = id {
            let _ended = kill_process(id, signal);
        }
    }

    /// Waits until it ends.
    ///
    /// # Panics
    ///
    /// If it does not end in time; it is killed then.
    #[track_caller]
    pub fn finish(mut self, deadline: Duration) -> Finished {
        drop(self.child.stdin.take());
        let mut late = false;
        // The pipe closes when the process, and whoever inherited the pipe, has ended.
        loop {
            match self.lines.recv_timeout(deadline) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    late = true;
                    self.signal(Signal::KILL);
                    break;
                }
            }
        }
        let status = self.child.wait().expect("a child of ours can be waited for");
        let take =
            |thread: Option<JoinHandle<String>>| thread.and_then(|t| t.join().ok()).unwrap_or_default();
        let finished = Finished {
            command: self.command.clone(),
            status,
            stdout: take(self.stdout.take()),
            stderr: take(self.stderr.take()),
        };
        assert!(!late, "no sign of life within {deadline:?}\n{finished:?}");
        finished
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _reaped = self.child.wait();
    }
}

/// Keeps out of a command what the shell of whoever runs the tests says: variables that begin like this. Given before
/// the command is given its own.
pub fn without<'c>(command: &'c mut Command, beginnings: &[&str]) -> &'c mut Command {
    let said = std::env::vars_os().map(|(name, _)| name);
    let unwanted = said.filter(|name| {
        let name = name.to_string_lossy();
        beginnings.iter().any(|beginning| name.starts_with(beginning))
    });
    unwanted.fold(command, |command, name| command.env_remove(name))
}

/// Runs a command to its end.
///
/// # Panics
///
/// If it can not be started or does not end in time.
#[track_caller]
pub fn run(command: &mut Command, deadline: Duration) -> Finished {
    Running::start(command).finish(deadline)
}

fn words(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    std::iter::once(program)
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Waits until no process works in `folder` any more: a probe ends by itself when its agent is gone.
///
/// # Panics
///
/// If one is still there after a while.
#[track_caller]
pub fn until_gone_from(folder: &Path) {
    const PATIENCE: Timespec = Timespec {
        tv_sec: 60,
        tv_nsec: 0,
    };
    for id in working_in(folder) {
        let Ok(process) = pidfd_open(id, PidfdFlags::empty()) else {
            // Gone since it was listed.
            continue;
        };
        let mut watched = [PollFd::new(&process, PollFlags::IN)];
        let ended = poll(&mut watched, Some(&PATIENCE)).expect("watch a process");
        assert!(ended > 0, "process {id:?} still works in {}", folder.display());
    }
}

/// Processes whose working folder is `folder`.
fn working_in(folder: &Path) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").expect("list processes");
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let id: i32 = entry.file_name().to_str()?.parse().ok()?;
            let works = std::fs::read_link(entry.path().join("cwd")).ok()? == folder;
            Pid::from_raw(id).filter(|_| works)
        })
        .collect()
}
