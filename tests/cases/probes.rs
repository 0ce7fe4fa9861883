//! Probes of several LanceDB versions side by side: the real one under several names, each of which says when it ran.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use dr_tests::binaries;
use dr_tests::fixtures::{self, Unpacked};
use dr_tests::host::Host;

/// A host with a folder of probes.
struct Rig {
    host: Host,
    _unpacked: Unpacked,
}

impl Rig {
    fn new() -> Option<Self> {
        let unpacked = fixtures::small().pop()?.unpack();
        let host = Host::new()?;
        let folder = host.path().join("probes");
        std::fs::create_dir_all(&folder).unwrap();
        let folder = folder.display().to_string();
        let host = host
            .with_database("memory", &unpacked.database())
            .with_environment("DR_AGENT_PROBES", &folder);
        host.set_up();
        Some(Self {
            host,
            _unpacked: unpacked,
        })
    }

    fn ran(&self) -> PathBuf {
        self.host.path().join("ran")
    }

    /// Installs the real probe as that of these Lance versions, and of no others.
    fn install(&self, versions: &[&str]) {
        let folder = self.host.path().join("probes");
        std::fs::remove_dir_all(&folder).unwrap();
        let (real, ran) = (binaries::probe().unwrap(), self.ran());
        for version in versions {
            let path = folder.join(version).join("dr-probe");
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let script = format!("#!/bin/sh\necho {version} >> {ran:?}\nexec {real:?} \"$@\"\n");
            std::fs::write(&path, script).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::create_dir_all(&folder).unwrap();
    }

    /// The versions that ran since it was asked last, each once.
    fn since(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.ran()).unwrap_or_default();
        let _absent = std::fs::remove_file(self.ran());
        let mut versions: Vec<String> = text.lines().map(str::to_owned).collect();
        versions.dedup();
        versions
    }
}

#[test]
fn the_lowest_probe_that_can_read_is_taken_and_none_says_so() {
    let case = "the_lowest_probe_that_can_read_is_taken_and_none_says_so";
    let (Some(rig), Some(_)) = (Rig::new(), binaries::probe()) else {
        return dr_tests::skip(case, "no agent, no probe or no fixture");
    };
    rig.install(&["0.1.0", "98.0.0", "99.0.0"]);
    let facts = rig.host.snapshot()["facts"].clone();
    assert_eq!(facts["state"], "stored", "{facts:#}");
    assert_eq!(
        rig.since(),
        ["98.0.0"],
        "0.1.0 can not read it, 99.0.0 is farther away"
    );
    let _passed = rig.host.run(&["drill", "--kind", "verify"]).expect_code(0);
    assert_eq!(rig.since(), ["98.0.0"]);

    // Nobody can ask any more: bytes are proved, and that is all.
    rig.install(&["0.1.0"]);
    let drill = rig
        .host
        .run(&["drill", "--kind", "verify", "--output", "json"])
        .expect_code(2);
    let report = drill.json();
    assert_eq!(
        (&report["verdict"], &report["proof"]),
        (&"inconclusive".into(), &"bytes".into())
    );
    let checks = report["sources"][0]["checks"].as_array().unwrap();
    let check = |rung: &str| {
        let check = checks.iter().find(|check| check["rung"] == rung);
        check.unwrap_or_else(|| panic!("{rung}: {report:#}"))
    };
    assert_eq!(check("bytes")["outcome"], "passed", "{report:#}");
    for rung in ["tables", "content", "queries"] {
        assert_eq!(check(rung)["cause"], "no_probe", "{rung}: {report:#}");
    }
    let taken = rig.host.snapshot();
    assert_eq!(taken["facts"]["state"], "missing", "{taken:#}");
    assert_eq!(rig.since(), [""; 0]);
}

#[test]
fn doctor_starts_the_probe_and_says_what_the_kernel_keeps_it_from() {
    let case = "doctor_starts_the_probe_and_says_what_the_kernel_keeps_it_from";
    let (Some(rig), Some(_)) = (Rig::new(), binaries::probe()) else {
        return dr_tests::skip(case, "no agent, no probe or no fixture");
    };
    let found = |code| {
        let doctor = rig
            .host
            .run(&["doctor", "--output", "json"])
            .expect_code(code)
            .json();
        let findings = doctor["findings"].as_array().unwrap();
        let probe = findings.iter().find(|finding| finding["subject"] == "probe");
        probe.unwrap_or_else(|| panic!("{doctor:#}")).clone()
    };
    rig.install(&["99.0.0"]);
    let real = found(0);
    let said = real["found"].as_str().unwrap();
    assert!(said.starts_with("LanceDB 0."), "{real:#}");
    assert!(
        said.contains("reaches no file") || said.contains("not wholly confined: "),
        "{real:#}"
    );
    rig.install(&[]);
    let none = found(0);
    assert_eq!(none["grade"], "warning", "{none:#}");
    assert!(none["fix"].as_str().unwrap().contains("agent.probes"), "{none:#}");
    // One that was built for another machine, or is no probe at all.
    rig.install(&["99.0.0"]);
    std::fs::write(
        rig.host.path().join("probes/99.0.0/dr-probe"),
        "#!/bin/sh
exit 9
",
    )
    .unwrap();
    let broken = found(2);
    assert!(
        broken["found"].as_str().unwrap().contains("99.0.0/dr-probe"),
        "{broken:#}"
    );
}

#[test]
fn a_table_whose_digest_was_proved_lately_is_named_and_not_scanned() {
    let case = "a_table_whose_digest_was_proved_lately_is_named_and_not_scanned";
    let (Some(rig), Some(_)) = (Rig::new(), binaries::probe()) else {
        return dr_tests::skip(case, "no agent, no probe or no fixture");
    };
    rig.install(&["99.0.0"]);
    let _taken = rig.host.snapshot();
    let drill = |more: &[&str]| {
        let arguments = [&["drill", "--kind", "verify", "--output", "json"][..], more].concat();
        let report = rig.host.run(&arguments).expect_code(0).json();
        let source = &report["sources"][0];
        let checks = source["checks"].as_array().unwrap();
        let content = checks.iter().find(|check| check["rung"] == "content").unwrap();
        (content["figure"].to_string(), source["notes"].to_string())
    };
    let (first, _) = drill(&["--content-cycle", "30d"]);
    assert!(!first.contains("not scanned"), "{first}");
    let (second, notes) = drill(&["--content-cycle", "30d"]);
    assert!(
        second.contains("0 rows scanned") && second.contains("3 tables not scanned"),
        "{second}"
    );
    for table in ["memory", "context", "tool_calls"] {
        assert!(notes.contains(&format!("{table}.lance not scanned")), "{notes}");
    }
    let (whole, _) = drill(&[]);
    assert!(
        !whole.contains("not scanned"),
        "nobody asked for a cycle: {whole}"
    );
}
