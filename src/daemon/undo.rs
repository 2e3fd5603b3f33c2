//! Undos that somebody asks the running service for. Each takes its turn among the jobs of its registry.

use std::sync::Arc;

use tokio::sync::oneshot::Sender;

use super::active_config::ActiveConfig;
use super::jobs::{Turn, Work};
use super::past;
use super::service::{Service, lock};
use crate::http::{UndoError, UndoRequest, UndoResult};
use crate::report::undo_document;
use crate::run::{ImageError, ImageTarget, undo};

/// An undo that waits for its turn.
pub(super) struct Wish {
    run: i64,
    /// As it was asked for.
    image: Option<String>,
    target: Option<ImageTarget>,
    answer: Sender<UndoResult>,
}

impl Service {
    /// Lets an undo wait for its turn, or says why there is none.
    pub(super) fn begin_undo(self: &Arc<Self>, active: &ActiveConfig, asked: UndoRequest) {
        let UndoRequest { run, image, reply: answer } = asked;
        match self.find(active, run, image.as_deref()) {
            Ok((registry, target)) => {
                tracing::info!(%registry, run, image, "an undo was asked for");
                let wish = Wish { run, image, target, answer };
                lock(&self.undos).entry(registry.clone()).or_default().push_back(wish);
                // One that is under way, or waits, takes this one along.
                if self.begin_work(&registry, Work::Undo) == Turn::Later {
                    tracing::info!(%registry, run, "another job of this registry is under way, so the undo waits for its turn");
                }
            }
            // Whoever asked may have gone away.
            Err(why) => drop(answer.send(Err(why))),
        }
    }

    /// The registry of a run, and what is meant by the name of an image.
    fn find(
        &self,
        active: &ActiveConfig,
        run: i64,
        image: Option<&str>,
    ) -> Result<(String, Option<ImageTarget>), UndoError> {
        let unreadable = |error: crate::state::Error| UndoError::Failed(error.to_string());
        let noted = self.state.run(run).map_err(unreadable)?.ok_or_else(|| {
            UndoError::NotFound(format!(
                "there is no run {run}: /api/v1/runs lists those that are remembered"
            ))
        })?;
        let name = noted.registry;
        let registry = active.registry(&name).ok_or_else(|| {
            UndoError::NotFound(format!(
                "run {run} was of the registry {name}, which the configuration does not have any more"
            ))
        })?;
        let target = match image {
            None => None,
            Some(image) => {
                Some(ImageTarget::find(&self.state, run, registry, image).map_err(|error| match error {
                    ImageError::State(error) => unreadable(error),
                    ImageError::NotFound(why) => UndoError::NotFound(why),
                    unclear => UndoError::Ambiguous(unclear.to_string()),
                })?)
            }
        };
        Ok((name, target))
    }

    /// Makes every undo that waits for its turn in this registry.
    pub(super) async fn undo(&self, active: &ActiveConfig, name: &str) {
        // The lock is not held any longer than this takes.
        let next = || lock(&self.undos).get_mut(name)?.pop_front();
        while let Some(wish) = next() {
            // It can be cut anywhere: another one finds what is back already.
            let Some(answer) = self.stop.cuts(self.put_back(active, name, &wish)).await else {
                tracing::info!(
                    registry = name,
                    run = wish.run,
                    "the undo was stopped; another one does the rest"
                );
                return;
            };
            // Whoever asked may have gone away.
            let _ = wish.answer.send(answer);
        }
        self.show_reclaimable(name);
        self.arm_next_collection(name);
    }

    async fn put_back(&self, active: &ActiveConfig, name: &str, wish: &Wish) -> UndoResult {
        let Wish { run, image, target, .. } = wish;
        let Some(context) = active.registry_context(name, (self.clock)(), self) else {
            return Err(UndoError::NotFound(format!("the configuration does not have {name} any more")));
        };
        let undone = undo(context, &self.state, *run, target.as_ref(), &*self.clock).await;
        let undone = undone.map_err(|error| {
            tracing::error!(registry = name, run, %error, "the undo failed");
            UndoError::Failed(error.to_string())
        })?;
        if undone.is_empty() {
            let what = image.as_deref().map_or("nothing".to_owned(), |image| format!("no {image}"));
            return Err(UndoError::NotFound(format!(
                "there is {what} of run {run} to put back: /api/v1/runs?run={run} tells what it deleted, and what \
                 was put back before"
            )));
        }
        tracing::info!(registry = name, run, deletions = undone.len(), "the undo ended");
        // Of the latest plan some is not gone any more.
        if let Err(error) = past::show_plan(self, name) {
            tracing::error!(registry = name, %error, "the state cannot be read");
        }
        Ok(undo_document(name, *run, &undone, None))
    }
}
