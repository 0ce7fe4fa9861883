//! Bad configuration and bad surroundings: one message with key, value and what to do, the right exit code, nothing
//! half-made.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use dr_tests::files;
use dr_tests::fixtures::{self, Unpacked};
use dr_tests::host::Host;
use dr_tests::mount::Mount;
use dr_tests::port::Port;
use dr_tests::s3_server::{Behaviour, S3Server};

const NOT_BUILT: &str = "dr-agent is not built";

/// What is wrong in the file, what the agent must say.
struct Mistake {
    replace: &'static str,
    with: &'static str,
    code: i32,
    says: &'static [&'static str],
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        replace: "host = \"host-1\"",
        with: "hots = \"host-1\"",
        code: 78,
        says: &["hots", "host"],
    },
    Mistake {
        replace: "[repository]\n",
        with: "[repositori]\n",
        code: 78,
        says: &["repositori", "repository"],
    },
    Mistake {
        replace: "kind = \"lancedb\"",
        with: "kind = \"lance\"",
        code: 78,
        says: &["kind", "lance", "lancedb"],
    },
    Mistake {
        replace: "[repository]\n",
        with: "[limits]\nmemory = \"300 bananas\"\n[repository]\n",
        code: 78,
        says: &["memory", "300 bananas", "MiB"],
    },
    Mistake {
        replace: "[repository]\n",
        with: "[limits.pins]\nmax_age = \"2 parsecs\"\n[repository]\n",
        code: 78,
        says: &["max_age", "2 parsecs"],
    },
    Mistake {
        replace: "file:///",
        with: "ftp:///",
        code: 78,
        says: &["ftp", "s3://"],
    },
    Mistake {
        replace: "file:///",
        with: "/",
        code: 78,
        says: &["url", "file://"],
    },
    Mistake {
        replace: "[agent]\n",
        with: "[agent\n",
        code: 78,
        says: &["agent.toml"],
    },
];

#[test]
fn a_mistake_in_the_configuration_is_named_with_its_place() {
    let case = "a_mistake_in_the_configuration_is_named_with_its_place";
    for mistake in MISTAKES {
        let Some((host, _unpacked)) = protected() else {
            return dr_tests::skip(case, NOT_BUILT);
        };
        let right = host.configuration();
        let wrong = right.replacen(mistake.replace, mistake.with, 1);
        assert_ne!(right, wrong, "{} is in the configuration", mistake.replace);
        std::fs::write(host.config(), wrong).unwrap();
        let before = files::hashes(host.path());
        let refused = host.run(&["snapshot"]);
        assert_eq!(refused.code(), mistake.code, "{}\n{refused:?}", mistake.with);
        refused.expect_said(mistake.says);
        assert_eq!(
            files::hashes(host.path()),
            before,
            "{}: nothing is made",
            mistake.with
        );
    }
}

#[test]
fn a_source_that_is_missing_is_named() {
    let case = "a_source_that_is_missing_is_named";
    let Some((host, unpacked)) = protected() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    host.set_up();
    std::fs::rename(unpacked.database(), unpacked.root().join("moved")).unwrap();
    let refused = host.run(&["snapshot"]);
    assert!([3, 66].contains(&refused.code()), "{refused:?}");
    refused.expect_said(&["memory", "rocketship-db"]);
}

#[test]
fn a_repository_that_is_missing_is_named_with_the_way_to_make_it() {
    let case = "a_repository_that_is_missing_is_named_with_the_way_to_make_it";
    let Some((host, _unpacked)) = protected() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    host.configure();
    let refused = host.run(&["snapshot"]);
    assert!([66, 77, 78].contains(&refused.code()), "{refused:?}");
    refused.expect_said(&["init"]);
    assert!(
        !host.repository_dir().join("packs").exists(),
        "nothing is half-made"
    );
}

