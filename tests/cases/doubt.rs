//! Repositories and sources that are not what they should be: never a silent pass.

use dr_tests::files;
use dr_tests::fixtures::{self, Unpacked};
use dr_tests::host::Host;

const NOT_BUILT: &str = "dr-agent is not built";

fn protected() -> Option<(Host, Unpacked)> {
    let host = Host::new()?;
    let unpacked = fixtures::small().last()?.unpack();
    let host = host.with_database("memory", &unpacked.database());
    host.set_up();
    Some((host, unpacked))
}

#[test]
fn a_wrong_key_opens_nothing() {
    let Some((host, _unpacked)) = protected() else {
        return dr_tests::skip("a_wrong_key_opens_nothing", NOT_BUILT);
    };
    let Some((other, _other_unpacked)) = protected() else {
        return;
    };
    let key = other.key_file().display().to_string();
    let refused = host
        .run(&["snapshots", "list", "--identity", &key])
        .expect_code(77);
    refused.expect_said(&["key"]);
}

#[test]
fn a_newer_format_is_left_alone() {
    let Some((host, _unpacked)) = protected() else {
        return dr_tests::skip("a_newer_format_is_left_alone", NOT_BUILT);
    };
    let path = host.repository_dir().join("config");
    let text = std::fs::read_to_string(&path).unwrap();
    let (first, _check) = text.split_once('\n').unwrap();
    let first = format!("{}\n", first.replacen("\"version\":1", "\"version\":2", 1));
    assert!(
        !text.starts_with(&first),
        "the version stands in clear in config: {text}"
    );
    // A newer version would write a right checksum, too.
    let newer = format!("{first}{{\"blake3\":\"{}\"}}\n", blake3::hash(first.as_bytes()));
    files::overwrite(&path, newer.as_bytes());
    let before = files::hashes(&host.repository_dir());
    let refused = host.run(&["snapshot"]).expect_code(65);
    refused.expect_said(&["2", "newer"]);
    assert_eq!(
        files::hashes(&host.repository_dir()),
        before,
        "nothing was written into it"
    );
}

#[test]
fn another_repository_in_its_place_is_noticed() {
    let case = "another_repository_in_its_place_is_noticed";
    let Some((host, _unpacked)) = protected() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let _first = host.snapshot();
    let Some((other, _other_unpacked)) = protected() else {
        return;
    };
    // The other repository opens with this host's key, so that only its identity tells.
    std::fs::copy(other.key_file(), host.key_file()).unwrap();
    files::put_back(&other.repository_dir(), &host.repository_dir());
    let refused = host.run(&["snapshot"]);
    assert!([65, 77, 78].contains(&refused.code()), "{refused:?}");
    refused.expect_said(&["repository"]);
}

#[test]
fn an_older_state_put_back_is_noticed() {
    let case = "an_older_state_put_back_is_noticed";
    let Some((host, unpacked)) = protected() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let _first = host.snapshot();
    let older = host.path().join("older");
    files::copy(&host.repository_dir(), &older);
    std::fs::remove_dir_all(unpacked.database().join("tool_calls.lance")).unwrap();
    let second = host.snapshot()["id"].as_str().unwrap().to_owned();
    files::put_back(&older, &host.repository_dir());
    let check = host.run(&["repository", "check"]);
    assert_ne!(check.code(), 0, "{check:?}");
    check.expect_said(&[&second[..8]]);
}

#[test]
fn an_empty_source_is_suspect_and_never_latest() {
    let case = "an_empty_source_is_suspect_and_never_latest";
    let Some((host, unpacked)) = protected() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let good = host.snapshot()["id"].as_str().unwrap().to_owned();
    for table in unpacked.facts.tables.keys() {
        std::fs::remove_dir_all(unpacked.database().join(format!("{table}.lance"))).unwrap();
    }
    let suspect = host.run(&["snapshot"]);
    assert_eq!(suspect.code(), 2, "{suspect:?}");
    suspect.expect_said(&["SUSPECT"]);
    let latest = host
        .run(&["snapshots", "show", "latest", "--output", "json"])
        .expect_code(0)
        .json();
    assert_eq!(latest["id"], good.as_str(), "{latest:#}");
}

#[test]
fn a_source_that_lost_more_than_half_is_suspect() {
    let case = "a_source_that_lost_more_than_half_is_suspect";
    let Some((host, unpacked)) = protected() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let good = host.snapshot()["id"].as_str().unwrap().to_owned();
    std::fs::remove_dir_all(unpacked.database().join("memory.lance")).unwrap();
    std::fs::remove_dir_all(unpacked.database().join("context.lance")).unwrap();
    let suspect = host.run(&["snapshot"]);
    assert_eq!(suspect.code(), 2, "{suspect:?}");
    suspect.expect_said(&["SUSPECT"]);
    let latest = host
        .run(&["snapshots", "show", "latest", "--output", "json"])
        .expect_code(0)
        .json();
    assert_eq!(latest["id"], good.as_str(), "{latest:#}");
}

