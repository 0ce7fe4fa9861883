//! Hooks that ask a restored copy, given to a drill on one host.

use std::os::unix::fs::PermissionsExt;

use dr_tests::fixtures;
use dr_tests::host::Host;

#[test]
fn a_drill_by_hand_asks_the_applications_own_hook() {
    let case = "a_drill_by_hand_asks_the_applications_own_hook";
    let (Some(host), Some(fixture)) = (Host::new(), fixtures::small().pop()) else {
        return dr_tests::skip(case, "no agent or no fixture");
    };
    let unpacked = fixture.unpack();
    let script = host.path().join("smoke.sh");
    let text = "#!/bin/sh\n\
                test \"$1\" = \"$DR_DRILL_RESTORED/audit\" || { echo \"$1 is not below $DR_DRILL_RESTORED\" >&2; exit 1; }\n\
                test -s \"$1/audit.log\" && test -n \"$DR_DRILL_SNAPSHOT\" && test \"$DR_DRILL_HOST\" = host-1\n";
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let hooks = format!(
        "\n[hook]\nsmoke = {{ command = [{:?}, \"{{restored.audit}}\"] }}\nwrong = {{ command = [\"/bin/false\"] }}\n",
        script.display().to_string()
    );
    let host = host.with_log("audit", &unpacked.log()).with_lines(&hooks);
    host.set_up();
    let _snapshot = host.snapshot();
    let report = host
        .run(&["drill", "--hook", "smoke", "--output", "json"])
        .expect_code(0)
        .json();
    let checks = report["sources"][0]["checks"].as_array().unwrap();
    let application = checks
        .iter()
        .find(|check| check["rung"] == "application")
        .unwrap();
    assert_eq!(application["figure"], "smoke", "{report:#}");
    let red = host
        .run(&["drill", "--hook", "smoke", "--hook", "wrong"])
        .expect_code(1);
    red.expect_said(&["application", "/bin/false"]);
    let unknown = host.run(&["drill", "--hook", "smok"]).expect_code(66);
    unknown.expect_said(&["no hook is called `smok`", "smoke"]);
    let nothing = host
        .run(&["drill", "--kind", "verify", "--hook", "smoke"])
        .expect_code(64);
    nothing.expect_said(&["restores nothing"]);
}
