//! The order of the steps of a collection: dry run, comparison with what is kept, stop, second dry run, sweep,
//! measurement, restore.
//!
//! It is the same for every sweeper, interruption and runtime, and does not know which they are.

use std::collections::BTreeSet;

use crate::gc::blobs::Blobs;
use crate::gc::cache_cleaner::CacheCleaner;
use crate::gc::error::Error;
use crate::gc::interference::InterferenceCheck;
use crate::gc::interruption::Interruption;
use crate::gc::request::{CollectionRequest, RegistryProbe};
use crate::gc::result::{CollectionResult, Reclaimed};
use crate::gc::sweeper::{DryRun, Findings, Sweeper};
use crate::model::Digest;
use crate::runtime::{Changes, Deadline, Instance, with_retries};

/// What one collection is put together from.
#[derive(Debug, Clone)]
pub(super) struct Collection<S> {
    pub(super) sweeper: S,
    pub(super) interruption: Interruption,
    pub(super) registry: Instance,
    pub(super) cache: CacheCleaner,
}

/// Collects once. However it ends, the registry is restored; if the returned future is dropped, a task does that.
pub(super) async fn collect<S: Sweeper, P: RegistryProbe>(
    collection: &Collection<S>,
    request: &CollectionRequest<'_, P>,
) -> Result<CollectionResult, Error> {
    let deadline = Deadline::after(request.timeout);
    // A dry run changes nothing and can take long, so a stop of regsweep need not wait for its end.
    let first = first_dry_run(collection, request, deadline);
    let first = request.cancellation.unless_cancelled_before_stop(first).await;
    if first.is_err()
        && let Err(error) = collection.sweeper.end().await
    {
        tracing::warn!(%error, "the dry run may go on; it changes nothing");
    }
    let mut blobs = match first? {
        FirstDryRun::Worthwhile(blobs) => blobs,
        FirstDryRun::Finished(result) => return Ok(result),
    };
    let takes_down = collection.interruption.takes_down();
    if takes_down {
        request.recovery_log.record_stopping().map_err(Error::RecoveryLog)?;
        if let Some(at) = collection.registry.started_at().await {
            request.recovery_log.record_started_at(&at).map_err(Error::RecoveryLog)?;
        }
    }
    let mut guard = RestoreGuard { collection, is_armed: true, swept: false };
    let swept = async {
        Ok(match sweep(collection, request, deadline, &mut blobs, &mut guard.swept).await? {
            Some((swept, marked)) => {
                Some((blobs.removed(&collection.sweeper, swept, deadline).await?, marked))
            }
            None => None,
        })
    };
    let swept = request.cancellation.unless_cancelled(swept).await;
    // This is not cancelled, since the registry must not stay down.
    let restored = collection.restore(guard.swept).await;
    guard.is_armed = false;
    if restored.is_ok() && guard.swept {
        request.recovery_log.record_cache_cleared().map_err(Error::RecoveryLog)?;
    }
    if let Err(source) = restored {
        return Err(Error::Down { source: Box::new(source), during: swept.err().map(Box::new) });
    }
    if takes_down {
        if !request.probe.wait_until_ready().await {
            let during = swept.err().map(Box::new);
            return Err(Error::Down { source: Box::new(Error::Silent), during });
        }
        request.recovery_log.record_restored().map_err(Error::RecoveryLog)?;
    }
    let Some(((removed, bytes), marked)) = swept? else { return Ok(CollectionResult::NothingToDo) };
    let blobs = removed.len() as u64;
    Ok(CollectionResult::Reclaimed(Reclaimed { blobs, bytes, marked, removed }))
}

/// The outcome of a dry run while the registry runs.
enum FirstDryRun {
    /// These blobs are worth a collection.
    Worthwhile(Blobs),
    /// The collection ends here.
    Finished(CollectionResult),
}

