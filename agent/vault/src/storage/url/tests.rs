use super::*;

fn s3(bucket: &str, prefix: &str) -> Place {
    Place::S3 {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
    }
}

fn refusal(url: &str) -> String {
    Place::parse(url).unwrap_err().to_string()
}

#[test]
fn urls_that_name_a_place() {
    let places = [
        ("s3://acme-dr/hosts/db-1", s3("acme-dr", "hosts/db-1")),
        ("s3://acme-dr", s3("acme-dr", "")),
        ("s3://acme-dr/hosts/db-1/", s3("acme-dr", "hosts/db-1")),
        ("S3://acme.dr_2", s3("acme.dr_2", "")),
        ("file:///srv/backup", Place::Local("/srv/backup".into())),
        ("file:///srv/my%20backup", Place::Local("/srv/my backup".into())),
        ("file:///srv/my backup", Place::Local("/srv/my backup".into())),
        ("memory:", Place::Memory),
    ];
    for (url, place) in places {
        assert_eq!(Place::parse(url).unwrap(), place, "{url}");
    }
}

#[test]
fn urls_that_do_not_say_what_to_write_instead() {
    let refusals = [
        ("/srv/backup", "write file:///srv/backup"),
        ("backup", "no scheme"),
        ("file://backup/here", "three slashes"),
        ("file:///", "root of the file system"),
        ("file:///srv/../etc", "'..'"),
        ("file:///srv/a?b", "%3F"),
        ("s3:acme", "write s3://bucket/prefix"),
        ("s3:///prefix", "bucket name is empty"),
        ("s3://acme dr/prefix", "other characters"),
        ("s3://acme/a//b", "empty, '.' or '..'"),
        ("s3://acme/../b", "empty, '.' or '..'"),
        ("s3://acme/b?region=eu-west-1", "s3 options"),
        ("gs://acme/b", "no Google Cloud Storage backend"),
        ("az://acme/b", "no Azure Blob Storage backend"),
        ("https://s3.example.net/acme", "the option s3 endpoint"),
        ("ftp://acme/b", "no scheme of ours"),
        ("memory://x", "nothing behind the colon"),
    ];
    for (url, wanted) in refusals {
        let refusal = refusal(url);
        assert!(
            refusal.contains(wanted) && refusal.contains(url),
            "{url}: {refusal}"
        );
    }
}

#[test]
fn credentials_in_a_url_are_refused_and_not_repeated() {
    for url in ["s3://AKIA:wJalr@acme/prefix", "s3://AKIA:wJa/lr@acme/prefix"] {
        let refusal = refusal(url);
        assert!(refusal.contains("s3://...@acme/prefix"), "{refusal}");
        assert!(!refusal.contains("wJa") && !refusal.contains("AKIA"), "{refusal}");
    }
    assert!(refusal("s3://AKIA:wJalr@acme").contains("credentials"));
}

#[tokio::test]
async fn opens_each_kind() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = StorageOptions::default();
    options.s3.region = Some("eu-west-1".to_owned());
    let file = format!("file://{}", dir.path().display());
    for url in ["memory:", "s3://acme/hosts/db-1", file.as_str()] {
        assert_eq!(open(url, &options).await.unwrap().location(), url);
    }
}

#[tokio::test]
async fn a_bad_endpoint_is_named() {
    let mut options = StorageOptions::default();
    for (endpoint, wanted) in [
        ("minio:9000", "http"),
        ("https://key:secret@minio", "credentials"),
    ] {
        options.s3.endpoint = Some(endpoint.to_owned());
        let error = open("s3://acme/b", &options).await.unwrap_err().to_string();
        assert!(error.contains(wanted) && !error.contains("secret@"), "{error}");
    }
}
