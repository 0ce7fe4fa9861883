//! The live host's own disk: what can never change must still be what was captured.

use std::fs::{File, FileTimes};
use std::path::PathBuf;

use dr_tests::files;
use dr_tests::fixtures;
use dr_tests::host::Host;

const CASE: &str = "a_bit_that_rots_on_the_live_disk_is_named";

#[test]
fn a_bit_that_rots_on_the_live_disk_is_named() {
    let Some(host) = Host::new() else {
        return dr_tests::skip(CASE, "dr-agent is not built");
    };
    if dr_tests::binaries::probe().is_none() {
        return dr_tests::skip(CASE, "dr-probe is not built; `cargo xtask test` builds it");
    }
    let unpacked = fixtures::small().last().unwrap().unpack();
    let host = host.with_database("memory", &unpacked.database());
    host.set_up();
    let snapshot = host.snapshot();
    let _proved = host.run(&["drill", "--kind", "verify"]).expect_code(0);
    let check = ["check", "dr-integrity", "--output", "json"];
    let sound = host.run(&check).expect_code(0).json();
    assert_eq!(sound["verdict"], "passed", "{sound:#}");

    // A file that the snapshot holds: others may be what compaction left.
    let restored = host.restore(snapshot["id"].as_str().unwrap(), "memory");
    let file: PathBuf = files::files(&restored)
        .into_iter()
        .find(|path| path.to_string_lossy().contains("/data/"))
        .unwrap();
    let live = unpacked.database().join(&file);
    let times = std::fs::metadata(&live).unwrap();
    let mut bytes = std::fs::read(&live).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&live, &bytes).unwrap();
    // A disk that rots tells no time.
    let unchanged = FileTimes::new().set_modified(times.modified().unwrap());
    File::options()
        .write(true)
        .open(&live)
        .unwrap()
        .set_times(unchanged)
        .unwrap();
    let rotten = host.run(&check).expect_code(1).json();
    let said = rotten.to_string();
    assert!(
        said.contains(&*file.to_string_lossy()) && said.contains("rotted"),
        "{rotten:#}"
    );

    // The same file written anew by somebody is another file: nothing is known of it, and nothing is claimed.
    std::fs::remove_file(&live).unwrap();
    bytes[middle] ^= 0x10;
    std::fs::write(&live, &bytes).unwrap();
    let replaced = host.run(&check).expect_code(0).json();
    assert_eq!(replaced["verdict"], "passed", "{replaced:#}");
}
