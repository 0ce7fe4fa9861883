//! The command line from outside: help texts, exit codes, messages; a coordinator that starts, serves and stops; copies
//! of its store. Every command runs in a folder and an environment of its own.

#![expect(clippy::unwrap_used, reason = "a test that can not go on says where")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A machine that a coordinator runs on.
struct Machine {
    dir: TempDir,
}

impl Machine {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// With certificates and a configuration that has `more` at its end.
    fn ready(more: &str) -> Self {
        let machine = Self::new();
        let pki = machine.path("pki").display().to_string();
        machine
            .run(&[
                "pki",
                "--dir",
                &pki,
                "init",
                "--domain",
                "acme.example",
                "--coordinator",
                "one",
            ])
            .ends(0);
        machine.configure(more);
        machine
    }

    fn configure(&self, more: &str) {
        let dir = self.dir.path().display();
        let text = format!(
            "listen = \"127.0.0.1:0\"\nstore = \"sqlite://{dir}/state.db\"\ntls = {{ certificate = \
             \"{dir}/pki/coordinator.pem\", private_key = \"{dir}/pki/coordinator.key\", trust_bundle = \
             \"{dir}/pki/ca.pem\" }}\n{more}"
        );
        std::fs::write(self.path("coordinator.toml"), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dr-coordinator"));
        command
            .env_clear()
            .env("HOME", self.dir.path())
            .env("PATH", "/usr/bin:/bin")
            .env("DR_COORDINATOR_CONFIG", self.path("coordinator.toml"))
            .current_dir(self.dir.path())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran(self.command(arguments).output().unwrap())
    }

    /// Starts the coordinator and waits until it says where it serves.
    fn serve(&self) -> (Serving, serde_json::Value) {
        let mut child = self.command(&["run", "--quiet"]).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let serving = Serving(Some(child));
        let up = serde_json::from_str(&line).unwrap_or_else(|error| panic!("`{line}`: {error}"));
        (serving, up)
    }
}

/// A coordinator that is killed when the test ends.
struct Serving(Option<Child>);

impl Serving {
    fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    fn terminate(mut self) -> Ran {
        let child = self.0.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        Ran(child.wait_with_output().unwrap())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// How a command ended.
struct Ran(Output);

impl Ran {
    fn out(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    fn err(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    #[track_caller]
    fn ends(self, code: i32) -> Self {
        assert_eq!(
            self.0.status.code(),
            Some(code),
            "out: {}\nerr: {}",
            self.out(),
            self.err()
        );
        self
    }

    #[track_caller]
    fn says(self, text: &str) -> Self {
        let said = format!("{}{}", self.out(), self.err());
        assert!(said.contains(text), "`{text}` is not in:\n{said}");
        self
    }
}

/// All commands, found in the help texts themselves.
fn commands(machine: &Machine, path: &[String], all: &mut Vec<Vec<String>>) {
    let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
    arguments.push("--help");
    let help = machine.run(&arguments).ends(0).out();
    all.push(path.to_vec());
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for line in listed.take_while(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix("  ").and_then(|line| line.split(' ').next())
            && !name.is_empty()
        {
            commands(machine, &[path, &[name.to_owned()]].concat(), all);
        }
    }
}

#[test]
fn every_help_text_is_as_it_was_agreed() {
    let machine = Machine::new();
    let mut all = Vec::new();
    commands(&machine, &[], &mut all);
    assert!(all.len() > 10, "{all:?}");
    let mut texts = String::new();
    for path in all {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = machine.run(&arguments).ends(0).out();
        // The options that every command has are shown once.
        let own = if path.is_empty() {
            help.as_str()
        } else {
            help.split("\nGlobal options:").next().unwrap()
        };
        texts.push_str(&format!(
            "# dr-coordinator {}\n{}\n",
            path.join(" "),
            own.trim_end()
        ));
    }
    insta::assert_snapshot!("help", texts);
}

#[test]
fn the_sample_is_what_it_prints() {
    let machine = Machine::new();
    let sample = machine.run(&["sample"]).ends(0).out();
    assert_eq!(sample.trim_end(), dr_coordinator::config::SAMPLE.trim_end());
    machine
        .run(&["version", "--output", "json"])
        .ends(0)
        .says("\"protocol\"");
    machine
        .run(&["completion", "bash"])
        .ends(0)
        .says("_dr__coordinator");
}

#[test]
fn it_serves_until_it_is_told_to_stop_as_a_new_incarnation_each_time() {
    let machine = Machine::ready("metrics = { listen = \"127.0.0.1:0\" }");
    for epoch in 1..3 {
        let (serving, up) = machine.serve();
        assert_eq!(up["epoch"], epoch);
        assert!(up["address"].as_str().unwrap().starts_with("127.0.0.1:"));
        assert!(up["metrics"].is_string());
        serving.terminate().ends(0);
    }
}

#[test]
fn a_second_one_on_the_same_store_does_not_start_and_is_told_of_the_first() {
    let machine = Machine::ready("");
    let (first, up) = machine.serve();
    let holder = format!("process {}, since ", first.id());
    machine
        .run(&["run"])
        .ends(75)
        .says("another coordinator works on the store")
        .says(&holder)
        .says("state.db.lock")
        .says("stop it");
    assert_eq!(up["epoch"], 1);
    // Killed without a chance to tidy up: the next one starts at once.
    drop(first);
    let (next, up) = machine.serve();
    assert_eq!(up["epoch"], 2, "the one that was refused began no incarnation");
    next.terminate().ends(0);
}

#[test]
fn what_keeps_it_from_starting_is_said_with_what_to_do() {
    let machine = Machine::new();
    machine
        .run(&["run"])
        .ends(78)
        .says("coordinator.toml")
        .says("--config");
    machine.run(&["rnu"]).ends(64);
    let machine = Machine::ready("limits = { taks = 1 }");
    machine
        .run(&["run"])
        .ends(78)
        .says("line 4: `limits.taks`")
        .says("did you mean `tasks`?");
    machine.configure("");
    std::fs::remove_file(machine.path("pki/coordinator.key")).unwrap();
    machine
        .run(&["run"])
        .ends(78)
        .says("coordinator.key")
        .says("pki init");
    let machine = Machine::ready("authority = { dir = \"/nowhere/pki\" }");
    machine.run(&["run"]).ends(78).says("/nowhere/pki");
    let machine = Machine::ready("");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = machine.command(&["run"]);
    Ran(command.env("DR_COORDINATOR_LISTEN", &address).output().unwrap())
        .ends(75)
        .says(&address);
    std::fs::write(machine.path("state.db"), "this is no database").unwrap();
    machine.run(&["run"]).ends(65).says("state.db");
}

#[test]
fn a_copy_of_the_store_is_made_beside_a_running_coordinator_and_read_back() {
    let machine = Machine::ready("");
    machine
        .run(&["backup", "--to", "copies", "--recipient", "age1x"])
        .ends(66)
        .says("no store");
    let identity = age::x25519::Identity::generate();
    let secret = age::secrecy::ExposeSecret::expose_secret(&identity.to_string()).to_owned();
    std::fs::write(machine.path("identity"), secret).unwrap();
    let (serving, _) = machine.serve();
    machine.run(&["backup"]).ends(64).says("--to");
    let copies = machine.path("copies").display().to_string();
    let recipient = identity.to_public().to_string();
    machine
        .run(&["backup", "--to", &copies, "--recipient", "age1x"])
        .ends(78);
    let made = machine
        .run(&[
            "backup",
            "--to",
            &copies,
            "--recipient",
            &recipient,
            "--output",
            "json",
        ])
        .ends(0);
    let made: serde_json::Value = serde_json::from_str(&made.out()).unwrap();
    let copy = made["copy"].as_str().unwrap();
    machine
        .run(&["recover", "--from", copy, "--identity", "identity"])
        .ends(73)
        .says("state.db");
    serving.terminate().ends(0);
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        drop(std::fs::remove_file(machine.path(name)));
    }
    let recovered = machine
        .run(&[
            "recover",
            "--from",
            copy,
            "--identity",
            "identity",
            "--output",
            "json",
        ])
        .ends(0);
    assert!(
        recovered.out().contains("\"audit_intact\": true"),
        "{}",
        recovered.out()
    );
    let (serving, up) = machine.serve();
    assert_eq!(up["epoch"], 2, "the incarnation after the one in the copy");
    serving.terminate().ends(0);
}
