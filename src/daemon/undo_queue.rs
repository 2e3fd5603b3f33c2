//! The undos that were requested and wait for the other jobs of their registry.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::oneshot::Sender;

use crate::http::UndoResult;
use crate::run::ImageTarget;

/// An undo that waits.
pub(super) struct PendingUndo {
    /// The number of the run.
    pub(super) run: i64,
    /// The image as the request names it.
    pub(super) image: Option<String>,
    /// The image that the name means.
    pub(super) target: Option<ImageTarget>,
    /// Receives the result.
    pub(super) reply: Sender<UndoResult>,
}

/// The waiting undos by registry, the oldest first.
#[derive(Default)]
pub(super) struct UndoQueue(BTreeMap<String, VecDeque<PendingUndo>>);

impl UndoQueue {
    pub(super) fn push(&mut self, registry: &str, undo: PendingUndo) {
        self.0.entry(registry.to_owned()).or_default().push_back(undo);
    }

    pub(super) fn pop(&mut self, registry: &str) -> Option<PendingUndo> {
        self.0.get_mut(registry)?.pop_front()
    }

    /// Drops all: their requests get the answer that the service is stopping.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