async fn first_dry_run<S: Sweeper, P>(
    collection: &Collection<S>,
    request: &CollectionRequest<'_, P>,
    deadline: Deadline,
) -> Result<FirstDryRun, Error> {
    let mut blobs = Blobs::none(&collection.sweeper).await?;
    let eligible = match collection.dry_run(deadline).await? {
        DryRun::Unsupported => return Ok(FirstDryRun::Worthwhile(blobs)),
        DryRun::Done(Findings::EmptyStorage) if blobs.are_seen() => return Err(Error::NoRepositories),
        DryRun::Done(Findings::EmptyStorage) => {
            return Ok(FirstDryRun::Finished(CollectionResult::NothingToDo));
        }
        DryRun::Done(Findings::Eligible { blobs, .. }) => blobs,
    };
    if eligible.is_empty() {
        return Ok(FirstDryRun::Finished(CollectionResult::NothingToDo));
    }
    refuse_kept(&eligible, request.is_kept)?;
    blobs.replace(&collection.sweeper, eligible).await?;
    let reclaimable = blobs.bytes();
    if blobs.are_seen() && reclaimable < request.min_reclaimable {
        return Ok(FirstDryRun::Finished(CollectionResult::BelowMinimum { reclaimable }));
    }
    Ok(FirstDryRun::Worthwhile(blobs))
}

/// From the stop to the end of the sweep: what was swept and how much was marked, or `None` if nothing was left to
/// sweep. `is_begun` is set when the sweep is begun, so that the caller knows it also if this fails or is dropped.
async fn sweep<S: Sweeper, P: RegistryProbe>(
    collection: &Collection<S>,
    request: &CollectionRequest<'_, P>,
    deadline: Deadline,
    blobs: &mut Blobs,
    is_begun: &mut bool,
) -> Result<Option<(BTreeSet<Digest>, u64)>, Error> {
    let Collection { sweeper, interruption, registry, cache } = collection;
    if interruption.stops() {
        registry.stop(deadline).await?;
    }
    let must_stay_down = interruption.must_stay_down() && !sweeper.may_start_registry();
    let interference = InterferenceCheck::new(registry, request.probe, must_stay_down);
    interference.check().await?;
    if interruption.has_second_dry_run() {
        match collection.dry_run(deadline).await? {
            DryRun::Unsupported => {}
            DryRun::Done(Findings::EmptyStorage) => return Ok(None),
            DryRun::Done(Findings::Eligible { blobs: eligible, .. }) => {
                if eligible.is_empty() {
                    return Ok(None);
                }
                refuse_kept(&eligible, request.is_kept)?;
                blobs.replace(sweeper, eligible).await?;
            }
        }
    }
    request.recovery_log.record_sweeping(blobs.sizes(), &cache.stale()).map_err(Error::RecoveryLog)?;
    *is_begun = true;
    let findings = interference.unless_running(sweeper.sweep(deadline)).await?;
    cache.add(&findings);
    match findings {
        Findings::EmptyStorage => Ok(None),
        Findings::Eligible { blobs, marked, .. } => Ok(Some((blobs, marked))),
    }
}

/// An error if a sweep would remove a blob that is kept.
fn refuse_kept(eligible: &BTreeSet<Digest>, is_kept: &dyn Fn(&Digest) -> bool) -> Result<(), Error> {
    let mut kept = eligible.iter().filter(|digest| is_kept(digest));
    match kept.next() {
        None => Ok(()),
        Some(digest) => Err(Error::KeptBlob { digest: digest.clone(), count: 1 + kept.count() }),
    }
}

impl<S: Sweeper> Collection<S> {
    async fn dry_run(&self, deadline: Deadline) -> Result<DryRun, Error> {
        let dry_run = self.sweeper.dry_run(deadline).await?;
        if let DryRun::Done(findings) = &dry_run {
            self.cache.add(findings);
        }
        Ok(dry_run)
    }

    /// Ends what still runs, clears the cache if a sweep was begun, and puts the registry back as it was found.
    async fn restore(&self, swept: bool) -> Result<(), Error> {
        let clears_cache = swept && self.cache.is_needed();
        if clears_cache {
            // A sweep that goes on would make the cache wrong again.
            self.sweeper.end().await?;
            // Before the registry is started, or it would answer a push that swept blobs exist. If it cannot be done, the
            // registry stays down: that is noticed and can be mended, and an image without layers is neither.
            self.cache.clear().await?;
        }
        let changes = Changes { stopped: self.interruption.stops(), swept };
        let attempt = || async {
            self.sweeper.end().await?;
            self.registry.restore(changes).await?;
            Ok(())
        };
        with_retries(attempt, Error::is_transient).await?;
        if clears_cache {
            // The registry may have run during the sweep, and have cached a blob again just before it was removed.
            self.cache.clear().await?;
        }
        Ok(())
    }
}

