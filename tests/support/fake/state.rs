//! What the fake holds, and how it was told to behave.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::image::{Content, digest, ghost_digest};
use super::auth::{Auth, Tokens};

/// The server whose behaviour is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Personality {
    /// distribution 2.8.2 and 2.8.3.
    #[default]
    V2_8,
    /// distribution 3.0.0.
    V3_0,
    /// distribution 3.1.1.
    V3_1,
    /// A registry that follows OCI 1.1 with referrers and tag deletion, such as zot.
    Oci11,
}

/// How links to the next page are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Links {
    /// Path and query, as distribution does.
    #[default]
    Relative,
    /// With scheme and host.
    Absolute,
    /// With the scheme and the host given, such as `http://elsewhere:5000`.
    To(String),
}

/// How the fake behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Like which server.
    pub personality: Personality,
    /// Whether deletion is enabled.
    pub delete: bool,
    /// Whether it is in read-only maintenance.
    pub readonly: bool,
    /// The path before `/v2/`.
    pub prefix: String,
    /// Links to the next page.
    pub links: Links,
    /// The most entries of one catalog page.
    pub max_entries: usize,
    /// Who may ask.
    pub auth: Auth,
    /// Time between a request and its answer.
    pub latency: Duration,
    /// `127.0.0.1:<port>`; set when it starts.
    pub host: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            personality: Personality::default(),
            delete: true,
            readonly: false,
            prefix: String::new(),
            links: Links::default(),
            max_entries: 1000,
            auth: Auth::None,
            latency: Duration::ZERO,
            host: String::new(),
        }
    }
}

/// Everything that the fake knows.
#[derive(Debug, Default)]
pub struct State {
    /// How it behaves.
    pub settings: Settings,
    /// What it holds.
    pub repositories: BTreeMap<String, Repository>,
    pub(super) tokens: Tokens,
}

/// What one repository holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repository {
    /// Tags and digests. A tag whose digest is not in `manifests` is a ghost.
    pub tags: BTreeMap<String, String>,
    /// Manifests by digest: media type and bytes.
    pub manifests: BTreeMap<String, (String, Vec<u8>)>,
    /// Configurations and layers by digest.
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// Whether it ever had a tag. To distribution, one that had none has no list of tags.
    pub was_tagged: bool,
    /// Whether it ever had a layer, which is what makes 2.8 list it.
    pub had_blobs: bool,
}

impl State {
    /// Stores the content with everything below it, and tags it.
    pub fn push(&mut self, repository: &str, tag: &str, content: &Content) {
        self.push_untagged(repository, content);
        self.tag(repository, tag, &content.digest);
    }

    /// Stores the content with everything below it, without a tag.
    pub fn push_untagged(&mut self, repository: &str, content: &Content) {
        let repository = self.repositories.entry(repository.into()).or_default();
        for part in content.tree() {
            let manifest = (part.media_type.to_owned(), part.manifest.clone());
            repository.manifests.insert(part.digest.clone(), manifest);
            repository.had_blobs |= !part.blobs.is_empty();
            repository.blobs.extend(part.blobs.iter().map(|blob| (digest(blob), blob.clone())));
        }
    }

    /// Adds a tag that is listed and has no manifest.
    pub fn ghost(&mut self, repository: &str, tag: &str) {
        self.tag(repository, tag, &ghost_digest(tag));
    }

    /// Lets no token that was handed out be good any longer.
    pub fn revoke_tokens(&mut self) {
        self.tokens.revoke();
    }

    /// Points a tag to a digest.
    pub fn tag(&mut self, repository: &str, tag: &str, digest: &str) {
        let repository = self.repositories.entry(repository.into()).or_default();
        repository.was_tagged = true;
        repository.tags.insert(tag.into(), digest.into());
    }
}
