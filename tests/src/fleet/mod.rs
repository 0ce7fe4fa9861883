//! A fleet under test: a real coordinator, real agents and the real command line, over mutual TLS on loopback.
//!
//! Certificates come from the fleet's own authority, agents enrol with tokens: nothing is arranged behind the
//! binaries' backs. [`simulated`] adds hosts by the dozen that speak the same protocol and do no work.

pub mod mixed;
pub mod simulated;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::binaries;
use crate::host::Host;
use crate::port::Port;
use crate::process::{Finished, Running, without};

/// How long one command may take. Generous: machines that run tests are slow and shared.
pub const DEADLINE: Duration = Duration::from_secs(240);

/// How long a fleet may take to come to what a case waits for.
const PATIENCE: Duration = DEADLINE;
/// How often it is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Where a command line or a coordinator would find what somebody who runs tests has set for another fleet.
const SURROUNDINGS: &[&str] = &[
    "DRCTL_",
    "DR_COORDINATOR_",
    "DR_FAILPOINT",
    "OTEL_",
    "XDG_CONFIG_HOME",
];

/// Heartbeats are quick here, so that a case sees a lost agent within seconds.
pub(crate) const QUICK: &str =
    "agents = { heartbeat = \"1s\", lost_after = \"5s\", max_clock_skew = \"30s\" }\n";

/// A coordinator with its authority, store and operators.
#[derive(Debug)]
pub struct Fleet {
    folder: TempDir,
    coordinator: PathBuf,
    drctl: PathBuf,
    lines: String,
    running: Option<Running>,
    /// Held while the coordinator is away, so that it comes back where agents dial.
    port: Port,
    metrics: Option<SocketAddr>,
}

impl Fleet {
    /// Makes the authority and starts the coordinator; `None` where the binaries are not built.
    ///
    /// # Panics
    ///
    /// If one of them refuses.
    #[track_caller]
    pub fn start() -> Option<Self> {
        Self::start_with(QUICK)
    }

    /// The same with these lines of configuration.
    ///
    /// # Panics
    ///
    /// If the coordinator refuses.
    #[track_caller]
    pub fn start_with(lines: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("make a folder for a fleet");
        let mut fleet = Self {
            folder,
            coordinator: binaries::coordinator()?,
            drctl: binaries::drctl()?,
            lines: lines.to_owned(),
            running: None,
            port: Port::hold(),
            metrics: None,
        };
        let pki = fleet.pki().display().to_string();
        let _made = fleet
            .coordinator(&[
                "pki",
                "--dir",
                &pki,
                "init",
                "--domain",
                "test.drctl",
                "--coordinator",
                "c1",
            ])
            .expect_code(0);
        fleet.restart();
        Some(fleet)
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The coordinator's process id.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn id(&self) -> u32 {
        self.running.as_ref().expect("the coordinator runs").id()
    }

    /// The authority's folder, with the coordinator's certificate and the first operator's.
    pub fn pki(&self) -> PathBuf {
        self.path().join("pki")
    }

    /// The store's file.
    pub fn store(&self) -> PathBuf {
        self.path().join("state.db")
    }

    /// Where agents and operators dial.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Where `/metrics` is served.
    ///
    /// # Panics
    ///
    /// If the coordinator said no such address.
    pub fn metrics(&self) -> SocketAddr {
        self.metrics.expect("the coordinator serves metrics")
    }

    /// The coordinator's configuration file.
    pub fn config(&self) -> PathBuf {
        self.path().join("coordinator.toml")
    }

    fn configure(&self) {
        let file = |name: &str| self.pki().join(name).display().to_string();
        let text = format!(
            "listen = \"{address}\"\nadvertise = []\n\
             tls = {{ certificate = {certificate:?}, private_key = {key:?}, trust_bundle = {bundle:?} }}\n\
             authority = {{ dir = {pki:?} }}\nstore = \"sqlite://{store}\"\nmetrics = {{ listen = \"127.0.0.1:0\" }}\n{lines}",
            address = self.address(),
            certificate = file("coordinator.pem"),
            key = file("coordinator.key"),
            bundle = file("ca.pem"),
            pki = self.pki().display().to_string(),
            store = self.store().display(),
            lines = self.lines,
        );
        std::fs::write(self.config(), text).expect("write the coordinator's configuration");
    }

    /// Runs a command of the coordinator's binary to its end.
    ///
    /// # Panics
    ///
    /// If it hangs.
    #[track_caller]
    pub fn coordinator(&self, arguments: &[&str]) -> Finished {
        self.coordinator_until(None, arguments)
    }

    /// The same, perhaps to be killed at a failpoint.
    ///
    /// # Panics
    ///
    /// If it hangs.
    #[track_caller]
    pub fn coordinator_until(&self, failpoint: Option<&str>, arguments: &[&str]) -> Finished {
        let mut command = Command::new(&self.coordinator);
        without(&mut command, SURROUNDINGS).args(arguments);
        command.envs(failpoint.map(|point| ("DR_FAILPOINT", point)));
        Running::start(&mut command).finish(DEADLINE)
    }

