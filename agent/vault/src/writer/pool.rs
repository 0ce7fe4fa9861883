//! The packs that are being filled: at most so many, each in the hands of one thread at a time.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::codec::Encoder;
use crate::error::Result;
use crate::pack::PackBuilder;

/// A place at which a pack is filled. Keeps the compressor's working memory from pack to pack.
pub(super) struct Bench {
    pub(super) encoder: Encoder,
    pub(super) pack: Option<PackBuilder>,
}

/// All benches; the one put back last is given out first, so that one reader fills one pack.
pub(super) struct Pool {
    state: Mutex<State>,
    returned: Condvar,
}

struct State {
    idle: Vec<Bench>,
    /// Benches that may still be made.
    left: usize,
}

impl Pool {
    pub(super) fn new(size: usize) -> Self {
        let state = State {
            idle: Vec::new(),
            left: size.max(1),
        };
        Self {
            state: Mutex::new(state),
            returned: Condvar::new(),
        }
    }

    /// Takes a bench, waiting until there is one.
    pub(super) fn take(&self) -> Result<Bench> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(bench) = state.idle.pop() {
                return Ok(bench);
            }
            if state.left > 0 {
                let bench = Bench {
                    encoder: Encoder::new()?,
                    pack: None,
                };
                state.left -= 1;
                return Ok(bench);
            }
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Puts a bench back, its pack still there if it is not full.
    pub(super) fn put_back(&self, bench: Bench) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.idle.push(bench);
        drop(state);
        self.returned.notify_one();
    }

    /// The packs that were begun. Nobody may be filling one.
    pub(super) fn drain(&self) -> Vec<PackBuilder> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state
            .idle
            .iter_mut()
            .filter_map(|bench| bench.pack.take())
            .collect()
    }
}
