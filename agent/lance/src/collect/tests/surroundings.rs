//! Hosts as they are: other owners, read-only mounts, few descriptors.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};

use super::*;
use crate::fixtures::{Fixture, skip};
use crate::pins::{Breach, FreeSpace, Watch, sweep};

fn newest() -> Option<Fixture> {
    archives().pop().map(|archive| unpack(&archive))
}

/// (path, inode, ctime, mtime, links, mode) of everything below a folder.
fn marks(folder: &Path) -> Vec<(String, u64, i64, i64, i64, u64, u32)> {
    let mark = |path: &Path, name: String| {
        let meta = fs::symlink_metadata(path).unwrap();
        (
            name,
            meta.ino(),
            meta.ctime(),
            meta.ctime_nsec(),
            meta.mtime_nsec(),
            meta.nlink(),
            meta.mode(),
        )
    };
    let mut all: Vec<_> = files_below(folder)
        .into_iter()
        .map(|name| mark(&folder.join(&name), name))
        .collect();
    all.push(mark(folder, ".".into()));
    all
}

#[test]
fn nothing_live_changes() {
    let Some(fixture) = newest() else { return };
    let staging = tempfile::tempdir().unwrap();
    let before = marks(&fixture.database);
    for order in [
        vec![PinMethod::Descriptor],
        vec![PinMethod::Reflink, PinMethod::Copy],
    ] {
        let options = CollectOptions {
            pins: order,
            staging: Some(staging.path().into()),
            history: History::All,
            ..Default::default()
        };
        let collected = collect(&fixture.database, &options).unwrap();
        collected.moved().unwrap();
        drop(collected);
        assert_eq!(marks(&fixture.database), before);
    }
    // What hard links do, and why they have to be asked for.
    let options = CollectOptions {
        pins: vec![PinMethod::Hardlink],
        staging: Some(staging.path().into()),
        ..Default::default()
    };
    drop(collect(&fixture.database, &options).unwrap());
    assert_ne!(marks(&fixture.database), before);
    assert!(!PinMethod::DEFAULT_ORDER.contains(&PinMethod::Hardlink));
}

#[test]
fn pins_outlive_the_files() {
    let Some(fixture) = newest() else { return };
    let staging = tempfile::tempdir().unwrap();
    for method in [PinMethod::Descriptor, PinMethod::Hardlink, PinMethod::Copy] {
        let copy = tempfile::tempdir().unwrap();
        let live = copy.path().join("db");
        write_out(
            &collect(&fixture.database, &descriptors(History::Heads)).unwrap(),
            &live_folder(&live),
        );
        let options = CollectOptions {
            pins: vec![method],
            staging: Some(staging.path().into()),
            ..Default::default()
        };
        let collected = collect(&live, &options).unwrap();
        let held_before = collected.held_bytes();
        fs::remove_dir_all(&live).unwrap();
        let restored = tempfile::tempdir().unwrap();
        write_out(&collected, restored.path());
        assert_eq!(
            collect(restored.path(), &descriptors(History::Heads))
                .unwrap()
                .damage,
            []
        );
        let bytes: u64 = collected
            .entries
            .iter()
            .filter(|entry| entry.method().is_some())
            .map(|entry| entry.len())
            .sum();
        assert!(
            collected.held_bytes() >= bytes,
            "{method}: {} of {bytes}",
            collected.held_bytes()
        );
        assert!(method == PinMethod::Copy || held_before == 0);
        let figures = &collected.pin.file_systems;
        assert_eq!(
            figures.iter().map(|pins| pins.held[&method].bytes).sum::<u64>(),
            bytes
        );
    }
    assert_eq!(fs::read_dir(staging.path()).unwrap().count(), 0);
}

fn live_folder(path: &Path) -> std::path::PathBuf {
    fs::create_dir_all(path).unwrap();
    path.to_owned()
}

/// A folder on another file system, wherever temporary files lie.
fn elsewhere(path: &Path) -> Option<tempfile::TempDir> {
    let here = fs::metadata(path).unwrap().dev();
    let checkout = env!("CARGO_MANIFEST_DIR");
    let folders = ["/dev/shm", "/run", "/var/tmp", "/tmp", checkout].into_iter();
    folders
        .filter(|folder| fs::metadata(folder).is_ok_and(|meta| meta.dev() != here))
        .find_map(|folder| tempfile::Builder::new().prefix("pins").tempdir_in(folder).ok())
}

#[test]
fn the_first_method_that_works_is_taken_and_the_reason_kept() {
    let Some(fixture) = newest() else { return };
    let Some(staging) = elsewhere(&fixture.database) else {
        return skip("other file system", "there is no second one to write to");
    };
    let options = CollectOptions {
        pins: vec![PinMethod::Reflink, PinMethod::Hardlink, PinMethod::Descriptor],
        staging: Some(staging.path().into()),
        ..Default::default()
    };
    let summary = try_pins(&fixture.database, &options).unwrap();
    assert_eq!(summary.main_method(), Some(PinMethod::Descriptor));
    let refused = &summary.file_systems[0].refused;
    assert_eq!(
        refused.iter().map(|refused| refused.method).collect::<Vec<_>>(),
        [PinMethod::Reflink, PinMethod::Hardlink]
    );
    assert!(
        refused.iter().all(|refused| refused.reason.contains("another")),
        "{refused:?}"
    );
    let none = CollectOptions {
        pins: vec![PinMethod::Hardlink],
        staging: None,
        ..Default::default()
    };
    let error = collect(&fixture.database, &none).unwrap_err();
    assert!(
        error.to_string().contains("no staging folder is configured"),
        "{error}"
    );
}

