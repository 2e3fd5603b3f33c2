//! The course of a collection: look, compare with what is kept, measure, stop, look again, sweep, measure again,
//! put back.
//!
//! It is the same wherever it takes place, and knows neither Docker nor commands.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::{Instant, sleep, timeout_at};

use crate::gc::output::Found;
use crate::gc::site::{DryRun, Site};
use crate::gc::{CollectionResult, Error, Outside, Reclaimed, RecoveryLog};
use crate::model::Digest;

/// Blobs that are looked at side by side. The Engine does such looks one after the other anyway; a few in
/// flight hide the way there and back.
const CONCURRENT_LOOKUPS: usize = 4;

/// How often it is looked whether somebody has started the registry in the middle of a sweep.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// What the caller wants of a collection.
pub(super) struct CollectionRequest<'a> {
    pub(super) timeout: Duration,
    pub(super) min_reclaimable: u64,
    pub(super) is_kept: &'a (dyn Fn(&Digest) -> bool + Sync),
    pub(super) recovery_log: &'a dyn RecoveryLog,
}

/// Collects once.
pub(super) async fn collect<S: Site>(
    site: &S,
    request: &CollectionRequest<'_>,
    outside: &impl Outside,
) -> Result<CollectionResult, Error> {
    let deadline = Instant::now() + request.timeout;
    // A look changes nothing, and can take long: nobody who wants us to stop is kept waiting for its end.
    let looked = tokio::select! {
        biased;
        looked = unless_ended(outside, first_dry_run(site, request, deadline)) => looked,
        error = given_up(outside) => Err(error),
    };
    if looked.is_err()
        && let Err(error) = site.clear().await
    {
        tracing::warn!(%error, "what looked for blobs to sweep may go on; it changes nothing");
    }
    let mut blobs = match looked? {
        First::Worthwhile(blobs) => blobs,
        First::Done(outcome) => return Ok(outcome),
    };
    let interrupts = site.interrupts();
    if interrupts {
        request.recovery_log.record_stopping().map_err(Error::RecoveryLog)?;
        if let Some(at) = site.started_at().await {
            request.recovery_log.record_started_at(&at).map_err(Error::RecoveryLog)?;
        }
    }
    let mut watch = RestoreGuard { site, armed: true, swept: false };
    let swept = async {
        Ok(match sweep(site, request, outside, deadline, &mut blobs, &mut watch.swept).await? {
            Some((swept, marked)) => Some((blobs.removed(site, swept, deadline).await?, marked)),
            None => None,
        })
    };
    let swept = unless_ended(outside, swept).await;
    // From here on nobody ends it: first of all the registry has to be back.
    let back = site.restore(watch.swept).await;
    watch.armed = false;
    if back.is_ok() && watch.swept {
        request.recovery_log.record_cache_cleared().map_err(Error::RecoveryLog)?;
    }
    let swept = in_time(swept, request);
    if let Err(source) = back {
        return Err(Error::Down { source: Box::new(source), during: swept.err().map(Box::new) });
    }
    if interrupts {
        if !outside.alive().await {
            let during = swept.err().map(Box::new);
            return Err(Error::Down { source: Box::new(Error::Silent), during });
        }
        request.recovery_log.record_restored().map_err(Error::RecoveryLog)?;
    }
    let Some(((removed, bytes), marked)) = swept? else { return Ok(CollectionResult::NothingToDo) };
    let blobs = removed.len() as u64;
    Ok(CollectionResult::Reclaimed(Reclaimed { blobs, bytes, marked, removed }))
}

/// What comes of it, unless the collection shall end before.
async fn unless_ended<T>(
    outside: &impl Outside,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        () = outside.ended() => Err(Error::Ended),
        done = work => done,
    }
}

/// Comes when the registry shall not be taken down any more: the error that says so.
pub(super) async fn given_up(outside: &impl Outside) -> Error {
    outside.unwanted().await;
    tokio::select! {
        biased;
        () = outside.ended() => Error::Ended,
        () = std::future::ready(()) => Error::NotBegun,
    }
}

/// What a look at the running registry comes to.
enum First {
    /// These blobs are worth a collection.
    Worthwhile(Blobs),
    /// There is no more to be done.
    Done(CollectionResult),
}

