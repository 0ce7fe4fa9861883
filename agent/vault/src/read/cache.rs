//! Chunks in memory: as many as fit, each asked for once however many want it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use lru::LruCache;

use super::coverage::Coverage;
use crate::{ChunkId, Repository, Result};

/// Chunks asked for together, in order; shared by all who want one of them.
type Request = Shared<BoxFuture<'static, Arc<Vec<Result<Bytes>>>>>;

/// A cache of verified chunks, bounded in bytes.
pub(super) struct ChunkCache {
    repository: Repository,
    coverage: Coverage,
    state: Arc<Mutex<State>>,
}

struct State {
    chunks: LruCache<ChunkId, Bytes>,
    bytes: usize,
    capacity: usize,
    under_way: HashMap<ChunkId, (Request, usize)>,
}

enum Wanted {
    Here(Bytes),
    Coming(Request, usize),
}

impl ChunkCache {
    pub(super) fn new(repository: Repository, capacity: usize, coverage: Coverage) -> Self {
        let state = State {
            chunks: LruCache::unbounded(),
            bytes: 0,
            capacity,
            under_way: HashMap::new(),
        };
        Self {
            repository,
            coverage,
            state: Arc::new(Mutex::new(state)),
        }
    }

    pub(super) fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The chunks, in the order asked. What several callers want at once is fetched once.
    pub(super) async fn get(&self, ids: &[ChunkId]) -> Vec<Result<Bytes>> {
        let wanted = self.look_up(ids);
        let mut chunks = Vec::with_capacity(ids.len());
        for wanted in wanted {
            chunks.push(match wanted {
                Wanted::Here(bytes) => Ok(bytes),
                Wanted::Coming(request, at) => request
                    .await
                    .get(at)
                    .cloned()
                    .unwrap_or_else(|| Err(short_answer())),
            });
        }
        chunks
    }

    fn look_up(&self, ids: &[ChunkId]) -> Vec<Wanted> {
        let mut state = lock(&self.state);
        let mut missing: Vec<ChunkId> = Vec::new();
        for id in ids {
            if !state.chunks.contains(id) && !state.under_way.contains_key(id) && !missing.contains(id) {
                missing.push(*id);
            }
        }
        if !missing.is_empty() {
            let request = self.request(missing.clone());
            for (at, id) in missing.into_iter().enumerate() {
                state.under_way.insert(id, (request.clone(), at));
            }
        }
        let State {
            chunks, under_way, ..
        } = &mut *state;
        let look_up = |id| match (chunks.get(id), under_way.get(id)) {
            (Some(bytes), _) => Wanted::Here(bytes.clone()),
            (None, Some((request, at))) => Wanted::Coming(request.clone(), *at),
            (None, None) => Wanted::Coming(futures::future::ready(Arc::default()).boxed().shared(), 0),
        };
        ids.iter().map(look_up).collect()
    }

    /// A request that files its answer itself: whoever polls it, and even if those who asked first have gone.
    fn request(&self, ids: Vec<ChunkId>) -> Request {
        let (repository, coverage) = (self.repository.clone(), self.coverage.clone());
        // The state holds the request: it must not hold the state.
        let state = Arc::downgrade(&self.state);
        async move {
            let chunks = repository.read_chunks(&ids).await;
            coverage.note(&repository, &ids, &chunks).await;
            file(&state, &ids, &chunks);
            Arc::new(chunks)
        }
        .boxed()
        .shared()
    }
}

fn file(state: &Weak<Mutex<State>>, ids: &[ChunkId], chunks: &[Result<Bytes>]) {
    let Some(state) = state.upgrade() else { return };
    let mut state = lock(&state);
    for (id, chunk) in ids.iter().zip(chunks) {
        state.under_way.remove(id);
        if let Ok(bytes) = chunk {
            state.keep(*id, bytes.clone());
        }
    }
}

impl State {
    fn keep(&mut self, id: ChunkId, bytes: Bytes) {
        self.bytes += bytes.len();
        if let Some((_, old)) = self.chunks.push(id, bytes) {
            self.bytes -= old.len();
        }
        while self.bytes > self.capacity {
            let Some((_, old)) = self.chunks.pop_lru() else {
                break;
            };
            self.bytes -= old.len();
        }
    }
}

/// Whoever panicked while holding the lock left nothing half done: each change is a single insertion or removal.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn short_answer() -> crate::Error {
    crate::Error::Internal {
        reason: "fewer chunks were read than asked for".to_owned(),
    }
}