    /// Takes the store away, as a lost disk does. The coordinator must not be running.
    ///
    /// # Panics
    ///
    /// If it can not be removed.
    #[track_caller]
    pub fn lose_store(&self) {
        for ending in ["", "-wal", "-shm"] {
            let file = format!("{}{ending}", self.store().display());
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    panic!("remove {file}: {error}")
                }
                _ => {}
            }
        }
    }

    /// Starts the coordinator, again at the address that it had.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    #[track_caller]
    pub fn restart(&mut self) {
        self.restart_until(None);
    }

    /// The same, to be killed at a failpoint.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    #[track_caller]
    pub fn restart_until(&mut self, failpoint: Option<&str>) {
        self.kill();
        self.configure();
        let mut command = Command::new(&self.coordinator);
        without(&mut command, SURROUNDINGS)
            .arg("run")
            .arg("--config")
            .arg(self.config());
        command.envs(failpoint.map(|point| ("DR_FAILPOINT", point)));
        let mut running = Running::start(&mut command);
        let ready = Ready::read(&mut running);
        assert_eq!(ready.address, self.address(), "it listens where it was told to");
        self.metrics = ready.metrics;
        self.running = Some(running);
    }

    /// Kills the coordinator with SIGKILL, if it runs.
    pub fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.signal(Signal::KILL);
            let _killed = running.finish(DEADLINE);
        }
    }

    /// Waits until the coordinator has ended, as a failpoint makes it.
    ///
    /// # Panics
    ///
    /// If it goes on, or is not running.
    #[track_caller]
    pub fn wait_for_death(&mut self) -> Finished {
        let running = self.running.take().expect("the coordinator was started");
        running.finish(DEADLINE)
    }

    /// Ends the coordinator with SIGTERM and gives what it left.
    ///
    /// # Panics
    ///
    /// If it does not end in time, or is not running.
    #[track_caller]
    pub fn stop(&mut self) -> Finished {
        let running = self.running.take().expect("the coordinator runs");
        running.signal(Signal::TERM);
        running.finish(DEADLINE)
    }

    /// Runs the command line as the first operator.
    ///
    /// # Panics
    ///
    /// If it hangs.
    #[track_caller]
    pub fn drctl(&self, arguments: &[&str]) -> Finished {
        Running::start(&mut self.drctl_command(arguments)).finish(DEADLINE)
    }

    /// The command line as the first operator.
    pub fn drctl_command(&self, arguments: &[&str]) -> Command {
        self.drctl_command_as("admin", arguments)
    }

    /// The command line with somebody's certificate.
    pub fn drctl_command_as(&self, name: &str, arguments: &[&str]) -> Command {
        let file = |name: &str| self.pki().join(name);
        let mut command = Command::new(&self.drctl);
        without(&mut command, SURROUNDINGS)
            .args(arguments)
            .env("HOME", self.path())
            .env("DRCTL_ENDPOINT", format!("https://{}", self.address()))
            .env("DRCTL_CERTIFICATE", file(&format!("{name}.pem")))
            .env("DRCTL_PRIVATE_KEY", file(&format!("{name}.key")))
            .env("DRCTL_TRUST_BUNDLE", file("ca.pem"));
        command
    }

    /// Runs the command line to its end with code 0 and gives what it says as JSON.
    ///
    /// # Panics
    ///
    /// If it fails.
    #[track_caller]
    pub fn ask(&self, arguments: &[&str]) -> serde_json::Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--output", "json"]).collect();
        self.drctl(&arguments).expect_code(0).json()
    }

    /// Asks the command line until the answer satisfies, and gives it.
    ///
    /// # Panics
    ///
    /// If it does not in time.
    pub async fn until(
        &self,
        question: &[&str],
        satisfied: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(question);
            if satisfied(&answer) {
                return answer;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "drctl {question:?} never said what it should: {answer:#}"
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// A certificate for somebody else, issued by the fleet's authority.
    ///
    /// # Panics
    ///
    /// If it is not issued.
    #[track_caller]
    pub fn issue(&self, role: &str, name: &str) {
        let pki = self.pki().display().to_string();
        let _issued = self
            .coordinator(&[
                "pki", "--dir", &pki, "issue", "--role", role, "--name", name, "--out", &pki,
            ])
            .expect_code(0);
    }

    /// The lines that make a host of this fleet, which dials `endpoint`.
    fn membership(&self, host: &str, endpoint: SocketAddr) -> String {
        let file = |ending: &str| self.path().join(format!("{host}.{ending}")).display().to_string();
        format!(
            "\n[coordinator]\nendpoints = [\"https://{endpoint}\"]\n\
             tls = {{ certificate = {certificate:?}, private_key = {key:?}, trust_bundle = {bundle:?} }}\n",
            certificate = file("pem"),
            key = file("key"),
            bundle = file("ca.pem"),
        )
    }

    /// Makes a host a member: a token, its configuration, enrolment and a repository. Its agent does not run yet.
    ///
    /// # Panics
    ///
    /// If a command refuses.
    #[track_caller]
    pub fn enrol(&self, host: Host, labels: &[&str]) -> Host {
        self.enrol_over(host, labels, self.address())
    }

    /// The same for a host whose agent dials `endpoint`: a network in between.
    ///
    /// # Panics
    ///
    /// If a command refuses.
    #[track_caller]
    pub fn enrol_over(&self, host: Host, labels: &[&str], endpoint: SocketAddr) -> Host {
        let (host, token) = self.invite(host, labels, endpoint);
        let _enrolled = host.run(&["enroll", "--token", &token]).expect_code(0);
        host.set_up();
        host
    }

    /// Prepares a host that may become a member: its configuration, and a token that is not used yet.
    ///
    /// # Panics
    ///
    /// If no token is made.
    #[track_caller]
    pub fn invite(&self, host: Host, labels: &[&str], endpoint: SocketAddr) -> (Host, String) {
        let name = host.name().to_owned();
        let mut arguments = vec!["agent", "token", "--host", &name];
        for label in labels {
            arguments.extend(["--label", label]);
        }
        let token = self.ask(&arguments);
        let text = token["text"]
            .as_str()
            .expect("a new token has its text")
            .to_owned();
        (self.prepare_over(host, endpoint), text)
    }

    /// Writes the configuration of a host that will belong to this fleet, by a token that there is.
    #[must_use]
    pub fn prepare(&self, host: Host) -> Host {
        self.prepare_over(host, self.address())
    }

    fn prepare_over(&self, host: Host, endpoint: SocketAddr) -> Host {
        let membership = self.membership(host.name(), endpoint);
        let host = host.with_lines(&membership);
        host.configure();
        host
    }
}

/// A running agent; killed with the case.
#[derive(Debug)]
pub struct Agent {
    running: Running,
    metrics: Option<SocketAddr>,
}

impl Agent {
    /// Starts the daemon of a host.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    #[track_caller]
    pub fn start(host: &Host) -> Self {
        Self::start_until(host, None)
    }

    /// The same, to be killed at a failpoint.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    #[track_caller]
    pub fn start_until(host: &Host, failpoint: Option<&str>) -> Self {
        let mut command = host.command(&["run"]);
        command.envs(failpoint.map(|point| ("DR_FAILPOINT", point)));
        let mut running = Running::start(&mut command);
        let metrics = Ready::read_metrics(&mut running);
        Self { running, metrics }
    }

    /// The same, to stop itself at a failpoint, each time that it gets there.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    #[track_caller]
    pub fn start_stopping(host: &Host, failpoint: &str) -> Self {
        let mut command = host.command(&["run"]);
        command.env("DR_FAILPOINT_STOP", failpoint);
        let mut running = Running::start(&mut command);
        let metrics = Ready::read_metrics(&mut running);
        Self { running, metrics }
    }

    /// Waits until it has stopped itself.
    ///
    /// # Panics
    ///
    /// If it ended instead.
    #[track_caller]
    pub fn until_stopped(&self) {
        self.running.until_stopped();
    }

    /// Lets it go on after that.
    pub fn go_on(&self) {
        self.running.signal(Signal::CONT);
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// Where `/metrics` is served.
    ///
    /// # Panics
    ///
    /// If it is not.
    pub fn metrics(&self) -> SocketAddr {
        self.metrics.expect("the agent serves metrics")
    }

    /// Kills it with SIGKILL.
    pub fn kill(self) {
        self.running.signal(Signal::KILL);
        let _killed = self.running.finish(DEADLINE);
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    ///
    /// If it goes on.
    #[track_caller]
    pub fn wait_for_end(self) -> Finished {
        self.running.finish(DEADLINE)
    }

    /// Ends it with SIGTERM and gives what it left.
    ///
    /// # Panics
    ///
    /// If it does not end in time.
    #[track_caller]
    pub fn stop(self) -> Finished {
        self.running.signal(Signal::TERM);
        self.running.finish(DEADLINE)
    }
}

/// What a daemon says on standard output when it is up: one line of JSON.
struct Ready {
    address: SocketAddr,
    metrics: Option<SocketAddr>,
}

impl Ready {
    #[track_caller]
    fn read(running: &mut Running) -> Self {
        let line = Self::line(running);
        let address = Self::address(&line, "address").expect("the coordinator says where it listens");
        Self {
            address,
            metrics: Self::address(&line, "metrics"),
        }
    }

    #[track_caller]
    fn read_metrics(running: &mut Running) -> Option<SocketAddr> {
        Self::address(&Self::line(running), "metrics")
    }

    #[track_caller]
    fn line(running: &mut Running) -> serde_json::Value {
        let line = running.line(DEADLINE);
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?} is not JSON: {error}"))
    }

    fn address(line: &serde_json::Value, key: &str) -> Option<SocketAddr> {
        line[key].as_str()?.parse().ok()
    }
}
