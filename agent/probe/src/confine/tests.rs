//! A confined process can not be let free again, so each test starts itself anew and looks from within.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use super::*;

/// Set for the process that confines itself: what the test that started it hands over.
const INSIDE: &str = "DR_PROBE_TEST_CONFINED";

/// Starts the test `name` once more in a process of its own.
fn again(name: &str, handed_over: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("confine::tests::{name}"), "--nocapture"])
        .env(INSIDE, handed_over)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Confines this process; false, with a word, where the kernel offers too little for the test.
fn confined(location: Location, temporary: Option<&Path>) -> bool {
    let job = Job {
        write_test: temporary.is_some(),
        ..Job::open(location)
    };
    let confinement = confine(&job, temporary);
    let whole = confinement.files && confinement.calls;
    if !whole {
        assert!(!confinement.missing.is_empty(), "what is missing is told");
        eprintln!("skipped: {}", confinement.missing.join("; "));
        assert!(std::env::var_os("CI").is_none(), "CI has a kernel with both");
    }
    whole
}

fn denied<T>(answer: std::io::Result<T>) -> bool {
    answer.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

#[test]
fn a_probe_of_a_tree_reaches_nothing_but_its_socket() {
    let Ok(address) = std::env::var(INSIDE) else {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        return again(
            "a_probe_of_a_tree_reaches_nothing_but_its_socket",
            &address.to_string(),
        );
    };
    assert!(TcpStream::connect(&address).is_ok() && Command::new("/bin/true").status().is_ok());
    if !confined(Location::Tree { origin: None }, None) {
        return;
    }
    // In a thread that is started afterwards, as all that decode are.
    let within = std::thread::spawn(move || {
        assert!(denied(std::fs::read("/etc/passwd")));
        assert!(denied(std::fs::read_dir("/")));
        assert!(denied(std::fs::write(std::env::temp_dir().join("left"), b"x")));
        assert!(denied(TcpStream::connect(&address)));
        assert!(denied(std::os::unix::net::UnixDatagram::unbound()));
        assert!(denied(Command::new("/bin/true").status()));
        assert!(std::fs::read_to_string("/proc/self/status").is_ok());
        assert!(std::os::unix::net::UnixStream::pair().is_ok());
    });
    within.join().unwrap();
}

#[test]
fn a_probe_of_a_folder_reads_no_other_and_writes_only_for_a_write_test() {
    let Ok(handed_over) = std::env::var(INSIDE) else {
        for task in ["read", "write"] {
            let root = tempfile::tempdir().unwrap();
            for folder in ["database", "other"] {
                std::fs::create_dir(root.path().join(folder)).unwrap();
                std::fs::write(root.path().join(folder).join("file"), b"data").unwrap();
            }
            let name = "a_probe_of_a_folder_reads_no_other_and_writes_only_for_a_write_test";
            again(name, &format!("{task} {}", root.path().display()));
        }
        return;
    };
    let (task, root) = handed_over.split_once(' ').unwrap();
    let (root, writes) = (Path::new(root), task == "write");
    let database = root.join("database");
    let location = Location::Directory {
        path: database.clone(),
    };
    if !confined(location, writes.then(|| root.join("temporary")).as_deref()) {
        return;
    }
    assert_eq!(std::fs::read(database.join("file")).unwrap(), b"data");
    let written = std::fs::write(database.join("new"), b"x");
    assert_eq!(written.is_ok(), writes, "{written:?}");
    assert!(denied(std::fs::read(root.join("other/file"))));
    assert!(denied(std::fs::write(root.join("other/new"), b"x")));
}