/// The bytes are those of the host, and no LanceDB can read them: the snapshot is kept, and says so.
#[test]
fn a_table_that_can_not_be_decoded_is_named_when_it_is_taken() {
    let case = "a_table_that_can_not_be_decoded_is_named_when_it_is_taken";
    let (Some((host, unpacked)), Some(_)) = (protected(), dr_tests::binaries::probe()) else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let data = unpacked.database().join("tool_calls.lance/data");
    let mut files: Vec<_> = std::fs::read_dir(data)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let path = files.first().unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    let end = bytes.len() - 40;
    bytes[end..].fill(0);
    std::fs::write(path, bytes).unwrap();
    let taken = host.run(&["snapshot"]).expect_code(3);
    taken.expect_said(&[
        "committed",
        "the snapshot is kept, and its data can not be used",
        "memory",
        "tool_calls",
    ]);
    let taken = host.run(&["snapshot", "--output", "json"]).expect_code(3).json();
    let disproved = &taken["facts"]["disproved"];
    assert_eq!(disproved[0]["source"], "memory", "{taken:#}");
    assert_eq!(disproved[0]["table"], "tool_calls.lance", "{taken:#}");
    let latest = host
        .run(&["snapshots", "show", "latest", "--output", "json"])
        .expect_code(0)
        .json();
    assert_eq!(latest["id"], taken["id"], "it is the newest there is");
    host.run(&["drill", "--kind", "verify"])
        .expect_code(1)
        .expect_said(&["tool_calls"]);
}

/// Too few rows to train a vector index on: Lance keeps its definition, and no folder.
#[test]
fn a_database_whose_index_waits_for_rows_is_whole() {
    let case = "a_database_whose_index_waits_for_rows_is_whole";
    let (Some(host), Some(sample)) = (Host::new(), dr_tests::binaries::sample()) else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let made = host.path().join("sample");
    let mut create = std::process::Command::new(sample);
    create.arg("create").arg(&made).args(["--rows", "300"]);
    let _created = host.finish(&mut create).expect_code(0);
    let host = host.with_database("memory", &made.join("rocketship-db"));
    host.set_up();
    let _healthy = host.run(&["check", "vector-db"]).expect_code(0);
    let taken = host.snapshot();
    assert_eq!(taken["sources"][0]["damage"], serde_json::json!([]), "{taken:#}");
    let _proved = host.run(&["drill"]).expect_code(0);
}

/// The newest snapshot that is trusted.
#[track_caller]
fn latest(host: &Host) -> String {
    let latest = host
        .run(&["snapshots", "show", "latest", "--output", "json"])
        .expect_code(0)
        .json();
    latest["id"].as_str().unwrap().to_owned()
}

#[test]
fn another_machine_is_trusted_only_if_it_goes_on_from_the_last() {
    let case = "another_machine_is_trusted_only_if_it_goes_on_from_the_last";
    let Some((host, unpacked)) = protected() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let first = host.snapshot()["id"].as_str().unwrap().to_owned();
    let older = host.path().join("older");
    let table = unpacked.database().join("memory.lance");
    // A machine that was built anew has no state, and data that were restored whole: it goes on.
    std::fs::remove_dir_all(host.state_dir()).unwrap();
    let second = host.snapshot();
    assert_eq!(second["suspect"], serde_json::Value::Null, "{second:#}");
    let second = second["id"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    // One whose data are older than the last snapshot, by one version of one table, does not.
    files::copy(&table.join("_versions"), &older);
    let newest = std::fs::read_dir(&older)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().ends_with(".manifest"))
        .min()
        .expect("a table has a manifest");
    std::fs::remove_file(table.join("_versions").join(&newest)).unwrap();
    std::fs::remove_dir_all(host.state_dir()).unwrap();
    let doubted = host.run(&["snapshot"]);
    assert_eq!(doubted.code(), 2, "{doubted:?}");
    doubted.expect_said(&["SUSPECT", "first snapshot of another machine", "--accept"]);
    assert_eq!(latest(&host), second);
    // It stays in doubt until somebody says that it is right; from then on others are compared with it.
    assert_eq!(host.run(&["snapshot"]).code(), 2);
    let unsaid = host.run(&["snapshot", "--accept"]);
    assert_eq!(unsaid.code(), 64, "{unsaid:?}");
    let accepted = host.run(&[
        "snapshot",
        "--accept",
        "--reason",
        "restored from tape",
        "--output",
        "json",
    ]);
    let accepted = accepted.expect_code(0).json();
    assert_eq!(accepted["suspect"], serde_json::Value::Null);
    assert!(
        accepted["accepted"].as_str().unwrap().contains("another machine"),
        "{accepted:#}"
    );
    assert_eq!(latest(&host), accepted["id"].as_str().unwrap());
    let next = host.snapshot();
    assert_eq!(next["suspect"], serde_json::Value::Null, "{next:#}");
}
