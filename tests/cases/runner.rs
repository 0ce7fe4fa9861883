//! The runner checks itself.

/// A file in this folder that `main.rs` does not name would never run.
#[test]
fn no_file_is_forgotten() {
    let folder = dr_tests::checkout().join("tests").join("cases");
    let main = std::fs::read_to_string(folder.join("main.rs")).unwrap();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if name != "main" {
            assert!(
                main.contains(&format!("mod {name};\n")),
                "main.rs does not name {}",
                path.display()
            );
        }
    }
}
