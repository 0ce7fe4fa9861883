//! Damage to the objects of a repository: none passes, and each is named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dr_tests::chunks::{self, Place};
use dr_tests::files;
use dr_tests::fixtures;
use dr_tests::host::Host;
use dr_tests::{binaries, volume};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

/// A repository of two snapshots, and a copy of it to go back to.
struct Repository {
    host: Host,
    pristine: PathBuf,
    objects: Vec<PathBuf>,
}

impl Repository {
    fn make() -> Option<Self> {
        let host = Host::new()?;
        let unpacked = fixtures::small().last()?.unpack();
        let host = host
            .with_database("memory", &unpacked.database())
            .with_log("audit", &unpacked.log());
        host.set_up();
        let _first = host.snapshot();
        let table = unpacked.database().join("tool_calls.lance");
        std::fs::remove_dir_all(table).unwrap();
        let _second = host.snapshot();
        let pristine = host.path().join("pristine");
        files::copy(&host.repository_dir(), &pristine);
        let objects = files::files(&pristine);
        Some(Self {
            host,
            pristine,
            objects,
        })
    }

    fn path(&self, object: &Path) -> PathBuf {
        self.host.repository_dir().join(object)
    }

    /// The check must not pass, and must name the object, or for swapped ones either of them.
    #[track_caller]
    fn must_name(&self, damage: &str, objects: &[&Path]) {
        let check = self.host.run(&["repository", "check", "--full"]);
        assert_ne!(check.code(), 0, "{damage} passed\n{check:?}");
        let said = check.said();
        let named = objects
            .iter()
            .any(|object| said.contains(&*object.to_string_lossy()) || said.contains(id(object)))
            // Without the one key object that this host's key opens, nothing else of the repository can be asked.
            || (check.code() == 77 && said.contains("key objects") && objects.iter().all(|object| kind(object) == "keys"));
        assert!(named, "{damage} is not named\n{check:?}");
        files::put_back(&self.pristine, &self.host.repository_dir());
    }
}

/// What an object is known by where only others are left to name it: the hash that ends its name.
fn id(object: &Path) -> &str {
    let name = object.file_name().and_then(|name| name.to_str()).unwrap();
    name.rsplit('-').next().unwrap()
}

#[test]
fn every_bit_flip_in_a_repository_is_named() {
    let case = "every_bit_flip_in_a_repository_is_named";
    let Some(repository) = Repository::make() else {
        return dr_tests::skip(case, "dr-agent is not built");
    };
    let mut chance = SmallRng::seed_from_u64(volume::seed());
    let mut found = BTreeMap::<String, u64>::new();
    for number in 0..volume::of(60, 200) {
        // In turn, so that the small objects of which there are few get their share.
        let object = &repository.objects[number % repository.objects.len()];
        let path = repository.path(object);
        let mut bytes = std::fs::read(&path).unwrap();
        let position = chance.random_range(0..bytes.len());
        let bit = chance.random_range(0..8_u8);
        bytes[position] ^= 1 << bit;
        files::overwrite(&path, &bytes);
        let damage = format!("bit {bit} of byte {position} of {}", object.display());
        repository.must_name(&damage, &[object]);
        *found.entry(kind(object)).or_default() += 1;
    }
    volume::figure(case, &json!(found));
}

#[test]
fn every_object_that_is_gone_cut_short_or_another_is_named() {
    let case = "every_object_that_is_gone_cut_short_or_another_is_named";
    let Some(repository) = Repository::make() else {
        return dr_tests::skip(case, "dr-agent is not built");
    };
    for object in &repository.objects {
        let path = repository.path(object);
        std::fs::remove_file(&path).unwrap();
        repository.must_name(&format!("{} removed", object.display()), &[object]);

        let bytes = std::fs::read(&path).unwrap();
        files::overwrite(&path, &bytes[..bytes.len() / 2]);
        repository.must_name(&format!("{} cut to half", object.display()), &[object]);

        let same_kind = |other: &&PathBuf| *other != object && kind(other) == kind(object);
        if let Some(other) = repository.objects.iter().find(same_kind) {
            files::overwrite(&path, &std::fs::read(repository.path(other)).unwrap());
            files::overwrite(&repository.path(other), &bytes);
            let damage = format!("{} and {} swapped", object.display(), other.display());
            repository.must_name(&damage, &[object, other]);
        }
    }
}

