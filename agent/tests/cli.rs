//! The command line from outside: help texts, exit codes, messages, and what `init`, `discover` and `doctor` leave
//! behind. Every command runs in a folder and an environment of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use tempfile::TempDir;

/// How long anything may take: machines that run tests are slow and shared.
const PATIENCE: Duration = Duration::from_secs(120);

/// One host in a temporary folder.
struct Host {
    dir: TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self {
            dir: tempfile::tempdir().expect("a temporary folder"),
        };
        host.configure("");
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the configuration with `more` at its end.
    fn configure(&self, more: &str) {
        let dir = self.dir.path().display();
        let text = format!(
            "[agent]\nhost = \"host-1\"\nstate_dir = \"{dir}/state\"\nsuspend_file = \"{dir}/SUSPEND\"\n\
             [repository]\nurl = \"file://{dir}/repository\"\nkey_file = \"{dir}/host.key\"\n{more}"
        );
        std::fs::write(self.path("agent.toml"), text).expect("write the configuration");
    }

    fn bare(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dr-agent"));
        command
            .env_clear()
            .env("HOME", self.dir.path())
            .env("PATH", "/usr/bin:/bin")
            // A test machine's disk may be as full as it likes.
            .env("DR_AGENT_LIMITS_PINS_MIN_FREE", "64 MiB")
            .current_dir(self.dir.path());
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare(arguments);
        command.arg("--config").arg(self.path("agent.toml"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran(self.command(arguments).output().expect("run dr-agent"))
    }

    fn run_bare(&self, arguments: &[&str]) -> Ran {
        Ran(self.bare(arguments).output().expect("run dr-agent"))
    }

    fn init(&self) {
        self.run(&["init", "--generate-recovery-key", "recovery.key"])
            .ends(0);
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
fn commands(host: &Host, path: &[String], all: &mut Vec<Vec<String>>) {
    let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
    arguments.push("--help");
    let help = host.run_bare(&arguments).ends(0).out();
    all.push(path.to_vec());
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for line in listed.take_while(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix("  ").and_then(|line| line.split(' ').next())
            && !name.is_empty()
        {
            commands(host, &[path, &[name.to_owned()]].concat(), all);
        }
    }
}

/// A help text without the options that every command has; what follows them is the command's own.
fn own(help: &str) -> String {
    let (before, after) = help.split_once("\nGlobal options:\n").unwrap_or((help, ""));
    let after: Vec<&str> = after
        .lines()
        .skip_while(|line| line.is_empty() || line.starts_with(' '))
        .collect();
    format!("{before}\n{}", after.join("\n"))
}

#[test]
fn every_help_text_is_as_it_was_agreed() {
    let host = Host::new();
    let mut all = Vec::new();
    commands(&host, &[], &mut all);
    assert!(all.len() > 8, "{all:?}");
    let mut texts = String::new();
    for path in all {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = host.run_bare(&arguments).ends(0).out();
        let own = if path.is_empty() { help } else { own(&help) };
        texts.push_str(&format!(
            "===== dr-agent {}\n{}\n",
            path.join(" "),
            own.trim_end()
        ));
    }
    insta::assert_snapshot!("help", texts);
}

#[test]
fn exit_codes_are_those_of_the_interface() {
    let host = Host::new();
    for (arguments, code) in [
        (&["version"][..], 0),
        (&["--help"][..], 0),
        (&[][..], 64),
        (&["frobnicate"][..], 64),
        (&["init", "--no-such-flag"][..], 64),
        (&["version", "--output", "yaml"][..], 64),
        (&["snapshot", "--hold", "500ms", "--reason", "OPS-1"][..], 64),
        (&["check", "dr-integrity", "--proof-age", "0"][..], 64),
        (&["snapshots", "list"][..], 78),
        (&["init"][..], 78),
        (&["--config", "/nowhere/agent.toml", "snapshots", "list"][..], 78),
        (&["discover", "/nowhere", "--dry-run"][..], 66),
        (&["--passphrase-file", "/nowhere", "snapshots", "list"][..], 66),
    ] {
        let ran = Ran(host.bare(arguments).output().expect("run"));
        assert_eq!(
            ran.0.status.code(),
            Some(code),
            "{arguments:?}\n{}\n{}",
            ran.out(),
            ran.err()
        );
    }
    host.run(&["snapshots", "list", "--identity", "/nowhere.key"])
        .ends(78)
        .says("/nowhere.key");
    std::fs::write(host.path("host.key"), "AGE-SECRET-KEY-1NONSENSE\n").expect("write");
    host.run(&["snapshots", "list"]).ends(78).says("host.key");
}

#[test]
fn a_wrong_configuration_is_one_message_with_line_key_and_fix() {
    let host = Host::new();
    host.configure("[limit]\nmemory = \"1 GiB\"\n");
    let ran = host.run(&["doctor"]).ends(78);
    let said = ran.err().replace(&host.dir.path().display().to_string(), "DIR");
    insta::assert_snapshot!("unknown-key", said);
}

#[test]
fn errors_as_json_carry_a_stable_code() {
    let host = Host::new();
    for (arguments, code, exit, retry) in [
        (&["init", "--output", "json"][..], "configuration", 78, false),
        (&["nonsense", "--output", "json"][..], "usage", 64, false),
        (
            &["discover", "/nowhere", "--dry-run", "--output", "json"][..],
            "not_found",
            66,
            false,
        ),
    ] {
        let ran = host.run(arguments).ends(exit);
        assert_eq!(ran.out(), "", "{arguments:?}");
        let document: serde_json::Value = serde_json::from_str(&ran.err()).expect("JSON on stderr");
        let error = &document["error"];
        assert_eq!(error["code"], code, "{document}");
        assert_eq!(error["exit"], exit, "{document}");
        assert_eq!(error["retry_safe"], retry, "{document}");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty()),
            "{document}"
        );
    }
}

#[test]
fn init_wants_a_key_that_lives_elsewhere() {
    let host = Host::new();
    let refused = host.run(&["init"]).ends(78).says("--generate-recovery-key");
    assert!(!host.path("host.key").exists(), "nothing is half made");
    assert!(
        !host.path("repository").exists(),
        "nothing is half made: {}",
        refused.err()
    );
    host.init();
    for name in ["host.key", "recovery.key"] {
        let mode = std::fs::metadata(host.path(name))
            .expect("the file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let key = std::fs::read(host.path("host.key")).expect("read");
    // Given again it finds its own work; keys are never overwritten.
    host.run(&["init", "--generate-recovery-key", "recovery.key"])
        .ends(0)
        .says("was made before");
    assert_eq!(std::fs::read(host.path("host.key")).expect("read"), key);
    // The recovery key has been moved off this host, as it says: a new one must open what is there.
    std::fs::rename(host.path("recovery.key"), host.path("moved.key")).expect("rename");
    host.init();
    let open = |key: &str| host.run(&["snapshots", "list", "--identity", key]);
    for key in ["moved.key", "recovery.key", "host.key"] {
        open(key).ends(0);
    }
    host.run(&["snapshots", "list"]).ends(0);
    // Either key opens it, another does not.
    host.run(&["snapshots", "list", "--identity", "recovery.key"])
        .ends(0);
    std::fs::remove_file(host.path("host.key")).expect("remove");
    host.run(&["init", "--generate-recovery-key", "other.key"])
        .ends(73)
        .says("already holds repository");
    host.run(&["snapshots", "list", "--identity", "other.key"])
        .ends(77);
}

/// A passphrase may be all the key there is, if somebody says that it is kept elsewhere, too.
#[test]
fn a_passphrase_alone_is_enough_where_it_outlives_the_host() {
    let host = Host::new();
    let passphrase = host.path("passphrase").display().to_string();
    std::fs::write(&passphrase, "correct horse battery staple\n").expect("write");
    let url = format!("file://{}", host.path("repository").display());
    let state = host.path("elsewhere").display().to_string();
    let run = |command: &[&str], file: &str| {
        let all = [
            "--repository",
            &url,
            "--state-dir",
            &state,
            "--passphrase-file",
            file,
        ];
        host.run_bare(&[command, &all].concat())
    };
    run(&["init"], &passphrase)
        .ends(78)
        .says("no recovery recipient")
        .says("--recovery-passphrase-file");
    assert!(!host.path("repository").exists(), "nothing is half made");
    let other = host.path("other").display().to_string();
    std::fs::write(&other, "another\n").expect("write");
    let init = ["init", "--recovery-passphrase-file", &passphrase];
    run(&init, &other).ends(64).says("two passphrases");
    run(&init, &passphrase).ends(0);
    run(&["snapshots", "list"], &passphrase).ends(0);
    run(&["snapshots", "list"], &other).ends(77);
    run(&["doctor"], &passphrase).says("the passphrase alone opens the repository");
}

#[test]
fn a_bare_host_opens_a_repository_with_a_url_and_a_key() {
    let host = Host::new();
    host.init();
    let url = format!("file://{}", host.path("repository").display());
    let arguments = [
        "snapshots",
        "list",
        "--repository",
        &url,
        "--identity",
        "recovery.key",
        "--state-dir",
    ];
    let state = host.path("elsewhere").display().to_string();
    host.run_bare(&[&arguments[..], &[&state]].concat()).ends(0);
    let nowhere = format!("file://{}", host.path("nowhere").display());
    let wrong = [
        "snapshots",
        "list",
        "--repository",
        &nowhere,
        "--identity",
        "recovery.key",
        "--state-dir",
        &state,
    ];
    host.run_bare(&wrong).ends(66).says("nowhere");
}

#[test]
fn the_repository_is_checked_and_counted() {
    let host = Host::new();
    host.init();
    host.run(&["repository", "stats"]).ends(0).says("0 snapshots");
    host.run(&["repository", "check"])
        .ends(0)
        .says("repository check: passed");
    let json = host
        .run(&["repository", "check", "--full", "--output", "json"])
        .ends(0)
        .out();
    let document: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(document["verdict"], "passed", "{document}");
    // A damaged key object is named.
    let keys = std::fs::read_dir(host.path("repository/keys"))
        .expect("list")
        .filter_map(Result::ok);
    let key = keys.map(|entry| entry.path()).max().expect("a key object");
    let mut bytes = std::fs::read(&key).expect("read");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    std::fs::write(&key, bytes).expect("write");
    let name = key.file_name().expect("a name").to_string_lossy().into_owned();
    host.run(&["repository", "check", "--full", "--identity", "recovery.key"])
        .says(&name);
}

#[test]
fn without_encryption_it_is_said() {
    let host = Host::new();
    host.run(&["init", "--no-encryption"])
        .ends(0)
        .says("NOT ENCRYPTED");
    assert!(!host.path("host.key").exists());
    host.run(&["init", "--no-encryption", "--generate-recovery-key", "x"])
        .ends(64);
}

#[test]
fn doctor_names_each_fault_with_its_fix() {
    let host = Host::new();
    host.run(&["doctor"])
        .ends(78)
        .says("dr-agent discover")
        .says("`dr-agent init` makes it")
        .says("NOT READY");
}

#[test]
fn doctor_is_content_with_a_sound_host() {
    let host = Host::new();
    host.init();
    let log = host.path("audit.log");
    std::fs::write(&log, "{\"a\":1}\n").expect("write");
    let source = format!(
        "[[source]]\nname = \"audit\"\nkind = \"audit-log\"\npath = \"{}\"\n",
        log.display()
    );
    host.configure(&source);
    let ran = host
        .run(&["doctor"])
        .ends(0)
        .says("opens with this key")
        .says("2 keys open")
        .says("1 segment");
    assert!(!ran.out().contains("FAIL"), "{}", ran.out());
    assert!(
        !host.path("repository/doctor/probe").exists(),
        "what was stored to try is removed"
    );
    let json = host.run(&["doctor", "--output", "json"]).ends(0).out();
    let document: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(
        document["findings"]
            .as_array()
            .is_some_and(|findings| findings.len() > 8),
        "{document}"
    );
    std::fs::write(host.path("SUSPEND"), "").expect("write");
    host.run(&["doctor"]).ends(0).says("suspended");
}

#[test]
fn while_suspended_nothing_starts() {
    let host = Host::new();
    std::fs::write(host.path("SUSPEND"), "").expect("write");
    host.run(&["init", "--generate-recovery-key", "recovery.key"])
        .ends(75)
        .says("SUSPEND to resume");
    assert!(!host.path("recovery.key").exists());
}

/// A key command that waits keeps `init` busy under its lock.
fn busy(host: &Host) -> std::process::Child {
    let dir = host.dir.path().display();
    let text = format!(
        "[agent]\nhost = \"host-1\"\nstate_dir = \"{dir}/state\"\n\
         [repository]\nurl = \"file://{dir}/repository\"\nkey_command = [\"/bin/sleep\", \"600\"]\nkey_command_timeout = \"10m\"\n"
    );
    std::fs::write(host.path("agent.toml"), text).expect("write");
    let child = host
        .command(&["init", "--generate-recovery-key", "recovery.key"])
        .spawn()
        .expect("start");
    let begun = Instant::now();
    while !std::fs::read_to_string(host.path("state/lock")).is_ok_and(|text| text.contains("init")) {
        assert!(begun.elapsed() < PATIENCE, "the lock is not taken");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

fn signal(child: &std::process::Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(child.id().try_into().expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, signal).expect("signal");
}

#[test]
fn a_second_command_is_told_who_is_at_work_and_signals_end_the_first() {
    for (sent, code) in [
        (rustix::process::Signal::TERM, 143),
        (rustix::process::Signal::INT, 130),
    ] {
        let host = Host::new();
        let child = busy(&host);
        let pid = child.id().to_string();
        host.run(&["init", "--generate-recovery-key", "r"])
            .ends(75)
            .says("`init`")
            .says(&pid);
        let begun = Instant::now();
        signal(&child, sent);
        let ran = Ran(child.wait_with_output().expect("wait"));
        ran.ends(code);
        // Long before the key command would have ended by itself.
        assert!(begun.elapsed() < PATIENCE, "took {:?}", begun.elapsed());
    }
}

#[test]
fn what_a_killed_command_left_is_swept() {
    let host = Host::new();
    let scratch = host.path("state/scratch/drill-1");
    std::fs::create_dir_all(&scratch).expect("create");
    std::fs::write(
        scratch.join(".dr-agent-owner"),
        "{\"pid\":1,\"purpose\":\"drill\"}",
    )
    .expect("write");
    std::fs::write(scratch.join("data"), "x").expect("write");
    host.init();
    assert!(!scratch.exists());
}

#[test]
fn snapshots_are_held_and_released() {
    let host = Host::new();
    let log = host.path("audit.log");
    std::fs::write(&log, "{\"n\":1}\n").expect("write");
    let sources = format!(
        "[[source]]\nname = \"audit\"\nkind = \"audit-log\"\npath = \"{}\"\n",
        log.display()
    );
    host.configure(&sources);
    host.init();
    host.run(&["snapshot", "--hold", "30d"]).ends(64).says("--reason");
    host.run(&["snapshot", "--hold", "30d", "--reason", "pre-upgrade"])
        .ends(0)
        .says("held until")
        .says("pre-upgrade");
    std::fs::write(&log, "{\"n\":1}\n{\"n\":2}\n").expect("write");
    host.run(&["snapshot"]).ends(0);
    let listed = || {
        let list = host.run(&["snapshots", "list", "--output", "json"]).ends(0);
        let list: serde_json::Value = serde_json::from_str(&list.out()).expect("JSON");
        let held = |entry: &serde_json::Value| entry["held"].as_bool().expect("held is said");
        let held: Vec<bool> = list.as_array().expect("a list").iter().map(held).collect();
        held
    };
    assert_eq!(listed(), [true, false]);
    host.run(&["snapshots", "hold", "latest", "--reason", " "])
        .ends(64)
        .says("must say something");
    host.run(&["snapshots", "hold", "nothing-like-it", "--reason", "OPS-1"])
        .ends(66);
    host.run(&["snapshots", "hold", "latest", "--reason", "OPS-1"])
        .ends(0)
        .says("held until released: OPS-1");
    // Of two holds the one that ends last is told, and a release ends both.
    host.run(&["snapshots", "hold", "latest", "--for", "1h", "--reason", "OPS-2"])
        .ends(0)
        .says("OPS-2");
    assert_eq!(listed(), [true, true]);
    host.run(&["snapshots", "show", "latest"])
        .ends(0)
        .says("held until released: OPS-1");
    host.run(&["snapshots", "release", "latest", "--reason", "done"])
        .ends(0)
        .says("held no longer")
        .says("OPS-1")
        .says("OPS-2");
    assert_eq!(listed(), [true, false]);
    host.run(&["snapshots", "release", "latest", "--reason", "again"])
        .ends(0)
        .says("nothing holds");
    host.run(&["repository", "check"]).ends(0);
    std::fs::write(host.path("SUSPEND"), "maintenance").expect("write");
    host.run(&["snapshots", "hold", "latest", "--reason", "OPS-3"])
        .ends(75)
        .says("suspended");
}

#[test]
fn discover_writes_what_it_found_and_never_over_another() {
    let host = Host::new();
    std::fs::create_dir_all(host.path("data/db/notes.lance/_versions")).expect("create");
    std::fs::write(host.path("data/db/notes.lance/_versions/1.manifest"), "").expect("write");
    let to = host.path("found.toml");
    let arguments = ["discover", "data", "--to", "found.toml"];
    host.run_bare(&arguments).ends(0).says("1 table: notes.lance");
    let written = std::fs::read_to_string(&to).expect("read");
    assert!(written.contains("kind = \"lancedb\""), "{written}");
    host.run_bare(&arguments).ends(73).says("--force");
    host.run_bare(&[&arguments[..], &["--force"]].concat()).ends(0);
    host.run_bare(&["discover", "data", "--dry-run", "--to", "not-written.toml"])
        .ends(0)
        .says("[[source]]");
    assert!(!host.path("not-written.toml").exists());
    std::fs::create_dir(host.path("empty")).expect("create");
    host.run_bare(&["discover", "empty", "--to", "none.toml"])
        .ends(66)
        .says("_versions");
}

#[test]
fn secrets_are_never_printed() {
    let host = Host::new();
    host.init();
    let secret = std::fs::read_to_string(host.path("recovery.key")).expect("read");
    let secret = secret
        .lines()
        .find(|line| line.starts_with("AGE-SECRET-KEY-"))
        .expect("a key")
        .to_owned();
    host.configure(&format!("recovery_recipients = [\"{secret}\"]\n"));
    let ran = host.run(&["doctor", "-vv"]).ends(78);
    assert!(!format!("{}{}", ran.out(), ran.err()).contains(&secret));
}

#[test]
fn completion_scripts_are_made_for_every_shell() {
    let host = Host::new();
    for shell in ["bash", "zsh", "fish"] {
        host.run_bare(&["completion", shell]).ends(0).says("dr-agent");
    }
}

#[test]
fn the_exit_codes_in_the_help_are_all_there_are() {
    let host = Host::new();
    let help = host.run_bare(&["--help"]).ends(0).out().replace('\n', " ");
    for code in dr_agent::exit::Code::ALL {
        assert!(
            help.contains(&code.number().to_string()),
            "{code:?} is not in the help"
        );
    }
}

#[test]
fn the_sample_is_what_ships() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("agent.sample.toml");
    assert_eq!(
        std::fs::read_to_string(sample).expect("read"),
        dr_agent::config::SAMPLE
    );
}
