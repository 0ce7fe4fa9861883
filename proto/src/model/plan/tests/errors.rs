use super::{Plan, with};

/// Each problem as `line key: reason (hint)`.
fn problems(text: &str) -> Vec<String> {
    let errors = Plan::parse(text).expect_err("the plan is wrong");
    let show = |problem: &crate::model::document::Problem| {
        let hint = problem.hint.as_deref().unwrap_or("-");
        format!(
            "{} {}: {} ({hint})",
            problem.line.unwrap_or(0),
            problem.key,
            problem.reason
        )
    };
    errors.problems().iter().map(show).collect()
}

#[test]
fn all_errors_come_at_once_with_line_key_reason_and_remedy() {
    let text = r#"schema = 1
name = "a b"
owners = "x"
[select]
labels = "env=prod,"
[schedule]
cron = "0 3 * *"
timezone = "Europe/Berlni"
jitter = "2"
missed = "run_once"
[drill]
kind = "restor"
loss = "burnt"
[limits]
retries = 99
deadline = "400d"
[waves]
sizes = ["5 %", "1 %"]
"#;
    let found = problems(text).join("\n");
    for expected in [
        "2 name: `a b` is not a plan's name",
        "3 owners: unknown key `owners` (did you mean `owner`?)",
        "5 select.labels: the selector `env=prod,` makes no sense at character 10: a label's key",
        "7 schedule.cron: `0 3 * *` is not a cron pattern of five fields",
        "8 schedule.timezone: `Europe/Berlni` is not a time zone",
        "9 schedule.jitter: `2` is not a duration such as `30s`",
        "10 schedule.missed: unknown value `run_once` (did you mean `run-once`?)",
        "12 drill.kind: unknown value `restor` (did you mean `restore`?)",
        "13 drill.loss: unknown value `burnt` (known values here: moved, deleted, truncated, corrupted)",
        "15 limits.retries: `99` is not from 0 to 10",
        "16 limits.deadline: 400d is not from 1s to 7d",
        "18 waves.sizes: the last wave leaves hosts out",
        "18 waves.sizes: a wave is not larger than the one before",
    ] {
        assert!(found.contains(expected), "{expected}\nis not in\n{found}");
    }
    assert_eq!(found.lines().count(), 13, "{found}");
}

fn expect(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let found = problems(text).join("\n");
        assert!(
            found.contains(expected),
            "{expected}\nis not in\n{found}\nfor\n{text}"
        );
    }
}

#[test]
fn what_is_missing_or_of_the_wrong_kind_is_said() {
    expect(&[
        ("", "0 schema: the key `schema` is missing"),
        (
            "schema = 2\nname = \"a\"\ndrill = { kind = \"verify\" }",
            "this version reads schema 1, not 2",
        ),
        ("schema = 1\nname = \"a\"", "the table `drill` is missing"),
        (
            "schema = 1\nname = \"a\"\n[drill]\n",
            "drill.kind: the key `kind` is missing",
        ),
        (
            "schema = 1\nname = \"a\"\ndrill = \"verify\"",
            "drill: a table is expected, not a text",
        ),
        (
            "schema = 1\nname = 3\ndrill = { kind = \"verify\" }",
            "name: a text in quotes is expected, not a number",
        ),
        (
            "schema = \"1\"\nname = \"a\"\ndrill = { kind = \"verify\" }",
            "a whole number is expected, not a text",
        ),
    ]);
}

