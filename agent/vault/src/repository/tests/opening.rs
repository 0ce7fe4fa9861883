use secrecy::SecretString;

use super::*;

#[tokio::test]
async fn opens_what_it_made() {
    let bench = Bench::new();
    let made = bench.init().await;
    let opened = bench.try_open().await.unwrap();
    assert_eq!(opened.id(), made.id());
    assert_eq!(opened.chunker(), made.chunker());
    assert_ne!(opened.chunker().seed, 0);
    assert_eq!(opened.chunk_id(b"x"), made.chunk_id(b"x"));
}

#[tokio::test]
async fn passphrases_and_added_keys_open_it_too() {
    let bench = Bench::new();
    let passphrase = SecretString::from("correct horse".to_owned());
    let init = InitOptions {
        passphrase: Some(passphrase.clone()),
        ..InitOptions::default()
    };
    Repository::init(bench.store(), init, bench.options())
        .await
        .unwrap();
    let opened = Repository::open(bench.store(), &Unlock::Passphrase(passphrase), bench.options())
        .await
        .unwrap();
    assert!(matches!(bench.try_open().await, Err(Error::WrongKey { .. })));
    opened.add_key(&bench.identity.recipient()).await.unwrap();
    bench.try_open().await.unwrap();
    assert_eq!(opened.keys().await.unwrap().len(), 2);
}

#[tokio::test]
async fn without_encryption_everything_works_and_a_key_is_refused() {
    let bench = Bench::new();
    let init = InitOptions {
        cipher: Cipher::None,
        ..InitOptions::default()
    };
    let made = Repository::init(bench.store(), init, bench.options())
        .await
        .unwrap();
    let (_, ids) = snapshot(&made, vec![noise(1, 5000)]).await;
    let opened = Repository::open(bench.store(), &Unlock::Nothing, bench.options())
        .await
        .unwrap();
    assert_eq!(opened.read_chunk(&ids[0]).await.unwrap(), noise(1, 5000));
    let error = bench.try_open().await.unwrap_err().to_string();
    assert!(error.contains("not encrypted"), "{error}");
}

#[tokio::test]
async fn refusals_name_thing_reason_and_what_to_do() {
    let bench = Bench::new();
    assert!(matches!(
        bench.try_open().await,
        Err(Error::NotARepository { .. })
    ));
    let nobody = Repository::init(bench.store(), InitOptions::default(), bench.options()).await;
    assert!(nobody.unwrap_err().to_string().contains("recipient"));
    let made = bench.init().await;
    let again = InitOptions {
        recipients: vec![bench.identity.recipient()],
        ..InitOptions::default()
    };
    let error = Repository::init(bench.store(), again, bench.options())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::AlreadyInitialised { repository, .. } if repository == made.id()));
    let stranger = Unlock::Identities(vec![Identity::generate()]);
    let error = Repository::open(bench.store(), &stranger, bench.options())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::WrongKey { tried: 1, .. }), "{error}");
    let error = Repository::open(bench.store(), &Unlock::Nothing, bench.options())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::KeyNeeded { .. }), "{error}");
}

#[tokio::test]
async fn a_config_or_key_from_elsewhere_is_seen() {
    let (ours, theirs) = (Bench::new(), Bench::new());
    ours.init().await;
    // The same person's key, but another repository.
    let init = InitOptions {
        recipients: vec![ours.identity.recipient()],
        ..InitOptions::default()
    };
    Repository::init(theirs.store(), init, theirs.options())
        .await
        .unwrap();
    let config = crate::layout::config();
    let (our_config, their_config) = (ours.object(&config).await, theirs.object(&config).await);
    ours.overwrite(&config, their_config).await;
    let error = ours.try_open().await.unwrap_err();
    assert!(matches!(error, Error::ForeignRepository { .. }), "{error}");
    ours.overwrite(&config, our_config).await;
    // A foreign key object beside ours does no harm.
    let their_key = &theirs.names("keys/").await[0];
    ours.overwrite(their_key, theirs.object(their_key).await).await;
    ours.try_open().await.unwrap();
}

#[tokio::test]
async fn a_repository_put_in_the_place_of_another_is_seen() {
    let (ours, theirs) = (Bench::new(), Bench::new());
    ours.init().await;
    let init = InitOptions {
        recipients: vec![ours.identity.recipient()],
        ..InitOptions::default()
    };
    Repository::init(theirs.store(), init, theirs.options())
        .await
        .unwrap();
    // Both stores say `memory:`; the memory of heads is ours.
    let error = Repository::open(theirs.store(), &ours.unlock(), ours.options())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::ForeignRepository { .. }), "{error}");
}

#[tokio::test]
async fn an_interrupted_init_is_repeated() {
    let bench = Bench::new();
    bench.init().await;
    bench.storage.delete(&crate::layout::config()).await.unwrap();
    assert!(matches!(
        bench.try_open().await,
        Err(Error::NotARepository { .. })
    ));
    let fresh = Bench {
        cache: tempfile::tempdir().unwrap(),
        ..bench
    };
    fresh.init().await;
    let opened = fresh.try_open().await.unwrap();
    assert_eq!(opened.keys().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_repository_without_keys_says_so() {
    let bench = Bench::new();
    bench.init().await;
    for key in bench.names("keys/").await {
        bench.storage.delete(&key).await.unwrap();
    }
    let error = bench.try_open().await.unwrap_err();
    assert!(
        matches!(&error, Error::Missing { object, .. } if object.as_str() == "keys/"),
        "{error}"
    );
}

#[tokio::test]
async fn every_bit_of_config_and_key_counts() {
    let bench = Bench::new();
    bench.init().await;
    for key in [crate::layout::config(), bench.names("keys/").await[0].clone()] {
        let right = bench.object(&key).await;
        for byte in 0..right.len() {
            let mut flipped = right.clone();
            flipped[byte] ^= 1 << (byte % 8);
            bench.overwrite(&key, flipped).await;
            let error = bench.try_open().await.unwrap_err();
            assert_eq!(error.object(), Some(&key), "{error}");
        }
        for len in [0, 1, right.len() / 2, right.len() - 1] {
            bench.overwrite(&key, right[..len].to_vec()).await;
            assert_eq!(bench.try_open().await.unwrap_err().object(), Some(&key));
        }
        bench.overwrite(&key, right).await;
    }
    bench.try_open().await.unwrap();
}