#[test]
fn a_restore_over_something_is_refused() {
    let case = "a_restore_over_something_is_refused";
    let Some((host, _unpacked)) = protected() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    host.set_up();
    let _snapshot = host.snapshot();
    let target = host.path().join("occupied");
    std::fs::create_dir_all(target.join("memory")).unwrap();
    std::fs::write(target.join("memory").join("mine"), "precious").unwrap();
    let text = target.display().to_string();
    let refused = host
        .run(&["restore", "--source", "memory", "--to", &text])
        .expect_code(73);
    refused.expect_said(&[&text]);
    assert_eq!(
        files::files(&target),
        [Path::new("memory/mine")],
        "what was there is untouched"
    );
}

#[test]
fn a_full_disk_is_named_and_nothing_stays_behind() {
    let case = "a_full_disk_is_named_and_nothing_stays_behind";
    let Some((host, _unpacked)) = protected() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    host.set_up();
    let _snapshot = host.snapshot();
    let Some(small) = Mount::memory(&host.path().join("small-disk"), "1m") else {
        // Only root can mount; CI runs as root.
        return dr_tests::skip(case, "a small file system can not be mounted here");
    };
    let target = small.path().display().to_string();
    let refused = host
        .run(&["restore", "--source", "memory", "--to", &target])
        .expect_code(73);
    refused.expect_said(&["space"]);
    assert_eq!(
        files::files(small.path()),
        Vec::<std::path::PathBuf>::new(),
        "nothing is left on it"
    );
}

#[test]
fn an_ill_store_is_named_with_its_endpoint() {
    let case = "an_ill_store_is_named_with_its_endpoint";
    let server = S3Server::with_bucket("bucket").unwrap();
    let Some((host, _unpacked)) = protected() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let mut host = host.with_repository("s3://bucket/host-1");
    for (name, value) in server.environment() {
        host = host.with_environment(name, &value);
    }
    host.set_up();
    let _snapshot = host.snapshot();
    let ill = [
        (Behaviour::Expired, 77, "expired"),
        (Behaviour::Forbid, 77, "AccessDenied"),
        (Behaviour::Full, 73, "space"),
    ];
    for (behaviour, code, word) in ill {
        server.behave(behaviour);
        let refused = host.run(&["snapshot"]);
        assert_eq!(refused.code(), code, "{behaviour:?}\n{refused:?}");
        assert!(
            refused.said().to_lowercase().contains(&word.to_lowercase()),
            "{behaviour:?}: {word}\n{refused:?}"
        );
        server.behave(Behaviour::Normal);
    }
    server.delay(Duration::from_millis(40));
    let _slow_but_well = host.snapshot();
    let nobody = Port::hold();
    let host = host.with_environment("AWS_ENDPOINT_URL", &format!("http://{}", nobody.address()));
    let refused = host.run(&["snapshots", "list"]).expect_code(69);
    refused.expect_said(&[&nobody.address().to_string()]);
}

#[test]
fn a_usage_mistake_ends_with_64() {
    let case = "a_usage_mistake_ends_with_64";
    let Some((host, _unpacked)) = protected() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    for arguments in [
        &["snapshott"][..],
        &["drill", "--kind", "nonsense"],
        &["--no-such-flag"],
    ] {
        let _refused = host.finish(&mut host.bare_command(arguments)).expect_code(64);
    }
}

#[test]
fn an_unreadable_key_file_is_named() {
    let case = "an_unreadable_key_file_is_named";
    let Some((host, _unpacked)) = protected() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    host.set_up();
    std::fs::set_permissions(host.key_file(), std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(host.key_file(), "not a key\n").unwrap();
    let refused = host.run(&["snapshot"]);
    assert!([77, 78].contains(&refused.code()), "{refused:?}");
    refused.expect_said(&["host.key"]);
}

fn protected() -> Option<(Host, Unpacked)> {
    let host = Host::new()?;
    let unpacked = fixtures::small().last()?.unpack();
    let host = host.with_database("memory", &unpacked.database());
    Some((host, unpacked))
}
