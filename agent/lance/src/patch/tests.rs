use super::*;
use crate::fixtures::{archives, unpack};
use crate::manifest::{Manifest, testing::Draft};

fn draft(paths: &[&str]) -> Draft {
    let bases = paths
        .iter()
        .enumerate()
        .map(|(id, path)| (id as u32, (*path).to_owned(), true));
    Draft {
        version: 3,
        files: vec![("a.lance".into(), 5, Some(0))],
        bases: bases.collect(),
        ..Draft::default()
    }
}

#[test]
fn only_paths_inside_move() {
    let bytes = draft(&[
        "/srv/db/docs.lance",
        "/srv/db2/x.lance",
        "s3://bucket/srv/db",
        "file:///srv/db/y.lance",
        "/srv/db",
        "srv/db/r.lance",
        "db/r.lance",
        "x/db",
    ])
    .encode();
    let patched = base_paths(&bytes, Path::new("/srv/db/"), Path::new("/restore/a longer name"))
        .unwrap()
        .unwrap();
    let manifest = Manifest::decode(&patched).unwrap();
    let paths: Vec<_> = manifest
        .base_paths
        .iter()
        .map(|base| base.path.as_str())
        .collect();
    let expected = [
        "/restore/a longer name/docs.lance",
        "/srv/db2/x.lance",
        "s3://bucket/srv/db",
        "/restore/a longer name/y.lance",
        "/restore/a longer name",
        "/restore/a longer name/r.lance",
        "/restore/a longer name/r.lance",
        "x/db",
    ];
    assert_eq!(paths, expected);
    let mut before = Manifest::decode(&bytes).unwrap();
    before.base_paths.clone_from(&manifest.base_paths);
    assert_eq!(manifest, before);
    assert_eq!(
        base_paths(&patched, Path::new("/srv/db"), Path::new("/other")).unwrap(),
        None
    );
}

#[test]
fn unknown_fields_survive() {
    let mut bytes = draft(&["/srv/db"]).encode();
    // Field 1000, three bytes, appended to the message.
    let footer = bytes.split_off(bytes.len() - FOOTER);
    bytes.extend_from_slice(&[0xc2, 0x3e, 3, b'x', b'y', b'z']);
    let len = u32::try_from(bytes.len() - 4).unwrap();
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&footer);
    let patched = base_paths(&bytes, Path::new("/srv"), Path::new("/var/lib"))
        .unwrap()
        .unwrap();
    assert!(
        patched
            .windows(6)
            .any(|window| window == [0xc2, 0x3e, 3, b'x', b'y', b'z'])
    );
    assert_eq!(
        Manifest::decode(&patched).unwrap().base_paths[0].path,
        "/var/lib/db"
    );
}

#[test]
fn manifests_without_bases_stay() {
    for archive in archives() {
        let fixture = unpack(&archive);
        let patched = tree(&fixture.database, &fixture.database, Path::new("/elsewhere")).unwrap();
        assert!(
            patched.manifests.is_empty() && patched.undecodable.is_empty(),
            "{patched:?}"
        );
    }
}

#[test]
fn a_restored_branch_reads_its_own_base() {
    let folder = tempfile::tempdir().unwrap();
    let versions = folder.path().join("docs.lance/tree/dev/_versions");
    std::fs::create_dir_all(&versions).unwrap();
    std::fs::create_dir_all(folder.path().join("docs.lance/_versions")).unwrap();
    let path = versions.join("1.manifest");
    std::fs::write(&path, draft(&["/srv/db/docs.lance"]).encode()).unwrap();
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    let broken = folder.path().join("broken.lance/_versions");
    std::fs::create_dir_all(&broken).unwrap();
    std::fs::write(broken.join("1.manifest"), b"cut short").unwrap();
    let patched = tree(folder.path(), Path::new("/srv/db"), folder.path()).unwrap();
    assert_eq!(patched.manifests, ["docs.lance/tree/dev/_versions/1.manifest"]);
    let [(undecodable, _)] = patched.undecodable.as_slice() else {
        panic!("{patched:?}")
    };
    assert_eq!(undecodable, "broken.lance/_versions/1.manifest");
    assert_eq!(std::fs::read(broken.join("1.manifest")).unwrap(), b"cut short");
    let manifest = Manifest::decode(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(
        Path::new(&manifest.base_paths[0].path),
        folder.path().join("docs.lance")
    );
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), modified);
    let again = tree(folder.path(), Path::new("/srv/db"), folder.path()).unwrap();
    assert!(again.manifests.is_empty());
}