#[test]
fn staging_inside_the_database_is_refused() {
    let Some(fixture) = newest() else { return };
    let staging = fixture.database.join("memory.lance/not/there/yet");
    let options = CollectOptions {
        staging: Some(staging.clone()),
        ..Default::default()
    };
    assert!(matches!(
        collect(&fixture.database, &options),
        Err(Error::StagingInside { .. })
    ));
    assert!(!staging.exists());
}

#[test]
fn leftovers_of_a_killed_collection_are_swept() {
    let staging = tempfile::tempdir().unwrap();
    fs::create_dir(staging.path().join("pins-1-0")).unwrap();
    fs::write(staging.path().join("pins-1-0/.lock"), b"").unwrap();
    fs::write(staging.path().join("pins-1-0/7"), b"x").unwrap();
    fs::create_dir(staging.path().join("not-ours")).unwrap();
    let Some(fixture) = newest() else { return };
    let options = CollectOptions {
        pins: vec![PinMethod::Copy],
        staging: Some(staging.path().into()),
        ..Default::default()
    };
    let collected = collect(&fixture.database, &options).unwrap();
    assert_eq!(sweep(staging.path()).unwrap(), 1);
    assert!(
        collected
            .entries
            .iter()
            .all(|entry| entry.is_empty() || entry.read_at(&mut [0], 0).unwrap() == 1)
    );
    drop(collected);
    assert_eq!(sweep(staging.path()).unwrap(), 0);
    assert!(staging.path().join("not-ours").exists());
    assert_eq!(sweep(&staging.path().join("none")).unwrap(), 0);
}

#[test]
fn the_watch_drops_old_pins_and_keeps_space_free() {
    let folder = tempfile::tempdir().unwrap();
    let since = jiff::Timestamp::UNIX_EPOCH;
    let watch = |floor| Watch::new(since, std::time::Duration::from_secs(60), floor);
    let at = |seconds: i64| since + jiff::SignedDuration::from_secs(seconds);
    let calm = watch(FreeSpace::Bytes(0))
        .observe(at(59), folder.path(), 0)
        .unwrap();
    assert_eq!((calm.breach, calm.age.as_secs()), (None, 59));
    let old = watch(FreeSpace::Percent(0.0))
        .observe(at(61), folder.path(), 0)
        .unwrap();
    assert!(matches!(old.breach, Some(Breach::TooOld { .. })));
    let full = watch(FreeSpace::Percent(100.0))
        .observe(at(1), folder.path(), u64::MAX / 2)
        .unwrap();
    assert!(matches!(full.breach, Some(Breach::NoSpace { .. })));
    let held_nothing = watch(FreeSpace::Percent(100.0)).observe(at(1), folder.path(), 0);
    assert_eq!(held_nothing.unwrap().breach, None);
}

#[test]
fn a_user_with_read_permission_only() {
    let open_to_all = |path: &Path| fs::metadata(path).is_ok_and(|meta| meta.mode() & 0o001 != 0);
    if !rustix::process::geteuid().is_root() || !std::env::temp_dir().ancestors().all(open_to_all) {
        // Not a matter of what is installed: whoever runs this simply is no root.
        eprintln!("SKIPPED: only root can become another user, below a folder that all may enter");
        return;
    }
    let Some(fixture) = newest() else { return };
    let parent = fixture.database.parent().unwrap();
    fs::set_permissions(parent, fs::Permissions::from_mode(0o755)).unwrap();
    let database = fixture.database.clone();
    // Identity is per thread on Linux: this one becomes nobody and ends.
    let taken = std::thread::spawn(move || {
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_gid(rustix::process::Gid::from_raw(65_534)).unwrap();
        rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65_534)).unwrap();
        let collected = collect(&database, &CollectOptions::default()).unwrap();
        let method = collected.pin.main_method();
        fs::read(database.join("..").join("facts.json")).unwrap();
        (collected.damage.clone(), method, collected.moved().unwrap())
    });
    assert_eq!(
        taken.join().unwrap(),
        (Vec::new(), Some(PinMethod::Descriptor), Vec::new())
    );

    let secret = files_below(&fixture.database)
        .into_iter()
        .find(|name| name.contains("/data/"))
        .unwrap();
    fs::set_permissions(fixture.database.join(&secret), fs::Permissions::from_mode(0o600)).unwrap();
    let database = fixture.database.clone();
    let refused = std::thread::spawn(move || {
        rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65_534)).unwrap();
        collect(
            &database,
            &CollectOptions {
                history: History::All,
                ..Default::default()
            },
        )
        .unwrap_err()
        .to_string()
    });
    let refused = refused.join().unwrap();
    assert!(
        refused.contains(&secret) && refused.contains("read permission"),
        "{refused}"
    );
}

