//! Where a collection takes place, as the course of a collection sees it.
//!
//! It knows neither Docker nor commands; they are its two kinds.

use std::collections::BTreeSet;
use std::future::Future;

use tokio::time::Instant;

use crate::gc::output::Found;
use crate::gc::{Error, Outside};
use crate::model::Digest;

/// What a dry run told.
pub(super) enum DryRun {
    /// This site has no dry run.
    Unsupported,
    /// The registry's answer.
    Done(Found),
}

/// A registry that can be taken down, swept, and put back.
pub(super) trait Site: Clone + Send + Sync + 'static {
    /// Whether the registry is taken down (or restarted) for it. A registry that was found stopped is not.
    fn interrupts(&self) -> bool;

    /// Whether there is a second look when the registry is down: what came since the first can be seen then.
    fn has_second_dry_run(&self) -> bool;

    /// What would be swept.
    fn dry_run(&self, deadline: Instant) -> impl Future<Output = Result<DryRun, Error>> + Send;

    /// Whether the blobs can be looked at one by one.
    fn sees_blobs(&self) -> impl Future<Output = Result<bool, Error>> + Send;

    /// The bytes of a blob; `None` if it is not there. Only where [`Site::sees_blobs`].
    fn size(&self, digest: &Digest) -> impl Future<Output = Result<Option<u64>, Error>> + Send;

    /// When the registry was started that runs now, in the words of what runs it; `None` where that is not known.
    fn started_at(&self) -> impl Future<Output = Option<String>> + Send;

    /// What a cache that outlives the registry may hold of what a sweep after the last look takes. Nothing,
    /// where there is no such cache.
    fn stale(&self) -> BTreeSet<Digest> {
        BTreeSet::new()
    }

    /// Takes the registry down.
    fn stop(&self, deadline: Instant) -> impl Future<Output = Result<(), Error>> + Send;

    /// What is wrong if the registry runs (again) though it has been taken down; `None` if it does not, or if that
    /// cannot be told.
    fn interference(&self, outside: &impl Outside) -> impl Future<Output = Option<Error>> + Send;

    /// Sweeps. What still runs when this fails is ended by [`Site::restore`].
    fn sweep(&self, deadline: Instant) -> impl Future<Output = Result<Found, Error>> + Send;

    /// Ends what still runs of ours.
    fn clear(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Ends what still runs of ours and puts the registry back as it was found, also if [`Site::stop`] was
    /// left half way. `swept` tells whether a sweep was begun, after which a registry that ran meanwhile has
    /// to forget what it remembers.
    fn restore(&self, swept: bool) -> impl Future<Output = Result<(), Error>> + Send;
}
