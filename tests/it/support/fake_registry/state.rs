//! What the fake holds, and its settings.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::image::{Content, dangling_digest, digest};
use super::auth::{Auth, Tokens};

/// The server that the fake imitates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Personality {
    /// distribution 2.8.2 and 2.8.3.
    #[default]
    V2_8,
    /// distribution 3.0.0.
    V3_0,
    /// distribution 3.1.1.
    V3_1,
    /// A registry that follows OCI 1.1 to the letter, with referrers and tag deletion.
    Oci11,
    /// zot 2: as OCI 1.1, but it guards the children of indexes, and an unknown repository is 400.
    Zot,
    /// Harbor 2: a catalog for administrators alone, codes of its own, no tag deletion; an index takes its
    /// children with it.
    Harbor,
    /// GitLab's fork of distribution: a catalog for administrators alone, tag deletion, absolute links.
    /// That a deletion needs the scope `*` is assumed.
    GitLab,
    /// Docker Hub: no catalog and no deletion.
    DockerHub,
    /// The GitHub container registry: no catalog, no deletion and no referrers.
    Ghcr,
}

impl Personality {
    /// Whether it is distribution itself, which converts, walks a storage, and can be in maintenance.
    pub fn is_distribution(self) -> bool {
        matches!(self, Self::V2_8 | Self::V3_0 | Self::V3_1)
    }

    /// Whether it can list referrers. Of Docker Hub it is assumed that it cannot.
    pub fn has_referrers(self) -> bool {
        matches!(self, Self::Oci11 | Self::Zot | Self::Harbor)
    }

    /// Whether it has a catalog.
    pub fn has_catalog(self) -> bool {
        !matches!(self, Self::DockerHub | Self::Ghcr)
    }

    /// The name that its token service goes by.
    pub fn service(self) -> &'static str {
        match self {
            Self::Harbor => "harbor-registry",
            Self::GitLab => "container_registry",
            Self::DockerHub => "registry.docker.io",
            Self::Ghcr => "ghcr.io",
            _ => "fake.registry",
        }
    }
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
    /// The imitated server.
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
    /// How clients authenticate.
    pub auth: Auth,
    /// Whether the user is an administrator, where that makes a difference.
    pub administrator: bool,
    /// Tags that are immutable on Harbor.
    pub immutable: Vec<String>,
    /// Whether zot refuses to delete a manifest with several tags.
    pub one_tag_only: bool,
    /// Where requests for blobs are redirected: a URL before the digest, as of an object store. Empty: nowhere.
    pub redirect: String,
    /// Whether a tag is left out of lists if its name begins with another tag's (3.1.0 and 3.1.1 on S3).
    pub hides_tags: bool,
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
            administrator: true,
            immutable: Vec::new(),
            one_tag_only: false,
            redirect: String::new(),
            hides_tags: false,
            latency: Duration::ZERO,
            host: String::new(),
        }
    }
}

/// The state of the fake.
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
    /// Tags and digests. A tag whose digest is not in `manifests` is dangling.
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
    pub fn add_dangling_tag(&mut self, repository: &str, tag: &str) {
        self.tag(repository, tag, &dangling_digest(tag));
    }

    /// Makes all issued tokens invalid.
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
