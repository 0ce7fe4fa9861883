//! Databases that other versions of LanceDB wrote: cut, stored, deleted, restored, proved, and read by Python.

use dr_tests::fixtures::{self, Fixture};
use dr_tests::host::Host;
use dr_tests::oracle::Python;
use dr_tests::{binaries, files};

#[test]
fn every_checkout_has_databases_of_two_versions() {
    let fixtures = fixtures::small();
    let versions: Vec<_> = fixtures
        .iter()
        .map(|fixture| fixture.unpack().facts.lancedb)
        .collect();
    assert_eq!(versions, ["0.14.0", "0.40.0"]);
}

#[test]
fn a_fixture_holds_what_its_facts_say() {
    for fixture in fixtures::small() {
        let unpacked = fixture.unpack();
        for table in unpacked.facts.tables.keys() {
            assert!(
                unpacked.database().join(format!("{table}.lance")).is_dir(),
                "{}: {table}",
                fixture.name
            );
        }
        assert!(unpacked.log().is_file(), "{}", fixture.name);
    }
}

/// A lost host: both sources are deleted, and come back from the repository with the recovery key alone.
#[test]
fn what_was_lost_comes_back_and_stock_lancedb_reads_it() {
    let case = "what_was_lost_comes_back_and_stock_lancedb_reads_it";
    let Some(python) = Python::find() else {
        return dr_tests::skip(
            case,
            "there is no Python with lancedb; `cargo xtask test` installs one",
        );
    };
    for fixture in fixtures::all() {
        let Some(host) = Host::new() else {
            return dr_tests::skip(case, "dr-agent is not built");
        };
        lose_and_restore(host, &fixture, &python);
    }
}

fn lose_and_restore(host: Host, fixture: &Fixture, python: &Python) {
    let unpacked = fixture.unpack();
    let host = host
        .with_database("memory", &unpacked.database())
        .with_log("audit", &unpacked.log());
    host.set_up();
    let id = host.snapshot()["id"].as_str().unwrap().to_owned();
    let logs = files::hashes(unpacked.log().parent().unwrap());
    std::fs::remove_dir_all(unpacked.database()).unwrap();
    std::fs::remove_dir_all(unpacked.log().parent().unwrap()).unwrap();
    std::fs::remove_file(host.key_file()).unwrap();
    std::fs::remove_dir_all(host.state_dir()).unwrap();
    let target = host.path().join("elsewhere");
    let mut bare = host.bare_command(&["restore", "--repository", host.repository(), "--snapshot", &id]);
    bare.arg("--identity")
        .arg(host.recovery_key())
        .arg("--to")
        .arg(&target);
    let _said = host.finish(&mut bare).expect_code(0);

    let read = python.read_golden(&target.join("memory"), &unpacked.root().join("facts.json"));
    for (name, facts) in &unpacked.facts.tables {
        let table = &read["tables"][name];
        assert_eq!(table["rows"], facts.rows, "{}: {name}: {read:#}", fixture.name);
        assert_eq!(table["version"], facts.version, "{}: {name}", fixture.name);
        assert_eq!(
            table["columns"],
            serde_json::json!(facts.columns),
            "{}: {name}",
            fixture.name
        );
    }
    assert!(
        read["golden"]["asked"].as_u64().unwrap() > 10,
        "{}: {read:#}",
        fixture.name
    );
    assert_eq!(
        read["golden"]["exact"], read["golden"]["asked"],
        "{}: {read:#}",
        fixture.name
    );
    assert_eq!(files::hashes(&target.join("audit")), logs, "{}", fixture.name);
}

/// Every rung of a restore drill passes on databases of every version.
#[test]
fn a_restore_drill_passes_on_every_version() {
    let case = "a_restore_drill_passes_on_every_version";
    if binaries::probe().is_none() {
        return dr_tests::skip(case, "dr-probe is not built; `cargo xtask test` builds it");
    }
    for fixture in fixtures::all() {
        let Some(host) = Host::new() else {
            return dr_tests::skip(case, "dr-agent is not built");
        };
        let unpacked = fixture.unpack();
        let host = host
            .with_database("memory", &unpacked.database())
            .with_log("audit", &unpacked.log());
        host.set_up();
        let _snapshot = host.snapshot();
        let report = host
            .run(&["drill", "--kind", "restore", "--output", "json"])
            .expect_code(0)
            .json();
        assert_eq!(report["verdict"], "passed", "{}: {report:#}", fixture.name);
        assert_eq!(report["proof"], "restored", "{}: {report:#}", fixture.name);
        let left: Vec<_> = std::fs::read_dir(host.scratch_dir())
            .into_iter()
            .flatten()
            .collect();
        assert!(left.is_empty(), "{}: scratch still holds {left:?}", fixture.name);
    }
}

/// Nothing in or around a database changes because a snapshot is taken of it.
#[test]
fn a_snapshot_touches_nothing() {
    let case = "a_snapshot_touches_nothing";
    let Some(host) = Host::new() else {
        return dr_tests::skip(case, "dr-agent is not built");
    };
    let fixtures = fixtures::small();
    let unpacked = fixtures.last().unwrap().unpack();
    let host = host
        .with_database("memory", &unpacked.database())
        .with_log("audit", &unpacked.log());
    host.set_up();
    let before = files::stats(unpacked.root());
    let _snapshot = host.snapshot();
    assert_eq!(files::stats(unpacked.root()), before);
}
