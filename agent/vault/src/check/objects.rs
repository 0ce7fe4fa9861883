//! Everything that is neither pack nor snapshot: config, keys, index objects, records, intents, and strange names.

use std::collections::HashSet;

use futures::StreamExt;

use super::findings::{Findings, Problem};
use super::packs::storage_error;
use super::snapshots::Chain;
use crate::storage::Key;
use crate::{IndexId, KeyId, Manifest, Repository, SnapshotId, layout};

/// Objects read at once; index objects can have some mebibytes.
const AT_ONCE: usize = 4;

/// Reads and proves every small object, and looks for those that should be there.
pub(super) async fn check(
    repository: &Repository,
    chain: &Chain,
    findings: &mut Findings,
) -> Result<u64, crate::Error> {
    let mut objects = 1;
    if let Err(error) = repository.check_config().await {
        findings.note_error(error, &layout::config())?;
    }
    objects += keys(repository, chain, findings).await?;
    objects += indexes(repository, chain, findings).await?;
    objects += records(repository, chain, findings).await?;
    strange(repository, findings).await?;
    Ok(objects)
}

/// Only what a listing tells: for the quick check.
pub(super) async fn listed(
    repository: &Repository,
    chain: &Chain,
    findings: &mut Findings,
) -> Result<(), crate::Error> {
    let keys: HashSet<KeyId> = repository.keys().await?.into_iter().collect();
    missing_keys(&keys, chain, findings);
    let indexes: HashSet<IndexId> = repository.indexes().await?.into_iter().collect();
    missing_indexes(&indexes, chain, findings);
    strange(repository, findings).await
}

/// The small objects that one snapshot needs: its manifest, config, keys, its run's index objects. How many.
pub(super) async fn needed(
    repository: &Repository,
    snapshot: &SnapshotId,
    manifest: &Manifest,
    findings: &mut Findings,
) -> Result<u64, crate::Error> {
    let missing = "the snapshot needs it and it is gone";
    let keys: HashSet<KeyId> = repository.keys().await?.into_iter().collect();
    for key in manifest.keys.iter().filter(|key| !keys.contains(*key)) {
        findings.note(&layout::key(key), Problem::Missing, missing);
    }
    let indexes: HashSet<IndexId> = repository.indexes().await?.into_iter().collect();
    for index in manifest.indexes.iter().filter(|index| !indexes.contains(*index)) {
        findings.note(&layout::index(index), Problem::Missing, missing);
    }
    if !repository
        .snapshots()
        .await?
        .iter()
        .any(|info| info.id == *snapshot)
    {
        let object = Key::new(format!("{}*-{snapshot}", layout::SNAPSHOTS));
        findings.note(&object, Problem::Missing, "the manifest is gone");
    }
    match repository.check_config().await {
        Ok(()) => {}
        Err(error) => findings.note_error(error, &layout::config())?,
    }
    Ok(2 + (manifest.keys.len() + manifest.indexes.len()) as u64)
}

async fn keys(repository: &Repository, chain: &Chain, findings: &mut Findings) -> Result<u64, crate::Error> {
    let keys: HashSet<KeyId> = repository.keys().await?.into_iter().collect();
    missing_keys(&keys, chain, findings);
    prove(repository, keys.iter().map(layout::key).collect(), findings).await
}

fn missing_keys(keys: &HashSet<KeyId>, chain: &Chain, findings: &mut Findings) {
    let newest = chain.newest();
    for key in newest
        .iter()
        .flat_map(|manifest| &manifest.keys)
        .filter(|key| !keys.contains(*key))
    {
        let what = "it stood in the repository at the newest snapshot and is gone: its recipient can no longer open the repository";
        findings.note(&layout::key(key), Problem::Missing, what);
    }
}

