//! Packs: there, with their size, and what they were when they were written.

use std::collections::{HashMap, HashSet};

use futures::StreamExt;

use super::findings::{Findings, Problem};
use super::ledger::Ledger;
use crate::progress::Progress;
use crate::read::Coverage;
use crate::repository::PackProof;
use crate::storage::Key;
use crate::{ChunkId, PackId, Repository, layout};

/// Packs verified at once; each can have 32 MiB.
const AT_ONCE: usize = 3;

/// What of the packs is wrong.
#[derive(Debug, Default)]
pub(super) struct BadPacks {
    packs: HashMap<PackId, Bad>,
}

#[derive(Debug)]
struct Bad {
    problem: Problem,
    what: String,
    /// Only these; `None` means all.
    chunks: Option<HashSet<ChunkId>>,
}

impl Bad {
    /// By listing alone: nothing relies on it any more.
    fn is_lost(&self) -> bool {
        matches!(self.problem, Problem::Missing | Problem::WrongSize)
    }
}

impl BadPacks {
    pub(super) fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }

    pub(super) fn contains(&self, pack: &PackId) -> bool {
        self.packs.contains_key(pack)
    }

    /// What listing said stays; reading it tells besides which chunks are hit.
    fn add(&mut self, pack: PackId, problem: Problem, what: String, chunks: Option<HashSet<ChunkId>>) {
        if let Some(known) = self.packs.get_mut(&pack).filter(|known| known.is_lost()) {
            known.chunks = chunks;
            return;
        }
        self.packs.insert(
            pack,
            Bad {
                problem,
                what,
                chunks,
            },
        );
    }

    /// The problem that `chunk` has if it is read from `pack`.
    pub(super) fn of(&self, pack: &PackId, chunk: &ChunkId) -> Option<(Key, Problem, &str)> {
        let bad = self.packs.get(pack)?;
        let hit = bad.chunks.as_ref().is_none_or(|chunks| chunks.contains(chunk));
        hit.then(|| (layout::pack(pack), bad.problem, bad.what.as_str()))
    }

    /// Writes down what is known, whether anything suffers or not.
    pub(super) fn report(&self, findings: &mut Findings) {
        for (pack, bad) in &self.packs {
            findings.note(&layout::pack(pack), bad.problem, bad.what.clone());
        }
    }

    /// Says of packs that are gone or cut short, and that no snapshot needs any more, that nothing is lost: backups do
    /// not rely on them. Of those with wrong bytes nobody would know before reading them, so they stay damage.
    pub(super) fn relieve(&self, findings: &mut Findings) {
        for (pack, bad) in self.packs.iter().filter(|(_, bad)| bad.is_lost()) {
            findings.relieve(&layout::pack(pack), bad.problem);
        }
    }
}

/// The packs of the repository, listed and named by the index.
#[derive(Debug, Default)]
pub(super) struct Packs {
    /// Sizes by listing.
    pub(super) listed: HashMap<PackId, u64>,
    pub(super) bad: BadPacks,
}

impl Packs {
    /// Compares the listing with the index: packs that are gone, and packs of another size.
    pub(super) async fn compare(
        repository: &Repository,
        findings: &mut Findings,
    ) -> Result<Self, crate::Error> {
        let compared = repository.sync_packs().await?;
        for key in &compared.strange {
            findings.note(key, Problem::Strange, "its name is not that of a pack");
        }
        let mut packs = Self {
            listed: compared.listed,
            bad: BadPacks::default(),
        };
        for pack in compared.lost {
            let wanted = pack.size;
            match packs.listed.get(&pack.id) {
                Some(size) => {
                    let what = format!("it has {size} bytes, {wanted} were written");
                    packs.bad.add(pack.id, Problem::WrongSize, what, None);
                }
                None => {
                    let what = format!("it is gone; {} names it", layout::index(&pack.index));
                    packs.bad.add(pack.id, Problem::Missing, what, None);
                }
            }
        }
        for pack in &compared.unnamed {
            findings.note(
                &layout::pack(pack),
                Problem::NotIndexed,
                "no index names it: an interrupted backup left it, or an index object is lost; the next snapshot has it \
                 named again",
            );
        }
        Ok(packs)
    }
}

/// A pack to be verified.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) pack: PackId,
    /// As listed.
    pub(super) size: u64,
    /// Bytes that reading it costs.
    pub(super) cost: u64,
    /// Not as a whole: others have read a part of it, and only what is open is wanted.
    pub(super) partly: bool,
}

