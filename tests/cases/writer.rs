//! Cuts under an application that writes, compacts and cleans up at full speed, held against its own ledger.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dr_tests::files::{self, Stat};
use dr_tests::host::Host;
use dr_tests::oracle::{Cut, Python};
use dr_tests::volume;
use serde_json::json;

/// The proof that the product is for: whatever was acknowledged before a cut is in the copy of it, nothing is there
/// that was not written, and a cut that calls itself exact has a moment at which all of it was true together.
#[test]
fn every_cut_shows_the_ledger_up_to_it() {
    let case = "every_cut_shows_the_ledger_up_to_it";
    let Some(python) = Python::find() else {
        return dr_tests::skip(
            case,
            "there is no Python with lancedb; `cargo xtask test` installs one",
        );
    };
    let Some(host) = Host::new() else {
        return dr_tests::skip(case, "dr-agent is not built");
    };
    let writer = python.writer(&host.path().join("application"), volume::seed());
    let host = host
        .with_database("memory", &writer.database())
        .with_log("audit", &writer.log())
        // The writer removes its oldest segments; what a snapshot has seen must stay.
        .with_lines("keep_for = \"30d\"\n");
    host.set_up();
    let (mut exact, mut pins) = (0, BTreeMap::<String, u64>::new());
    let cuts = volume::of(12, 100);
    for number in 0..cuts {
        let before = write_once(&writer.database());
        let (after, _) = writer.now();
        let snapshot = host.snapshot();
        let (_, begun) = writer.now();
        untouched(&before, &write_once(&writer.database()));
        let cut = Cut {
            after,
            before: begun,
            exact: snapshot["exact"].as_bool().expect("it says whether it is exact"),
        };
        exact += usize::from(cut.exact);
        count_pins(&snapshot, &mut pins);
        let id = snapshot["id"].as_str().expect("it has an id");
        let (database, logs) = (host.restore(id, "memory"), host.restore(id, "audit"));
        let verdict = python.judge(&database, &logs, &writer, &cut);
        assert_eq!(
            verdict.code(),
            0,
            "cut {number} of {cuts}, {cut:?}\n{snapshot:#}\n{verdict:?}"
        );
        std::fs::remove_dir_all(host.path().join("restored")).unwrap();
    }
    let operations = writer.now().0;
    let _said = writer.stop().expect_code(0);
    assert!(!pins.is_empty(), "the reports name how files were held");
    volume::figure(
        case,
        &json!({ "cuts": cuts, "exact": exact, "operations": operations, "pins": pins }),
    );
}

/// Files that LanceDB never changes once they are there; the writer may remove them, nobody may touch them.
fn write_once(database: &Path) -> BTreeMap<PathBuf, Stat> {
    let mut stats = files::stats(database);
    stats.retain(|path, _| path.extension().is_some_and(|extension| extension == "lance"));
    stats.retain(|path, _| path.components().any(|part| part.as_os_str() == "data"));
    stats
}

fn untouched(before: &BTreeMap<PathBuf, Stat>, after: &BTreeMap<PathBuf, Stat>) {
    for (path, stat) in before {
        // A table that was dropped and made again has other files.
        let same = after.get(path).filter(|now| now.identity == stat.identity);
        if let Some(now) = same {
            assert_eq!(now, stat, "{} was touched", path.display());
        }
    }
}

/// `{"sources": [{"pins": "descriptor 214, copy 3"}]}`
fn count_pins(snapshot: &serde_json::Value, pins: &mut BTreeMap<String, u64>) {
    for source in snapshot["sources"].as_array().expect("it lists its sources") {
        let text = source["pins"].as_str().expect("it says how files were held");
        for part in text.split(", ") {
            if let Some((kind, files)) = part.split_once(' ') {
                *pins.entry(kind.to_owned()).or_default() += files.parse::<u64>().unwrap_or(0);
            }
        }
    }
}