async fn indexes(
    repository: &Repository,
    chain: &Chain,
    findings: &mut Findings,
) -> Result<u64, crate::Error> {
    let indexes: HashSet<IndexId> = repository.indexes().await?.into_iter().collect();
    missing_indexes(&indexes, chain, findings);
    let count = indexes.len() as u64;
    let mut checked = futures::stream::iter(indexes)
        .map(|index| async move { (index, repository.check_index(&index).await) })
        .buffer_unordered(AT_ONCE);
    while let Some((index, result)) = checked.next().await {
        if let Err(error) = result {
            findings.note_error(error, &layout::index(&index))?;
        }
    }
    Ok(count)
}

fn missing_indexes(indexes: &HashSet<IndexId>, chain: &Chain, findings: &mut Findings) {
    for index in chain.indexes().filter(|index| !indexes.contains(index)) {
        let what = "a snapshot's backup wrote it and it is gone: the next snapshot has its packs named again";
        findings.note(&layout::index(&index), Problem::Missing, what);
    }
}

async fn records(
    repository: &Repository,
    chain: &Chain,
    findings: &mut Findings,
) -> Result<u64, crate::Error> {
    let mut objects = Vec::new();
    for prefix in [
        layout::FACTS,
        layout::HOLDS,
        layout::DRILLS,
        layout::LEDGER,
        layout::INTENTS,
    ] {
        let mut listing = repository.storage().list(prefix);
        while let Some(meta) = listing.next().await {
            objects.push(meta.map_err(|error| storage_error(repository, error))?.key);
        }
    }
    let there: HashSet<&Key> = objects.iter().collect();
    // A damaged hold is found below; until then nothing counts as released.
    let released = match repository.released_holds().await {
        Err(error) if error.is_damage() => HashSet::new(),
        released => released?,
    };
    let named = chain
        .newest()
        .into_iter()
        .flat_map(|manifest| manifest.records.iter().map(Key::new));
    for record in named
        .chain(repository.remembered_records())
        .filter(|record| !there.contains(record) && !released.contains(record))
    {
        findings.note(
            &record,
            Problem::Missing,
            "it stood in the repository and is gone",
        );
    }
    let count = objects.len() as u64;
    let mut checked = futures::stream::iter(objects)
        .map(|object| async move {
            let read = repository.record(&object).await;
            (object, read.map(|_| ()))
        })
        .buffer_unordered(AT_ONCE);
    while let Some((object, result)) = checked.next().await {
        match result {
            Ok(()) => {}
            // Taken back since it was listed.
            Err(crate::Error::Missing { .. }) if object.as_str().starts_with(layout::INTENTS) => {}
            Err(error) => findings.note_error(error, &object)?,
        }
    }
    Ok(count)
}

async fn prove(
    repository: &Repository,
    objects: Vec<Key>,
    findings: &mut Findings,
) -> Result<u64, crate::Error> {
    let count = objects.len() as u64;
    for object in objects {
        if let Err(error) = repository.prove_object(&object).await {
            findings.note_error(error, &object)?;
        }
    }
    Ok(count)
}

/// Objects whose names are none of this format. Something put here under a name of its own harms nobody, but it
/// may be one of ours renamed.
async fn strange(repository: &Repository, findings: &mut Findings) -> Result<(), crate::Error> {
    let mut listing = repository.storage().list("");
    while let Some(meta) = listing.next().await {
        let key = meta.map_err(|error| storage_error(repository, error))?.key;
        let name = key.as_str();
        let known = name == layout::CONFIG
            || name == layout::DOCTOR
            || layout::parse_pack(&key).is_some()
            || layout::parse_index(&key).is_some()
            || layout::parse_key(&key).is_some()
            || layout::parse_snapshot(&key).is_some()
            || layout::parse_companion(layout::FACTS, &key).is_some()
            || layout::parse_companion(layout::HOLDS, &key).is_some()
            || layout::parse_dated(layout::DRILLS, &key).is_some()
            || layout::parse_dated(layout::LEDGER, &key).is_some()
            || layout::parse_intent(&key).is_some();
        if !known {
            findings.note(&key, Problem::Strange, "its name is none of this format");
        }
    }
    Ok(())
}
