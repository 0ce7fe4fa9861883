//! What used to hold a whole host back: one broken table, one lost object, one link, one name, an older state put back.

use std::fs;
use std::path::Path;

use dr_tests::files;
use dr_tests::fixtures::{self, Unpacked};
use dr_tests::host::Host;
use dr_tests::mount::Mount;

const NOT_BUILT: &str = "dr-agent is not built";

fn protected() -> Option<(Host, Unpacked)> {
    let host = Host::new()?;
    let unpacked = fixtures::small().last()?.unpack();
    let host = host
        .with_database("memory", &unpacked.database())
        .with_log("audit", &unpacked.log());
    host.set_up();
    Some((host, unpacked))
}

fn under(folder: &Path, name: &str) -> Vec<std::path::PathBuf> {
    let all = files::files(folder).into_iter();
    all.filter(|path| path.starts_with(name))
        .map(|path| folder.join(path))
        .collect()
}

#[test]
fn one_table_that_nobody_can_read_does_not_hold_the_others_back() {
    let case = "one_table_that_nobody_can_read_does_not_hold_the_others_back";
    let Some((host, unpacked)) = protected() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    for manifest in under(&unpacked.database(), "tool_calls.lance/_versions") {
        let file = fs::File::options().write(true).open(&manifest).unwrap();
        file.set_len(10).unwrap();
    }
    let _partial = host.run(&["snapshot", "--no-facts"]).expect_code(3);
    let to = host.path().join("restored");
    let restored = host
        .run(&["restore", "--to", &to.display().to_string()])
        .expect_code(0);
    restored.expect_said(&["tool_calls.lance/_versions", "cannot be decoded"]);
    let (live, back) = (
        files::hashes(&unpacked.database()),
        files::hashes(&to.join("memory")),
    );
    assert!(back.keys().any(|path| path.starts_with("memory.lance")));
    assert!(back.iter().all(|(path, hash)| live.get(path) == Some(hash)));
    let drill = host.run(&["drill", "--kind", "verify"]).expect_code(1);
    drill.expect_said(&["tool_calls.lance", "no version of it could be read at the cut"]);
}

#[test]
fn a_table_behind_a_link_is_missed_aloud() {
    let case = "a_table_behind_a_link_is_missed_aloud";
    let Some((host, unpacked)) = protected() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let (table, elsewhere) = (
        unpacked.database().join("tool_calls.lance"),
        unpacked.root().join("other disk"),
    );
    fs::rename(&table, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &table).unwrap();
    let snapshot = host.run(&["snapshot", "--no-facts"]).expect_code(3);
    snapshot.expect_said(&["tool_calls.lance", "behind a symbolic link"]);
    let check = host.run(&["check", "vector-db"]).expect_code(2);
    check.expect_said(&["tool_calls.lance", "behind a symbolic link"]);
}

#[test]
fn what_a_lost_pack_held_is_in_the_next_snapshot() {
    let case = "what_a_lost_pack_held_is_in_the_next_snapshot";
    let Some((host, unpacked)) = protected() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let _first = host.snapshot();
    for pack in under(&host.repository_dir(), "packs") {
        fs::remove_file(pack).unwrap();
    }
    let check = host.run(&["repository", "check"]).expect_code(1);
    check.expect_said(&["it is gone"]);
    let second = host.snapshot();
    let id = second["id"].as_str().unwrap();
    let restored = host.restore(id, "memory");
    let (live, back) = (files::hashes(&unpacked.database()), files::hashes(&restored));
    assert!(!back.is_empty() && back.iter().all(|(path, hash)| live.get(path) == Some(hash)));
    let healed = host.run(&["repository", "check", "--full"]).expect_code(0);
    healed.expect_said(&["no snapshot needs it"]);
}

#[test]
fn an_older_state_put_back_is_not_forgotten_by_the_next_snapshot() {
    let case = "an_older_state_put_back_is_not_forgotten_by_the_next_snapshot";
    let Some((host, _unpacked)) = protected() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let _first = host.snapshot();
    let older = host.path().join("older");
    files::copy(&host.repository_dir(), &older);
    let gone = host.snapshot();
    let gone = gone["id"].as_str().unwrap();
    fs::remove_dir_all(host.repository_dir()).unwrap();
    files::copy(&older, &host.repository_dir());
    let next = host.run(&["snapshot", "--no-facts"]).expect_code(0);
    next.expect_said(&[gone, "an older state was put back"]);
    let check = host.run(&["repository", "check"]).expect_code(1);
    check.expect_said(&[gone, "to forget it"]);
    let to = host.path().join("restored").display().to_string();
    host.run(&["restore", "--to", &to])
        .expect_code(0)
        .expect_said(&[gone]);
    // Whoever did that on purpose says so.
    fs::remove_dir_all(host.state_dir().join("heads")).unwrap();
    let _sound = host.run(&["repository", "check"]).expect_code(0);
}

