//! Work that waits for the disk, on threads of its own, so that requests go on meanwhile.

/// The result of blocking work. A panic in it is raised again here.
pub(super) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
