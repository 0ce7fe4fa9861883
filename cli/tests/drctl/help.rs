//! Help texts, and what the command line itself refuses.

use crate::machine::Machine;

/// All commands, found in the help texts themselves.
async fn commands(machine: &Machine, path: Vec<String>, all: &mut Vec<(Vec<String>, String)>) {
    let mut open = vec![path];
    while let Some(path) = open.pop() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = machine.run_bare(&arguments).await.ends(0).out;
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let names = listed
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
            .filter(|name| !name.is_empty());
        let below: Vec<Vec<String>> = names
            .map(|name| [&path[..], &[name.to_owned()]].concat())
            .collect();
        open.extend(below.into_iter().rev());
        all.push((path, help));
    }
}

/// A help text without the options that every command has; what follows them is the command's own.
fn own(help: &str) -> String {
    let (before, after) = help.split_once("\nGlobal options:\n").unwrap_or((help, ""));
    let after: Vec<&str> = after
        .lines()
        .skip_while(|line| line.is_empty() || line.starts_with(' '))
        .collect();
    format!("{before}\n{}", after.join("\n"))
}

#[tokio::test]
async fn every_help_text_is_as_it_was_agreed() {
    let machine = Machine::new().await;
    let mut all = Vec::new();
    commands(&machine, Vec::new(), &mut all).await;
    assert!(all.len() > 50, "{}", all.len());
    let mut texts = String::new();
    for (path, help) in all {
        let own = if path.is_empty() { help } else { own(&help) };
        texts.push_str(&format!("===== drctl {}\n{}\n", path.join(" "), own.trim_end()));
    }
    insta::assert_snapshot!("help", texts);
}

#[tokio::test]
async fn command_lines_that_make_no_sense_end_with_64() {
    let machine = Machine::new().await;
    for arguments in [
        &[][..],
        &["frobnicate"][..],
        &["status", "--timeout", "0s"][..],
        &["status", "--timeout", "5"][..],
        &["drill", "start"][..],
        &["drill", "start", "--host", "a", "--select", "*"][..],
        &["drill", "start", "--host", "a/b"][..],
        &["drill", "start", "--select", "env=("][..],
        &["drill", "start", "--host", "a", "--kind", "pretend"][..],
        &["drill", "start", "--host", "a", "--kind", "failover"][..],
        &[
            "drill",
            "start",
            "--host",
            "a",
            "--kind",
            "failover",
            "--confirm",
            "b",
        ][..],
        &["run", "start", "weekly", "--junit", "x.xml"][..],
        &["restore", "start", "--from", "a", "--to", "relative/folder"][..],
        &["agent", "revoke", "db-1"][..],
        &["suspend"][..],
        &["agent", "token", "--label", "tier=gold", "--label", "tier=silver"][..],
    ] {
        machine.run(arguments).await.ends(64);
    }
    assert_eq!(
        machine.script.called(),
        Vec::<&str>::new(),
        "nothing was asked for"
    );
}

#[tokio::test]
async fn completion_and_version_need_no_coordinator() {
    let machine = Machine::new().await;
    for shell in ["bash", "zsh", "fish"] {
        machine
            .run_bare(&["completion", shell])
            .await
            .ends(0)
            .says("drctl");
    }
    machine
        .run_bare(&["version"])
        .await
        .ends(0)
        .says(env!("CARGO_PKG_VERSION"));
    let json = machine
        .run(&["version", "--coordinator", "--output", "json"])
        .await
        .ends(0)
        .json();
    assert_eq!(json["coordinator"], "0.1.0");
}