#[test]
fn what_cannot_be_or_cannot_stand_together_is_said() {
    expect(&[
        (
            &with("schedule = { jitter = \"1h\" }"),
            "`jitter` means nothing without a slot",
        ),
        (
            &with("schedule = { after = \"b\", missed = \"skip\" }"),
            "`missed` means nothing without `cron`",
        ),
        (
            &with("schedule = { after = \"a\" }"),
            "a plan cannot come after itself",
        ),
        (
            &with("schedule = { after = \"b c\" }"),
            "`b c` is not a plan's name",
        ),
        (
            &with("schedule = { cron = \"0 3 * * *\", jitter = \"2h\", window = \"2h\" }"),
            "the window closes before the last",
        ),
        (&with("schedule = { cron = \"0 3 30 2 *\" }"), "never due"),
        (
            &with("select = { sources = [\"memory\"] }"),
            "a drill rehearses whole snapshots",
        ),
        (&with("select = { sources = [] }"), "the list names no source"),
        (
            &with("select = { sources = [1] }"),
            "select.sources[0]: a text in quotes is expected",
        ),
        (
            &with("exclude = [ { host = \"db-1\" } ]"),
            "exclude[0].reason: the key `reason` is missing",
        ),
        (
            &with("exclude = [ { host = \"db-1\", reason = \"x\", until = \"31.12.2026\" } ]"),
            "exclude[0].until: `31.12.2026` is not a day",
        ),
        (
            &with("checks = { application = [\"rm -rf /\"] }"),
            "checks.application[0]: `rm -rf /` is not the name of a hook",
        ),
        (
            &with("checks = { queries = { recall_tolerance = 2 } }"),
            "the number is not from 0 to 1",
        ),
        (
            &with("checks = { content = { cycle = \"1s\" } }"),
            "checks.content.cycle: 1s is not from 1h to 400d",
        ),
        (
            &with("checks = { bytes = { cycle = \"30d\" } }"),
            "checks.bytes.cycle: `cycle` means nothing without `budget`",
        ),
        (
            &with("drill = { kind = \"verify\", loss = \"moved\" }").replacen(
                "drill = { kind = \"verify\" }",
                "",
                1,
            ),
            "drill.loss: `loss` is part of restore drills",
        ),
        (&with("waves = { coverage = \"95\" }"), "waves.coverage"),
        (&with("runbook = \"page 7\""), "is not the address of a page"),
        (
            "schema = 1\nname = \"a\"\ndrill = { kind = \"failover\" }",
            "drill.confirm: a failover drill stops the application",
        ),
        (
            "schema = 1\nname = \"a\"\ndrill = { kind = \"failover\", confirm = \"b\" }",
            "set confirm to the plan's name",
        ),
        (
            "schema = 1\nname = \"a\"\ndrill = { kind = \"snapshot\", on = \"role=x\", snapshot = \"latest\" }",
            "`on` is part of drills",
        ),
        (
            "schema = 1\nname = \"a\"\ndrill = { kind = \"snapshot\" }\n[checks]\n",
            "4 checks: checks are part of drills",
        ),
        (
            "schema = 1\nname = \"a\"\ndrill = { kind = \"verify\", reread = true }",
            "`reread` is part of snapshots",
        ),
        (
            "schema = 1\nname = \"a\"\ndrill = { kind = \"verify\", snapshot = \"new\" }",
            "names no snapshot",
        ),
        ("schema = 1\nschema = 1\n", "duplicate key"),
        ("schema = [", "1 "),
    ]);
    let long = "#".repeat(70_000);
    assert!(problems(&long)[0].contains("65536 are the most"));
}

#[test]
fn a_hopeless_text_gets_an_answer_that_fits() {
    let long = "k".repeat(2_000);
    let text: String = (0..30).map(|n| format!("{long}{n} = 1\n")).collect();
    let errors = Plan::parse(&text).unwrap_err();
    assert_eq!(errors.problems().len(), super::PlanErrors::MOST);
    // 30 unknown keys; schema, name and drill are missing.
    assert_eq!(errors.more(), 13);
    let shown = errors.to_string();
    assert!(shown.ends_with("and 13 more"), "{shown}");
    assert!(shown.len() < 12_000, "{}", shown.len());
}

#[test]
fn a_text_that_would_act_on_a_terminal_is_refused() {
    for reason in [r"done\u001b[2JPASSED", r"x\nrun 0192: passed"] {
        let exclude = format!("exclude = [ {{ host = \"db-1\", reason = \"{reason}\" }} ]\n");
        let text = format!("schema = 1\nname = \"a\"\n{exclude}[drill]\nkind = \"verify\"\n");
        let found = problems(&text).join("\n");
        assert!(
            found.contains("3 exclude") && found.contains("control character"),
            "{found}"
        );
    }
}
