//! Databases of unusual shapes as LanceDB itself makes and reads them: branches, clones, child namespaces, the
//! log-structured tier.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::patch;

/// The Python with stock lancedb that `cargo xtask test` installs.
pub(super) fn python() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(home)?;
    let program =
        std::env::var_os("DR_PYTHON").map_or_else(|| cache.join("drctl/python/bin/python"), PathBuf::from);
    program.is_file().then_some(program)
}

const MAKE: &str = r#"
import lancedb, pyarrow as pa, sys
db = lancedb.connect(sys.argv[1])
rows = lambda a, b: pa.table({"id": pa.array(range(a, b), pa.int64()), "text": pa.array([f"t{i}" for i in range(a, b)])})
docs = db.create_table("docs", rows(0, 100))
docs.add(rows(100, 200))
dev = docs.branches.create("dev")
dev.add(rows(1000, 1010))
dev.create_scalar_index("id")
docs.delete("id < 10")
docs.branches.create("feature/x").add(rows(2000, 2005))
db.clone_table("cloned", docs.uri).add(rows(5000, 5003))
db.create_namespace(["ns1"])
db.create_table("child", rows(0, 7), namespace_path=["ns1"])
keyed = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("text", pa.string())])
rows_of = rows
rows = lambda a, b: rows_of(a, b).cast(keyed)
hot = db.create_table("hot", rows(0, 20), schema=keyed)
try:
    hot.set_unenforced_primary_key("id")
    hot.set_lsm_write_spec(lancedb.LsmWriteSpec.unsharded().with_maintained_indexes([]))
    for i in range(5):
        hot.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows(15 + i * 10, 30 + i * 10))
    hot.close_lsm_writers()
except Exception as error:
    print("no LSM tier:", error, file=sys.stderr)
"#;

const READ: &str = r#"
import json, lancedb, sys
db = lancedb.connect(sys.argv[1])
ids = lambda t: sorted(t.to_arrow()["id"].to_pylist())
docs = db.open_table("docs")
found = {name: ids(db.open_table(name)) for name in ("docs", "cloned", "hot")}
for branch in ("dev", "feature/x"):
    found[branch] = ids(docs.branches.checkout(branch))
found["child"] = ids(db.open_table("child", namespace_path=["ns1"]))
found["indexed"] = ids(docs.branches.checkout("dev").search().where("id = 1003"))
print(json.dumps(found))
"#;

fn run(python: &Path, script: &str, database: &Path) -> String {
    let output = Command::new(python)
        .args(["-W", "ignore", "-c", script])
        .arg(database)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn unusual_shapes_are_read_elsewhere_by_lancedb() {
    let Some(python) = python() else {
        return crate::fixtures::skip("unusual shapes", "there is no Python with lancedb: set DR_PYTHON");
    };
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("live");
    run(&python, MAKE, &live);
    let collected = collect(&live, &descriptors(History::Tagged)).unwrap();
    assert_eq!(
        (collected.damage.as_slice(), collected.external_bases.as_slice()),
        (&[][..], &[][..])
    );
    assert!(
        collected.tables.iter().all(|table| table.mode == Mode::Exact),
        "{:#?}",
        collected.tables
    );
    let names: Vec<_> = collected
        .tables
        .iter()
        .map(|table| (table.name.as_str(), table.branch.as_deref()))
        .collect();
    for expected in [
        ("docs", None),
        ("docs", Some("dev")),
        ("docs", Some("feature/x")),
        ("ns1$child", None),
        ("__manifest", None),
    ] {
        assert!(names.contains(&expected), "{names:?}");
    }
    let check = crate::check::quick(&live, &crate::check::CheckOptions::default()).unwrap();
    assert!(check.is_healthy(), "{check:#?}");

    let hot = collected
        .entries
        .iter()
        .filter(|entry| entry.path.starts_with("hot.lance/_mem_wal/"))
        .count();
    eprintln!("{hot} files of the log-structured tier");

    let before = run(&python, READ, &live);
    let restored = folder.path().join("restored at a longer path");
    fs::create_dir(&restored).unwrap();
    write_out(&collected, &restored);
    // Nothing may be read from the old place.
    fs::rename(&live, folder.path().join("away")).unwrap();
    let patched = patch::tree(&restored, &live, &restored).unwrap();
    assert!(patched.manifests.len() >= 3, "{patched:?}");
    assert_eq!(run(&python, READ, &restored), before);
}