/// A drill on damaged packs is red, for the right reason.
#[test]
fn a_drill_over_damage_fails() {
    let case = "a_drill_over_damage_fails";
    if binaries::probe().is_none() {
        return dr_tests::skip(case, "dr-probe is not built; `cargo xtask test` builds it");
    }
    let Some(repository) = Repository::make() else {
        return dr_tests::skip(case, "dr-agent is not built");
    };
    // Of what the newest snapshot needs: others may be of the table that it no longer has.
    let mut needed = BTreeMap::<PathBuf, Place>::new();
    for source in ["memory", "audit"] {
        let places = chunks::of_files(&repository.host, source, |_| true).into_iter();
        needed.extend(places.map(|place| (place.pack.clone(), place)));
    }
    for (pack, place) in needed.iter().take(volume::of(3, 20)) {
        place.damage(&repository.host);
        let drill = repository.host.run(&["drill", "--kind", "verify"]).expect_code(1);
        drill.expect_said(&["failed", &pack.file_name().unwrap().to_string_lossy()[..8]]);
        files::put_back(&repository.pristine, &repository.host.repository_dir());
    }
}

/// The database is damaged: it fails, by file and chunk. The log beside it is proved all the same.
#[test]
fn damage_to_a_database_leaves_the_log_proved() {
    let case = "damage_to_a_database_leaves_the_log_proved";
    if binaries::probe().is_none() {
        return dr_tests::skip(case, "dr-probe is not built; `cargo xtask test` builds it");
    }
    let (Some(host), Some(fixture)) = (Host::new(), fixtures::small().pop()) else {
        return dr_tests::skip(case, "dr-agent is not built");
    };
    let unpacked = fixture.unpack();
    let host = host
        .with_database("memory", &unpacked.database())
        .with_log("audit", &unpacked.log());
    host.set_up();
    let _snapshot = host.snapshot();
    let of_data = chunks::of_files(&host, "memory", |path| path.contains(".lance/data/"));
    of_data.first().expect("data have chunks").damage(&host);

    for drill in ["restore", "verify"] {
        let report = host
            .run(&["drill", "--kind", drill, "--output", "json"])
            .expect_code(1)
            .json();
        let source = |name: &str| {
            let sources = report["sources"].as_array().unwrap();
            sources.iter().find(|source| source["name"] == name).unwrap()
        };
        assert_eq!(source("audit")["verdict"], "passed", "{drill}: {report:#}");
        let proof = if drill == "restore" { "restored" } else { "queries" };
        assert_eq!(source("audit")["proof"], proof, "{drill}: {report:#}");
        assert_eq!(source("memory")["verdict"], "failed", "{drill}: {report:#}");
        assert_eq!(
            report["time_to_usable"],
            json!(null),
            "{drill}: it is not all usable"
        );
        let check = |rung: &str| {
            let checks = source("memory")["checks"].as_array().unwrap();
            checks.iter().find(|check| check["rung"] == rung).unwrap()
        };
        let asked = if drill == "restore" {
            vec!["bytes", "restore"]
        } else {
            vec!["bytes"]
        };
        for rung in asked {
            let check = check(rung);
            assert_eq!(check["outcome"], "failed", "{drill}: {check:#}");
            let said = check["findings"].to_string();
            assert!(
                said.contains(".lance/") && said.contains("chunk "),
                "{drill}: {check:#}"
            );
        }
        // Files are no tables: a tally counts what the manifest names.
        let tables = unpacked.facts.tables.len();
        let figure = check("tables")["figure"].as_str().unwrap();
        assert!(
            figure.contains(&format!("of {tables} tables")),
            "{drill}: {figure}"
        );
    }
}

/// The first folder of an object's name, which says what it is.
fn kind(object: &Path) -> String {
    object
        .iter()
        .next()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
