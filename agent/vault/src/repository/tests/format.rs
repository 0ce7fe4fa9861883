//! A second reader, written from `FORMAT.md` alone: none of the crate's own codecs, seals or names are used here.

use std::io::Read;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::*;

struct Reader {
    id: [u8; 16],
    master: [u8; 32],
}

fn hex32(text: &str) -> [u8; 32] {
    hex::decode(text).unwrap().try_into().unwrap()
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

impl Reader {
    async fn open(bench: &Bench) -> Self {
        let config = bench.object(&Key::new("config")).await;
        let end = config.iter().position(|b| *b == b'\n').unwrap() + 1;
        let check: Value = serde_json::from_slice(&config[end..]).unwrap();
        assert_eq!(check["blake3"], blake3::hash(&config[..end]).to_hex().as_str());
        let params: Value = serde_json::from_slice(&config[..end]).unwrap();
        assert_eq!(
            (&params["format"], &params["version"]),
            (&"drctl-repository".into(), &1.into())
        );
        let id = hex::decode(params["id"].as_str().unwrap().replace('-', "")).unwrap();
        let key = bench.names("keys/").await.remove(0);
        let sealed = bench.object(&key).await;
        assert_eq!(key.as_str(), format!("keys/{}", blake3::hash(&sealed).to_hex()));
        let identity: age::x25519::Identity =
            bench.identity.to_secret_string().expose_secret().parse().unwrap();
        let decryptor = age::Decryptor::new(&sealed[..]).unwrap();
        let mut payload = Vec::new();
        let identities = std::iter::once(&identity as &dyn age::Identity);
        decryptor
            .decrypt(identities)
            .unwrap()
            .read_to_end(&mut payload)
            .unwrap();
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(payload["repository"], params["id"]);
        assert_eq!(payload["config"], blake3::hash(&config).to_hex().as_str());
        Self {
            id: id.try_into().unwrap(),
            master: hex32(payload["master_key"].as_str().unwrap()),
        }
    }

    fn derive(&self, context: &str, more: &[u8]) -> [u8; 32] {
        blake3::derive_key(context, &[&self.master, self.id.as_slice(), more].concat())
    }

    fn unseal(&self, object: &[u8], kind: u8, ordinal: u64, subject: &[u8; 32], sealed: &[u8]) -> Vec<u8> {
        assert_eq!(&object[..8], &[b'D', b'R', b'V', b'T', 1, kind, 1, 0]);
        assert_eq!(object[8..24], self.id);
        let key = self.derive("drctl vault 1 object key", &[&[kind], &object[24..56]].concat());
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&ordinal.to_be_bytes());
        let aad = [self.id.as_slice(), &[kind], &ordinal.to_le_bytes(), subject].concat();
        let mut bytes = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.open_in_place(nonce, Aad::from(aad), &mut bytes)
            .unwrap()
            .to_vec()
    }

    fn decode(encoded: &[u8]) -> Vec<u8> {
        match encoded[0] {
            0 => encoded[1..].to_vec(),
            1 => {
                let plain = zstd::decode_all(&encoded[5..]).unwrap();
                assert_eq!(plain.len(), u32_at(encoded, 1));
                plain
            }
            other => panic!("encoding {other}"),
        }
    }

    fn small(&self, object: &[u8], kind: u8, subject: &[u8; 32]) -> Vec<u8> {
        Self::decode(&self.unseal(object, kind, 0, subject, &object[56..]))
    }

    /// All chunks of a pack, by id, as its own footer lists them.
    fn pack(&self, pack: &[u8]) -> Vec<([u8; 32], Vec<u8>)> {
        let end = pack.len() - 8;
        assert_eq!(&pack[end + 4..], b"DRVF");
        let footer = self.unseal(pack, 1, u64::MAX, &[0; 32], &pack[end - u32_at(pack, end)..end]);
        let chunk_key = self.derive("drctl vault 1 chunk id", &[]);
        let mut at = 56;
        let chunks = footer[4..].chunks_exact(40).enumerate().map(|(ordinal, entry)| {
            let id: [u8; 32] = entry[..32].try_into().unwrap();
            let sealed = &pack[at..at + u32_at(entry, 32)];
            at += sealed.len();
            let plain = Self::decode(&self.unseal(pack, 1, ordinal as u64, &id, sealed));
            assert_eq!(plain.len(), u32_at(entry, 36));
            assert_eq!(*blake3::keyed_hash(&chunk_key, &plain).as_bytes(), id);
            (id, plain)
        });
        let chunks: Vec<_> = chunks.collect();
        assert_eq!(chunks.len(), u32_at(&footer, 0));
        assert_eq!(at, end - u32_at(pack, end));
        chunks
    }
}

#[tokio::test]
async fn a_reader_written_from_the_document_reads_everything() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let chunks = vec![
        noise(1, 9000),
        Bytes::from(b"compressible ".repeat(900)),
        noise(2, 10),
    ];
    let (snapshot, ids) = snapshot(&repository, chunks.clone()).await;
    repository.put_facts(&snapshot, b"measured").await.unwrap();

    let reader = Reader::open(&bench).await;
    let name = bench.names("packs/").await.remove(0);
    let pack = bench.object(&name).await;
    let hash = blake3::hash(&pack).to_hex();
    assert_eq!(name.as_str(), format!("packs/{}/{hash}", &hash[..2]));
    let read = reader.pack(&pack);
    assert_eq!(
        read.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        ids.iter().map(|i| *i.as_bytes()).collect::<Vec<_>>()
    );
    assert!(read.iter().zip(&chunks).all(|((_, plain), chunk)| plain == chunk));

    let index = reader.small(&bench.object(&bench.names("index/").await[0]).await, 2, &[0; 32]);
    assert_eq!(
        (u32_at(&index, 0), u32_at(&index, 4 + 64), u32_at(&index, 4 + 68)),
        (1, pack.len(), 3)
    );
    assert_eq!(index[4..36], *blake3::hash(&pack).as_bytes());
    assert_eq!(index[36..68], pack[24..56]);
    assert_eq!(index[76..108], *ids[0].as_bytes());

    let name = bench.names("snapshots/").await.remove(0);
    let object = bench.object(&name).await;
    assert!(
        name.as_str()
            .ends_with(&format!("-{}", &blake3::hash(&object).to_hex()[..32]))
    );
    let manifest: Value = serde_json::from_slice(&reader.small(&object, 3, &[0; 32])).unwrap();
    assert_eq!(manifest["sources"][0]["tree"]["chunks"][2], ids[2].to_string());
    assert_eq!(manifest["host"], "db-1");

    let mut subject = [0; 32];
    subject[..16].copy_from_slice(snapshot.as_bytes());
    let facts = reader.small(&bench.object(&bench.names("facts/").await[0]).await, 4, &subject);
    assert!(facts.ends_with(b"\nmeasured"));
}

#[tokio::test]
async fn the_hash_of_a_whole_file_is_as_the_document_says() {
    let bench = Bench::new();
    let repository = bench.init().await;
    let key = Reader::open(&bench)
        .await
        .derive("drctl vault 1 content hash", &[]);
    let hash = repository.content_hasher().update(b"whole file").finalize();
    assert_eq!(hash, blake3::keyed_hash(&key, b"whole file"));
}