async fn first_dry_run<S: Site>(
    site: &S,
    request: &CollectionRequest<'_>,
    deadline: Instant,
) -> Result<First, Error> {
    let mut blobs = Blobs { seen: site.sees_blobs().await?, sizes: BTreeMap::new() };
    let eligible = match in_time(site.dry_run(deadline).await, request)? {
        DryRun::Unsupported => return Ok(First::Worthwhile(blobs)),
        DryRun::Done(Found::Nothing) if blobs.seen => return Err(Error::NoRepositories),
        DryRun::Done(Found::Nothing) => return Ok(First::Done(CollectionResult::NothingToDo)),
        DryRun::Done(Found::Eligible { blobs, .. }) => blobs,
    };
    if eligible.is_empty() {
        return Ok(First::Done(CollectionResult::NothingToDo));
    }
    refuse_kept(&eligible, request)?;
    blobs.measure(site, eligible).await?;
    let reclaimable = blobs.bytes();
    if blobs.seen && reclaimable < request.min_reclaimable {
        return Ok(First::Done(CollectionResult::BelowMinimum { reclaimable }));
    }
    Ok(First::Worthwhile(blobs))
}

/// Which of these blobs are gone.
pub(super) async fn gone<S: Site>(
    site: &S,
    blobs: &BTreeMap<Digest, u64>,
    timeout: Duration,
) -> Result<BTreeMap<Digest, u64>, Error> {
    let there: BTreeSet<Digest> = if site.sees_blobs().await? {
        measure(site, blobs.keys().cloned()).await?.into_keys().collect()
    } else {
        match site.dry_run(Instant::now() + timeout).await? {
            DryRun::Unsupported => return Err(Error::UnknownStore),
            DryRun::Done(Found::Nothing) => BTreeSet::new(),
            DryRun::Done(Found::Eligible { blobs, .. }) => blobs,
        }
    };
    let gone = blobs.iter().filter(|(digest, _)| !there.contains(*digest));
    Ok(gone.map(|(digest, size)| (digest.clone(), *size)).collect())
}

/// From the stopping to the end of the sweep: what was swept and how much was marked, or `None` if there
/// was nothing left to sweep.
async fn sweep<S: Site>(
    site: &S,
    request: &CollectionRequest<'_>,
    outside: &impl Outside,
    deadline: Instant,
    blobs: &mut Blobs,
    begun: &mut bool,
) -> Result<Option<(BTreeSet<Digest>, u64)>, Error> {
    if site.interrupts() {
        site.stop(deadline).await?;
    }
    if let Some(error) = site.interference(outside).await {
        return Err(error);
    }
    if site.has_second_dry_run() {
        match site.dry_run(deadline).await? {
            DryRun::Unsupported => {}
            DryRun::Done(Found::Nothing) => return Ok(None),
            DryRun::Done(Found::Eligible { blobs: eligible, .. }) => {
                if eligible.is_empty() {
                    return Ok(None);
                }
                refuse_kept(&eligible, request)?;
                blobs.measure(site, eligible).await?;
            }
        }
    }
    request.recovery_log.record_sweeping(&blobs.sizes, &site.stale()).map_err(Error::RecoveryLog)?;
    *begun = true;
    match unless_interfered(site, outside, site.sweep(deadline)).await? {
        Found::Nothing => Ok(None),
        Found::Eligible { blobs, marked, .. } => Ok(Some((blobs, marked))),
    }
}

/// What comes of a sweep, unless the registry runs before its end or right after it: blobs that it takes for
/// present may be gone a moment later.
async fn unless_interfered<S: Site, T>(
    site: &S,
    outside: &impl Outside,
    sweep: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    // Before anything is begun that would have to be ended again.
    if let Some(error) = site.interference(outside).await {
        return Err(error);
    }
    let interference = async {
        loop {
            sleep(POLL_INTERVAL).await;
            if let Some(error) = site.interference(outside).await {
                return error;
            }
        }
    };
    let swept = tokio::select! {
        biased;
        error = interference => return Err(error),
        swept = sweep => swept?,
    };
    site.interference(outside).await.map_or(Ok(swept), Err)
}

fn refuse_kept(eligible: &BTreeSet<Digest>, request: &CollectionRequest<'_>) -> Result<(), Error> {
    let mut kept = eligible.iter().filter(|digest| (request.is_kept)(digest));
    match kept.next() {
        None => Ok(()),
        Some(digest) => Err(Error::KeptBlob { digest: digest.clone(), count: 1 + kept.count() }),
    }
}

