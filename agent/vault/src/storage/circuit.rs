//! What one run knows of its store: whether it was found away.
//!
//! # Overview
//! A request that got no answer through all its tries has waited for minutes. Whoever asks the same store for
//! something else right after that would wait as long again, source after source. [`Retrying`](super::retrying) opens
//! the circuit when it gives up, tries only once while it is open, and closes it with the first answer, whatever that
//! says. Who has several things to ask looks at [`Circuit::away`] before the next.

use std::sync::{Arc, Mutex, PoisonError};

/// Whether a store was found away; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Circuit {
    away: Arc<Mutex<Option<String>>>,
}

impl Circuit {
    /// Why the store is taken to be away, since a request gave up and none was answered after it.
    pub fn away(&self) -> Option<String> {
        self.lock().clone()
    }

    /// A request gave up.
    pub(super) fn open(&self, reason: &str) {
        self.lock().get_or_insert_with(|| reason.to_owned());
    }

    /// The store answered.
    pub(super) fn close(&self) {
        *self.lock() = None;
    }

    pub(super) fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    /// A panic elsewhere says nothing of the store.
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
