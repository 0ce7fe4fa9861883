//! Databases and logs that lie on a host and that nothing protects.

use dr_tests::fixtures;
use dr_tests::fleet::{Agent, DEADLINE, Fleet};
use dr_tests::host::Host;
use dr_tests::prometheus::Page;
use dr_tests::wait::until_beside;
use serde_json::Value;

use crate::fleet_trouble::connected;

const NOT_BUILT: &str = "dr-coordinator, drctl or dr-agent is not built";
const PLAN: &str =
    "schema = 1\nname = \"nightly\"\n[schedule]\ncron = \"0 3 1 1 *\"\n[drill]\nkind = \"snapshot\"\n";

/// Host and path of what a list of sources names.
fn listed(list: &Value) -> Vec<(String, bool)> {
    let entries = list["sources"].as_array().expect("a list of sources");
    let entry = |entry: &Value| {
        let path = entry["source"]["path"].as_str().expect("a path").to_owned();
        (path, entry["source"]["configured"].as_bool().expect("said"))
    };
    entries.iter().map(entry).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nothing_protects_is_listed_and_counted() {
    let case = "what_nothing_protects_is_listed_and_counted";
    let Some(fleet) = Fleet::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let Some(host) = Host::new() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let data = fixtures::small().last().expect("a fixture").unpack();
    // Its audit log is configured; the database beside it is not, and one source is configured and gone.
    let gone = host.path().join("gone");
    let host = host
        .with_name("db-1")
        .with_log("audit", &data.log())
        .with_database("memory", &gone);
    let host = fleet.enrol(host, &[]);
    let text = host.configuration().replace(
        "[agent]\n",
        &format!("[agent]\ndiscover = [{:?}]\n", data.database().parent().unwrap()),
    );
    std::fs::write(host.config(), text).unwrap();
    let _agent = Agent::start(&host);
    connected(&fleet, 1).await;
    let database = data.database().canonicalize().unwrap().display().to_string();
    let uncovered = ["source", "list", "--uncovered"];
    let found = |list: &Value| listed(list).contains(&(database.clone(), false));
    let all = fleet.until(&uncovered, found).await;
    assert_eq!(
        listed(&all).len(),
        3,
        "without a plan nothing is covered: {all:#}"
    );
    let file = fleet.path().join("nightly.toml");
    std::fs::write(&file, PLAN).unwrap();
    let _applied = fleet
        .drctl(&["plan", "apply", &file.display().to_string()])
        .expect_code(0);
    let left = fleet.ask(&uncovered);
    assert_eq!(
        listed(&left),
        [(database.clone(), false)],
        "a plan covers what is configured"
    );
    // The same in figures; they are derived every few seconds.
    let wanted = [
        ("protected", 1.0),
        ("uncovered", 1.0),
        ("excluded", 0.0),
        ("missing", 1.0),
    ];
    until_beside(DEADLINE, || {
        let page = Page::scrape(fleet.metrics());
        let value = |state: &str| {
            let samples = page.samples("dr_sources").iter();
            let of_state = |sample: &&dr_tests::prometheus::Sample| {
                sample.labels.get("state").is_some_and(|label| label == state)
            };
            samples.filter(of_state).map(|sample| sample.value).sum::<f64>()
        };
        let counted = wanted.map(|(state, _)| (state, value(state)));
        if counted == wanted {
            Ok(())
        } else {
            Err(format!("sources are counted as {counted:?}"))
        }
    })
    .await;
}