const CHILD: &str = "DR_LANCE_CHILD";

/// Runs in a process of its own, with surroundings that its parent made; see the tests below.
#[test]
#[ignore = "only as a child"]
fn child() {
    let database = std::env::var(CHILD).unwrap();
    let staging = std::env::var_os("DR_LANCE_STAGING").map(PathBuf::from);
    let order = std::env::var("DR_LANCE_PINS").unwrap_or_else(|_| "[\"descriptor\"]".into());
    let options = CollectOptions {
        pins: serde_json::from_str(&order).unwrap(),
        staging,
        history: History::All,
        ..Default::default()
    };
    match collect(database.as_ref(), &options) {
        Ok(collected) => {
            let copy = tempfile::tempdir().unwrap();
            write_out(&collected, copy.path());
            assert_eq!(collected.damage, []);
            println!("TAKEN {}", serde_json::to_string(&collected.pin).unwrap());
        }
        Err(error) => println!("REFUSED {error}"),
    }
}

/// Runs [`child`] below a command that makes its surroundings.
fn run_child(wrapper: &[&str], database: &Path, pins: &str, staging: Option<&Path>) -> String {
    let exe = std::env::current_exe().unwrap();
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(exe);
    command.args([
        "--exact",
        "collect::tests::surroundings::child",
        "--ignored",
        "--nocapture",
    ]);
    command.env(CHILD, database).env("DR_LANCE_PINS", pins);
    if let Some(staging) = staging {
        command.env("DR_LANCE_STAGING", staging);
    }
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    assert!(
        status.success(),
        "{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    let said = String::from_utf8(stdout).unwrap();
    let answer = |line: &str| {
        line.find("TAKEN")
            .or_else(|| line.find("REFUSED"))
            .map(|at| line[at..].to_owned())
    };
    said.lines().find_map(answer).unwrap_or_else(|| panic!("{said}"))
}

fn can_run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}

#[test]
fn few_descriptors_fall_to_the_next_method_or_say_why() {
    if !can_run("prlimit", &["--version"]) {
        return skip("few descriptors", "prlimit is not installed");
    }
    let Some(fixture) = newest() else { return };
    let staging = tempfile::tempdir().unwrap();
    let few = ["prlimit", "--nofile=48:64"];
    let said = run_child(
        &few,
        &fixture.database,
        "[\"descriptor\",\"copy\"]",
        Some(staging.path()),
    );
    let summary: PinSummary = serde_json::from_str(said.strip_prefix("TAKEN ").unwrap()).unwrap();
    let pins = &summary.file_systems[0];
    assert!(
        pins.held[&PinMethod::Descriptor].files > 0 && pins.held[&PinMethod::Copy].files > 0,
        "{pins:?}"
    );
    assert!(pins.refused[0].reason.contains("LimitNOFILE"), "{pins:?}");
    assert_eq!(summary.descriptors.unwrap().soft, 64, "raised to the hard limit");

    let said = run_child(&few, &fixture.database, "[\"descriptor\"]", None);
    assert!(
        said.starts_with("REFUSED") && said.contains("raise LimitNOFILE"),
        "{said}"
    );

    let said = run_child(
        &["prlimit", "--nofile=48:4096"],
        &fixture.database,
        "[\"descriptor\"]",
        None,
    );
    assert!(said.starts_with("TAKEN"), "the soft limit is raised: {said}");
}

#[test]
fn a_read_only_mount_and_another_mount_of_the_same_file_system() {
    // Without root, a user namespace of one's own may do.
    let Some(unshare) = ["-m", "-rm"]
        .into_iter()
        .find(|flags| can_run("unshare", &[flags, "true"]))
    else {
        eprintln!("SKIPPED: this user may not make mounts (unshare -m)");
        return;
    };
    let Some(fixture) = newest() else { return };
    let mount = tempfile::tempdir().unwrap();
    let staging = tempfile::tempdir().unwrap();
    let script = format!(
        "mount --bind '{0}' '{1}' && mount -o remount,bind,ro '{1}' && exec \"$@\"",
        fixture.database.display(),
        mount.path().display()
    );
    let wrapper = ["unshare", unshare, "sh", "-c", &script, "sh"];
    let said = run_child(
        &wrapper,
        mount.path(),
        "[\"reflink\",\"descriptor\",\"copy\"]",
        Some(staging.path()),
    );
    let summary: PinSummary = serde_json::from_str(said.strip_prefix("TAKEN ").unwrap()).unwrap();
    assert!(summary.main_method().is_some(), "{said}");

    let said = run_child(&wrapper, mount.path(), "[\"hardlink\"]", Some(staging.path()));
    assert!(
        said.starts_with("REFUSED") && said.contains("another mount"),
        "{said}"
    );
    let said = run_child(
        &wrapper,
        mount.path(),
        "[\"hardlink\",\"descriptor\"]",
        Some(staging.path()),
    );
    assert!(said.starts_with("TAKEN"), "{said}");
}
