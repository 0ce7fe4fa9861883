//! Databases that other versions of LanceDB wrote.

use dr_tests::fixtures;

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
