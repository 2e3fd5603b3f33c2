//! A fake registry over HTTP: it behaves like a given server, and a test can script its answers.
//!
//! It listens on a port of its own, in a thread of its own, so a test may block, and it logs every request.
//! `fake_conformance.rs` compares its 2.8 personality with the real server.

mod answer;
mod auth;
mod lists;
mod manifests;
mod other_servers;
mod state;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use super::image::Content;

pub use auth::{Auth, Bearer};
pub use state::{Links, Personality, Settings, State};
pub use wire::{Canned, Logged, Request};

type Before = Box<dyn FnMut(&Request, &mut State) + Send>;
type On = Box<dyn FnMut(&Request) -> Option<Canned> + Send>;
type After = Box<dyn FnMut(&Request, &mut Canned) + Send>;

/// How to run the fake.
#[derive(Debug, Clone)]
pub struct Options {
    settings: Settings,
}

impl Options {
    /// With deletion disabled.
    pub fn delete_disabled(mut self) -> Self {
        self.settings.delete = false;
        self
    }

    /// In read-only maintenance.
    pub fn readonly(mut self) -> Self {
        self.settings.readonly = true;
        self
    }

    /// Below this path, such as `/registry`, without a slash at the end.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.settings.prefix = prefix.into();
        self
    }

    /// With this many entries as the most (and the default) of a catalog page.
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.settings.max_entries = entries;
        self
    }

    /// With page links of this kind.
    pub fn links(mut self, links: Links) -> Self {
        self.settings.links = links;
        self
    }

    /// Only for authenticated clients.
    pub fn auth(mut self, auth: Auth) -> Self {
        self.settings.auth = auth;
        self
    }

    /// For a user who is no administrator.
    pub fn not_administrator(mut self) -> Self {
        self.settings.administrator = false;
        self
    }

    /// With a tag that is immutable, on Harbor.
    pub fn immutable(mut self, tag: &str) -> Self {
        self.settings.immutable.push(tag.into());
        self
    }

    /// With a user who must not delete a manifest with several tags, on zot.
    pub fn one_tag_only(mut self) -> Self {
        self.settings.one_tag_only = true;
        self
    }

    /// With its blobs in an object store, to which it redirects. The blobs are below `/store/` of the same
    /// address, unless `place` is a URL of its own.
    pub fn redirects(mut self, place: &str) -> Self {
        self.settings.redirect = place.into();
        self
    }

    /// On S3 as distribution 3.1.0 and 3.1.1 are: blobs are redirected, and a tag whose name begins with another's
    /// is not listed (<https://github.com/distribution/distribution/issues/4891>).
    pub fn hiding_on_s3(mut self) -> Self {
        self.settings.hides_tags = true;
        self.redirects("/store/")
    }

    /// With so much time between a request and its answer, so that requests can be seen to overlap.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.settings.latency = latency;
        self
    }

    /// Starts it, empty.
    pub fn start(self) -> FakeRegistry {
        FakeRegistry::run(self.settings)
    }
}

/// A running fake. It stops when the value is dropped.
#[derive(Debug)]
pub struct FakeRegistry {
    shared: Arc<Shared>,
    base: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the test and the server's thread share.
#[derive(Default)]
struct Shared(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    state: State,
    before: Vec<Before>,
    on: Vec<On>,
    after: Vec<After>,
    log: Vec<Logged>,
    in_flight: usize,
    peak: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A hook that panicked has failed its test already; the rest can still be read.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl FakeRegistry {
    /// An empty registry that behaves like this server, without authentication, with deletion enabled.
    pub fn start(personality: Personality) -> Self {
        Self::options(personality).start()
    }

    /// Options to start one with.
    pub fn options(personality: Personality) -> Options {
        let links = if personality == Personality::GitLab { Links::Absolute } else { Links::Relative };
        Options { settings: Settings { personality, links, ..Settings::default() } }
    }

    fn run(mut settings: Settings) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        settings.host = listener.local_addr().unwrap().to_string();
        let base = format!("http://{}{}", settings.host, settings.prefix);
        let shared = Arc::new(Shared::default());
        shared.lock().state.settings = settings;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let served = Arc::clone(&shared);
        let thread = std::thread::spawn(move || wire::serve(listener, served, stopped));
        Self { shared, base, stop: Some(stop), thread: Some(thread) }
    }

    /// The URL of the registry, without `/v2/` and without a slash at the end.
    pub fn url(&self) -> String {
        self.base.clone()
    }

    /// `127.0.0.1:<port>`.
    pub fn host(&self) -> String {
        self.shared.lock().state.settings.host.clone()
    }

    /// Stores the content with everything below it, and tags it.
    pub fn push(&self, repository: &str, tag: &str, content: &Content) {
        self.shared.lock().state.push(repository, tag, content);
    }

    /// Stores the content with everything below it, without a tag.
    pub fn push_untagged(&self, repository: &str, content: &Content) {
        self.shared.lock().state.push_untagged(repository, content);
    }

    /// Adds a tag that is listed and has no manifest.
    pub fn add_dangling_tag(&self, repository: &str, tag: &str) {
        self.shared.lock().state.add_dangling_tag(repository, tag);
    }

    /// Changes the state now.
    pub fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.lock().state);
    }

    /// Calls this with every request before it is answered; it may change what the registry holds.
    pub fn before(&self, hook: impl FnMut(&Request, &mut State) + Send + 'static) {
        self.shared.lock().before.push(Box::new(hook));
    }

    /// Calls this with every request; what it returns is the answer. The first that returns one decides, and the
    /// registry then neither authenticates nor changes anything.
    pub fn on(&self, script: impl FnMut(&Request) -> Option<Canned> + Send + 'static) {
        self.shared.lock().on.push(Box::new(script));
    }

    /// Calls this with the registry's own answers before they are sent, to change them.
    pub fn after(&self, spoil: impl FnMut(&Request, &mut Canned) + Send + 'static) {
        self.shared.lock().after.push(Box::new(spoil));
    }

    /// Every request that was received, in the order in which they were answered. A request is here
    /// before its answer is sent.
    pub fn requests(&self) -> Vec<Logged> {
        self.shared.lock().log.clone()
    }

    /// The requests that could have changed something; token requests cannot.
    pub fn mutating_requests(&self) -> Vec<Logged> {
        let mutating = ["POST", "PUT", "PATCH", "DELETE"];
        let all = self.requests().into_iter();
        all.filter(|one| mutating.contains(&one.method.as_str()) && !one.path.starts_with("/token")).collect()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.shared.lock().log.clear();
    }

    /// The most requests that were under way at once.
    pub fn peak_concurrency(&self) -> usize {
        self.shared.lock().peak
    }

    /// How many tokens were handed out.
    pub fn tokens_issued(&self) -> usize {
        self.shared.lock().state.tokens.issued
    }

    /// Tags of a repository and their digests; dangling tags are left out.
    pub fn tags(&self, repository: &str) -> BTreeMap<String, String> {
        let inner = self.shared.lock();
        let Some(repository) = inner.state.repositories.get(repository) else { return BTreeMap::new() };
        let tags = repository.tags.iter().filter(|(_, digest)| repository.manifests.contains_key(*digest));
        tags.map(|(tag, digest)| (tag.clone(), digest.clone())).collect()
    }

    /// Digests of the manifests in a repository.
    pub fn manifests(&self, repository: &str) -> BTreeSet<String> {
        let inner = self.shared.lock();
        let repository = inner.state.repositories.get(repository);
        repository.map(|held| held.manifests.keys().cloned().collect()).unwrap_or_default()
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