impl Wanted {
    pub(super) fn whole(pack: PackId, size: u64) -> Self {
        Self {
            pack,
            size,
            cost: size,
            partly: false,
        }
    }
}

/// Which packs are read, and how much of them.
pub(super) struct Task<'a> {
    pub(super) wanted: Vec<Wanted>,
    /// The open chunks of packs that are wanted partly.
    pub(super) open: &'a Coverage,
    /// Most bytes to be read; all if absent.
    pub(super) budget: Option<u64>,
    /// The packs are those of one snapshot, and what drills have verified of them counts.
    pub(super) drill: bool,
}

/// What a verification of packs took.
#[derive(Debug, Clone, Default)]
pub(super) struct Verification {
    /// Packs of which everything wanted is what it was when it was written.
    pub(super) sound: HashSet<PackId>,
    pub(super) packs: u64,
    pub(super) bytes: u64,
    pub(super) chunks: u64,
    /// Packs that the budget left for another time.
    pub(super) left: u64,
}

/// Reads packs, opens and hashes every chunk that is wanted, least recently verified first until the budget is spent.
/// The ledger learns of those that are sound.
pub(super) async fn verify(
    repository: &Repository,
    packs: &mut Packs,
    task: Task<'_>,
    progress: &Progress,
) -> Result<Verification, crate::Error> {
    let open = task.open;
    let (chosen, left) = choose(repository, task).await?;
    let mut done = Verification {
        left,
        ..Verification::default()
    };
    let (mut whole, mut partly) = (Vec::new(), Vec::new());
    progress.expect(chosen.len() as u64, chosen.iter().map(|wanted| wanted.cost).sum());
    let mut results = futures::stream::iter(chosen)
        .map(|wanted| async move { (wanted, read(repository, wanted, open).await) })
        .buffer_unordered(AT_ONCE);
    while let Some((wanted, verified)) = results.next().await {
        let pack = wanted.pack;
        progress.advance(wanted.cost);
        progress.file_done();
        done.packs += 1;
        match verified {
            Ok(proof) => {
                progress.transferred(proof.fetched);
                done.bytes += proof.fetched;
                done.chunks += proof.chunks;
                match proof.damage {
                    None => {
                        done.sound.insert(pack);
                        if wanted.partly { &mut partly } else { &mut whole }.push(pack);
                    }
                    Some(error) => {
                        packs
                            .bad
                            .add(pack, Problem::Damaged, error.to_string(), proof.damaged_chunks)
                    }
                }
            }
            Err(error) if matches!(error, crate::Error::Missing { .. }) => {
                packs.bad.add(pack, Problem::Missing, error.to_string(), None);
            }
            Err(error) if error.is_damage() => packs.bad.add(pack, Problem::Damaged, error.to_string(), None),
            Err(error) => return Err(error),
        }
    }
    drop(results);
    if let Err(error) = Ledger::append(repository, &whole, &partly).await {
        tracing::warn!(%error, "what was verified is not in the ledger: the next budget begins with the same packs");
    }
    Ok(done)
}

async fn read(repository: &Repository, wanted: Wanted, open: &Coverage) -> Result<PackProof, crate::Error> {
    if !wanted.partly {
        return repository.verify_pack(&wanted.pack, wanted.size).await;
    }
    let is_open = |ordinal| open.contains_ordinal(&wanted.pack, ordinal);
    repository.verify_chunks(&wanted.pack, wanted.size, is_open).await
}

/// Those that the budget allows, at least one, least recently verified first; and how many it leaves.
async fn choose(repository: &Repository, task: Task<'_>) -> Result<(Vec<Wanted>, u64), crate::Error> {
    let mut wanted = task.wanted;
    let Some(budget) = task.budget else {
        return Ok((wanted, 0));
    };
    let ledger = Ledger::read(repository).await?;
    let verified = |pack: &PackId| {
        if task.drill {
            ledger.needed(pack)
        } else {
            ledger.whole(pack)
        }
    };
    wanted.sort_by_key(|wanted| (verified(&wanted.pack), wanted.pack));
    let mut spent = 0;
    let fits = |wanted: &Wanted| {
        let room = spent == 0 || spent + wanted.cost <= budget;
        spent += wanted.cost;
        room
    };
    let chosen: Vec<_> = wanted.iter().copied().take_while(fits).collect();
    let left = (wanted.len() - chosen.len()) as u64;
    Ok((chosen, left))
}

pub(super) fn storage_error(repository: &Repository, error: crate::storage::Error) -> crate::Error {
    crate::Error::Storage {
        location: repository.storage().location(),
        source: std::sync::Arc::new(error),
    }
}