/// A site knows its deadline and not the limit behind it.
fn in_time<T>(result: Result<T, Error>, request: &CollectionRequest<'_>) -> Result<T, Error> {
    result.map_err(|error| match error {
        Error::Timeout { .. } => Error::Timeout { limit: request.timeout },
        other => other,
    })
}

/// What may be swept, with sizes.
struct Blobs {
    /// Whether blobs can be looked at.
    seen: bool,
    /// 0 where the size is not known.
    sizes: BTreeMap<Digest, u64>,
}

impl Blobs {
    /// Makes `eligible` all that may be swept; what is new among them is measured.
    async fn measure<S: Site>(&mut self, site: &S, eligible: BTreeSet<Digest>) -> Result<(), Error> {
        self.sizes.retain(|digest, _| eligible.contains(digest));
        let new: Vec<Digest> = eligible.into_iter().filter(|one| !self.sizes.contains_key(one)).collect();
        if !self.seen {
            self.sizes.extend(new.into_iter().map(|digest| (digest, 0)));
            return Ok(());
        }
        let found = measure(site, new.iter().cloned()).await?;
        if found.is_empty() && !new.is_empty() && self.sizes.is_empty() {
            // The registry sees blobs where we see none: we are looking at the wrong place.
            tracing::warn!(
                "the store is not where the registry's configuration says: bytes are not measured"
            );
            self.seen = false;
        }
        self.sizes.extend(new.into_iter().map(|digest| {
            let size = found.get(&digest).copied().unwrap_or_default();
            (digest, size)
        }));
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.sizes.values().sum()
    }

    /// What is gone after a sweep, and its bytes. Once the registry is back, somebody may push it again.
    async fn removed<S: Site>(
        &self,
        site: &S,
        swept: BTreeSet<Digest>,
        deadline: Instant,
    ) -> Result<(BTreeSet<Digest>, u64), Error> {
        let looks = self.missing(site, swept);
        // The limit stands in the request.
        timeout_at(deadline, looks).await.unwrap_or(Err(Error::Timeout { limit: Duration::ZERO }))
    }

    async fn missing<S: Site>(
        &self,
        site: &S,
        swept: BTreeSet<Digest>,
    ) -> Result<(BTreeSet<Digest>, u64), Error> {
        if !self.seen || !site.sees_blobs().await? {
            return Ok((swept, 0));
        }
        // Between the last look and the sweep of a running registry something may have become eligible. It
        // is gone as well, and its size is not known.
        let all: BTreeSet<Digest> = self.sizes.keys().cloned().chain(swept).collect();
        let there = measure(site, all.iter().cloned()).await?;
        let removed: BTreeSet<Digest> = all.into_iter().filter(|one| !there.contains_key(one)).collect();
        let bytes = removed.iter().filter_map(|digest| self.sizes.get(digest)).sum();
        Ok((removed, bytes))
    }
}

/// The sizes of those that are there.
async fn measure<S: Site>(
    site: &S,
    digests: impl Iterator<Item = Digest>,
) -> Result<BTreeMap<Digest, u64>, Error> {
    let looks = digests.map(|digest| async move {
        let size = site.size(&digest).await?;
        Ok(size.map(|size| (digest, size)))
    });
    stream::iter(looks)
        .buffer_unordered(CONCURRENT_LOOKUPS)
        .try_filter_map(|found| std::future::ready(Ok(found)))
        .try_collect()
        .await
}

/// Sees to it that the registry comes back even if nobody waits for the collection any more.
struct RestoreGuard<'s, S: Site> {
    site: &'s S,
    armed: bool,
    swept: bool,
}

impl<S: Site> Drop for RestoreGuard<'_, S> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        // Without a runtime, or if it ends before this is done, the recovery log is what is left: the next start
        // begins with `restore`.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (site, swept) = (self.site.clone(), self.swept);
            runtime.spawn(restore(site, swept));
        }
    }
}

async fn restore<S: Site>(site: S, swept: bool) {
    if let Err(error) = site.restore(swept).await {
        tracing::error!(%error, "the registry could not be put back after a collection was cancelled");
    }
}