#[test]
fn a_manifest_that_rots_stops_neither_snapshots_nor_lists() {
    let case = "a_manifest_that_rots_stops_neither_snapshots_nor_lists";
    let Some((host, _unpacked)) = protected() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let first = host.snapshot();
    let first = first["id"].as_str().unwrap().to_owned();
    let second = host.snapshot();
    let rotten = second["id"].as_str().unwrap();
    let manifest = under(&host.repository_dir(), "snapshots")
        .into_iter()
        .find(|path| path.to_string_lossy().ends_with(rotten))
        .unwrap();
    let mut bytes = fs::read(&manifest).unwrap();
    bytes[100] ^= 1;
    files::overwrite(&manifest, &bytes);
    let listed = host.run(&["snapshots", "list"]).expect_code(65);
    listed.expect_said(&[&first[..12], rotten]);
    let to = host.path().join("restored").display().to_string();
    let refused = host.run(&["restore", "--to", &to]).expect_code(65);
    refused.expect_said(&[rotten, "name an older one", &first]);
    let next = host.run(&["snapshot", "--no-facts"]).expect_code(0);
    next.expect_said(&[rotten, "can not be opened"]);
    let _latest = host.run(&["restore", "--to", &to]).expect_code(0);
}

#[test]
fn a_folder_with_a_mount_on_it_is_restored_to_and_own_folders_are_not() {
    let case = "a_folder_with_a_mount_on_it_is_restored_to_and_own_folders_are_not";
    let Some((host, unpacked)) = protected() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let _snapshot = host.snapshot();
    for own in [host.repository_dir(), host.state_dir(), unpacked.database()] {
        let to = own.join("below").display().to_string();
        let refused = host.run(&["restore", "--to", &to]).expect_code(64);
        refused.expect_said(&["lies within", "choose a folder of its own"]);
    }
    let (real, to) = (host.path().join("real"), host.path().join("to"));
    for folder in [&real, &to.join("memory")] {
        fs::create_dir_all(folder).unwrap();
    }
    // One file system with the folder around it: its number tells nothing.
    let Some(mount) = Mount::bind(&real, &to.join("memory")) else {
        return dr_tests::skip(case, "mounts need root");
    };
    let _restored = host
        .run(&["restore", "--to", &to.display().to_string()])
        .expect_code(0);
    assert!(
        files::files(mount.path())
            .iter()
            .any(|path| path.starts_with("memory.lance"))
    );
}

#[test]
fn sources_that_a_glob_matches_no_more_are_named() {
    let case = "sources_that_a_glob_matches_no_more_are_named";
    let Some(host) = Host::new() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let (Some(unpacked), tenants) = (
        fixtures::small().last().map(fixtures::Fixture::unpack),
        host.path().join("tenants"),
    ) else {
        return dr_tests::skip(case, "no fixture");
    };
    for tenant in ["acme", "beta", "zeta"] {
        files::copy(&unpacked.database(), &tenants.join(tenant).join("db"));
    }
    let host = host.with_database("memory", &tenants.join("*/db"));
    host.set_up();
    let _all = host.run(&["snapshot", "--no-facts"]).expect_code(0);
    fs::rename(tenants.join("beta"), host.path().join("unmounted")).unwrap();
    let less = host.run(&["snapshot", "--no-facts"]).expect_code(3);
    less.expect_said(&["memory/beta", "is it mounted"]);
    fs::rename(host.path().join("unmounted"), tenants.join("beta")).unwrap();
    let _all = host.run(&["snapshot", "--no-facts"]).expect_code(0);
    for tenant in ["acme", "beta"] {
        fs::remove_dir_all(tenants.join(tenant)).unwrap();
    }
    let suspect = host.run(&["snapshot", "--no-facts"]).expect_code(2);
    suspect.expect_said(&["memory: 1 of 3 sources", "SUSPECT"]);
}