/// Restores the registry if the collection is dropped.
struct RestoreGuard<'c, S: Sweeper> {
    collection: &'c Collection<S>,
    is_armed: bool,
    swept: bool,
}

impl<S: Sweeper> Drop for RestoreGuard<'_, S> {
    fn drop(&mut self) {
        if !self.is_armed {
            return;
        }
        // Without an async runtime, or if it ends before this is done, the recovery log remains: the next start begins
        // with `Collector::restore`.
        if let Ok(tokio) = tokio::runtime::Handle::try_current() {
            let (collection, swept) = (self.collection.clone(), self.swept);
            tokio.spawn(async move {
                if let Err(error) = collection.restore(swept).await {
                    tracing::error!(%error, "the registry could not be restored after a collection was cancelled");
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use chrono::TimeDelta;

    use super::*;
    use crate::config::{self, GcSchedule};
    use crate::gc::recovery_log::RecoveryLog;
    use crate::gc::request::Cancellation;
    use crate::runtime::Runtime;

    /// The steps of a collection in the order in which they were begun.
    type Steps = Arc<Mutex<Vec<&'static str>>>;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Sweep {
        Succeeds,
        NeverEnds,
    }

    /// A sweeper of one blob.
    #[derive(Clone)]
    struct TestSweeper {
        steps: Steps,
        sweep: Sweep,
    }

    impl TestSweeper {
        fn findings(&self, step: &'static str) -> Findings {
            self.steps.lock().unwrap().push(step);
            Findings::Eligible {
                blobs: [Digest::of(b"garbage")].into(),
                unlinked: BTreeSet::new(),
                marked: 3,
            }
        }
    }

    impl Sweeper for TestSweeper {
        async fn dry_run(&self, _: Deadline) -> Result<DryRun, Error> {
            Ok(DryRun::Done(self.findings("dry run")))
        }

        async fn sees_blobs(&self) -> Result<bool, Error> {
            Ok(false)
        }

        async fn blob_size(&self, _: &Digest) -> Result<Option<u64>, Error> {
            Ok(None)
        }

        async fn sweep(&self, _: Deadline) -> Result<Findings, Error> {
            let findings = self.findings("sweep");
            if self.sweep == Sweep::NeverEnds {
                std::future::pending::<()>().await;
            }
            Ok(findings)
        }

        async fn end(&self) -> Result<(), Error> {
            self.steps.lock().unwrap().push("end");
            Ok(())
        }

        fn may_start_registry(&self) -> bool {
            false
        }
    }

    struct TestRecoveryLog(Steps);

    impl TestRecoveryLog {
        fn record(&self, step: &'static str) -> anyhow::Result<()> {
            self.0.lock().unwrap().push(step);
            Ok(())
        }
    }

    impl RecoveryLog for TestRecoveryLog {
        fn record_stopping(&self) -> anyhow::Result<()> {
            self.record("record stopping")
        }

        fn record_started_at(&self, _: &str) -> anyhow::Result<()> {
            self.record("record started at")
        }

        fn record_restored(&self) -> anyhow::Result<()> {
            self.record("record restored")
        }

        fn record_sweeping(&self, _: &BTreeMap<Digest, u64>, _: &BTreeSet<Digest>) -> anyhow::Result<()> {
            self.record("record sweeping")
        }

        fn record_cache_cleared(&self) -> anyhow::Result<()> {
            self.record("record cache cleared")
        }
    }

    /// A collection of a registry whose commands create the files `before` and `after`.
    async fn collection(folder: &Path, steps: &Steps, sweep: Sweep) -> Collection<TestSweeper> {
        let touch = |name: &str| vec!["touch".to_owned(), folder.join(name).display().to_string()];
        let gc = config::Gc {
            schedule: GcSchedule::AfterRun,
            min_reclaimable: 0,
            grace: TimeDelta::zero(),
            timeout: Duration::from_secs(60),
            interruption: config::Interruption::Stop,
            collector: config::Collector::Command {
                before: touch("before"),
                run: vec!["true".to_owned()],
                cancel: Vec::new(),
                after: touch("after"),
            },
            cache: None,
            redis: None,
        };
        let registry = Runtime::new(&gc, "unix:///none", None).unwrap().find().await.unwrap();
        let sweeper = TestSweeper { steps: steps.clone(), sweep };
        let cache = CacheCleaner::new(None);
        Collection { sweeper, interruption: Interruption::Stop, registry, cache }
    }

    async fn run(
        collection: &Collection<TestSweeper>,
        steps: &Steps,
        is_kept: bool,
        cancellation: &Cancellation,
    ) -> Result<CollectionResult, Error> {
        let recovery_log = TestRecoveryLog(steps.clone());
        let request = CollectionRequest {
            timeout: Duration::from_secs(60),
            min_reclaimable: 0,
            is_kept: &|_| is_kept,
            recovery_log: &recovery_log,
            probe: &|| async { true },
            cancellation,
        };
        collect(collection, &request).await
    }

    /// Waits until the sweep has begun.
    async fn sweep_is_begun(steps: &Steps) {
        while !steps.lock().unwrap().contains(&"sweep") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    const UNTIL_SWEEP: [&str; 5] = ["dry run", "record stopping", "dry run", "record sweeping", "sweep"];
    const RESTORE: [&str; 3] = ["end", "record cache cleared", "record restored"];

    #[tokio::test]
    async fn steps_are_recorded_before_they_are_taken() {
        let (folder, steps) = (tempfile::tempdir().unwrap(), Steps::default());
        let collection = collection(folder.path(), &steps, Sweep::Succeeds).await;
        let result = run(&collection, &steps, false, &Cancellation::default()).await.unwrap();
        let CollectionResult::Reclaimed(reclaimed) = result else { panic!("{result:?}") };
        assert_eq!((reclaimed.blobs, reclaimed.marked), (1, 3));
        assert_eq!(*steps.lock().unwrap(), [&UNTIL_SWEEP[..], &RESTORE[..]].concat());
        assert!(folder.path().join("before").exists() && folder.path().join("after").exists());
    }

    #[tokio::test]
    async fn kept_blob_stops_no_registry() {
        let (folder, steps) = (tempfile::tempdir().unwrap(), Steps::default());
        let collection = collection(folder.path(), &steps, Sweep::Succeeds).await;
        let error = run(&collection, &steps, true, &Cancellation::default()).await.unwrap_err();
        assert_eq!(error.kind(), "kept_blob");
        assert_eq!(*steps.lock().unwrap(), ["dry run", "end"]);
        assert!(!folder.path().join("before").exists());
    }

    #[tokio::test]
    async fn cancelled_collection_restores_the_registry() {
        let (folder, steps) = (tempfile::tempdir().unwrap(), Steps::default());
        let collection = collection(folder.path(), &steps, Sweep::NeverEnds).await;
        let cancellation = Cancellation::default();
        let cancel = async {
            sweep_is_begun(&steps).await;
            cancellation.at_once.cancel();
        };
        let (result, ()) = tokio::join!(run(&collection, &steps, false, &cancellation), cancel);
        assert_eq!(result.unwrap_err().kind(), "ended");
        assert_eq!(*steps.lock().unwrap(), [&UNTIL_SWEEP[..], &RESTORE[..]].concat());
        assert!(folder.path().join("after").exists());
    }

    #[tokio::test]
    async fn dropped_collection_restores_the_registry() {
        let (folder, steps) = (tempfile::tempdir().unwrap(), Steps::default());
        let collection = collection(folder.path(), &steps, Sweep::NeverEnds).await;
        let cancellation = Cancellation::default();
        tokio::select! {
            result = run(&collection, &steps, false, &cancellation) => panic!("{result:?}"),
            () = sweep_is_begun(&steps) => {}
        }
        while !folder.path().join("after").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(*steps.lock().unwrap(), [&UNTIL_SWEEP[..], &["end"]].concat());
    }
}
