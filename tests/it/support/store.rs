//! Writes content straight into the filesystem layout of distribution, and reads back what is there.
//!
//! It follows `registry/storage/paths.go`, which is the same in 2.8 and 3.x. No registry takes part,
//! so a hundred thousand tags take half a minute where the folder is in memory (`TMPDIR=/dev/shm`).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::image::{Content, dangling_digest, digest};

/// The storage of one registry.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// Blobs and links that this value wrote, so that a shared layer is written once and not once per tag.
    written: HashSet<String>,
}

/// What one repository holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepositoryContent {
    /// Tags and the digests they point to. Tags that point nowhere are left out.
    pub tags: BTreeMap<String, String>,
    /// Digests of the manifests that belong to it, tagged or not.
    pub manifests: BTreeSet<String>,
}

impl Store {
    /// The storage below this directory, which is the registry's `rootdirectory`.
    pub fn at(rootdirectory: impl AsRef<Path>) -> Self {
        Self { root: rootdirectory.as_ref().join("docker/registry/v2"), written: HashSet::new() }
    }

    /// Stores the content with everything below it under these tags; without tags, by digest alone.
    pub fn write(&mut self, repository: &str, tags: &[&str], content: &Content) {
        let home = self.root.join("repositories").join(repository);
        for part in content.tree() {
            for blob in &part.blobs {
                let digest = digest(blob);
                if self.written.insert(format!("{repository}@{digest}")) {
                    link(&home.join("_layers"), &digest, &digest);
                }
                self.write_blob(digest, blob);
            }
            link(&home.join("_manifests/revisions"), &part.digest, &part.digest);
            self.write_blob(part.digest.clone(), &part.manifest);
        }
        for tag in tags {
            let tag = home.join("_manifests/tags").join(tag);
            link(&tag.join("index"), &content.digest, &content.digest);
            put(&tag.join("current/link"), content.digest.as_bytes());
        }
    }

    /// Writes a tag that is listed and has no manifest, as a crash in the middle of a deletion leaves it.
    pub fn write_dangling_tag(&self, repository: &str, tag: &str) {
        let tags = self.root.join("repositories").join(repository).join("_manifests/tags");
        put(&tags.join(tag).join("current/link"), dangling_digest(tag).as_bytes());
    }

    /// Removes a manifest from a repository and leaves its tags, as a crash in the middle of a deletion does.
    pub fn remove_revision(&self, repository: &str, digest: &str) {
        let (algorithm, hex) = digest.split_once(':').unwrap();
        let revisions = self.root.join("repositories").join(repository).join("_manifests/revisions");
        fs::remove_file(revisions.join(algorithm).join(hex).join("link")).unwrap();
    }

    /// The content of each repository. A repository whose last manifest was deleted is listed, empty.
    pub fn contents(&self) -> BTreeMap<String, RepositoryContent> {
        let mut found = BTreeMap::new();
        collect(&self.root.join("repositories"), "", &mut found);
        found
    }

    /// The content of one repository; empty if there is no such repository.
    pub fn repository(&self, repository: &str) -> RepositoryContent {
        read_repository(&self.root.join("repositories").join(repository))
    }

    /// Whether a blob (or a manifest's content) is stored, for any repository.
    pub fn has_blob(&self, digest: &str) -> bool {
        self.blob_path(digest).is_file()
    }

    /// Bytes of everything under `blobs/`.
    pub fn blob_bytes(&self) -> u64 {
        fn bytes(folder: &Path) -> u64 {
            let sum = |(_, path): (String, PathBuf)| match fs::metadata(&path) {
                Ok(found) if found.is_dir() => bytes(&path),
                Ok(found) => found.len(),
                Err(_) => 0,
            };
            entries(folder).into_iter().map(sum).sum()
        }
        bytes(&self.root.join("blobs"))
    }

    /// The file of a blob (or a manifest's content), for tests that damage it.
    pub fn blob_path(&self, digest: &str) -> PathBuf {
        let (algorithm, hex) = digest.split_once(':').unwrap();
        self.root.join("blobs").join(algorithm).join(&hex[..2]).join(hex).join("data")
    }

    fn write_blob(&mut self, digest: String, bytes: &[u8]) {
        let path = self.blob_path(&digest);
        if self.written.insert(digest) {
            put(&path, bytes);
        }
    }
}

fn collect(folder: &Path, name: &str, found: &mut BTreeMap<String, RepositoryContent>) {
    if folder.join("_manifests").is_dir() || folder.join("_layers").is_dir() {
        found.insert(name.to_owned(), read_repository(folder));
    }
    for (part, path) in entries(folder) {
        if !part.starts_with('_') {
            let name = if name.is_empty() { part } else { format!("{name}/{part}") };
            collect(&path, &name, found);
        }
    }
}

fn read_repository(home: &Path) -> RepositoryContent {
    let tagged = entries(&home.join("_manifests/tags")).into_iter().filter_map(|(tag, path)| {
        let link = fs::read_to_string(path.join("current/link")).ok()?;
        let (algorithm, hex) = link.split_once(':')?;
        let revision = home.join("_manifests/revisions").join(algorithm).join(hex).join("link");
        revision.is_file().then_some((tag, link))
    });
    let algorithms = entries(&home.join("_manifests/revisions")).into_iter();
    let revisions = algorithms.flat_map(|(_, path)| entries(&path));
    let linked = revisions.filter_map(|(_, path)| fs::read_to_string(path.join("link")).ok());
    RepositoryContent { tags: tagged.collect(), manifests: linked.collect() }
}

fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let named = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), entry.path())
    };
    entries.map(named).collect()
}

/// Writes `<folder>/<algorithm>/<hex>/link`.
fn link(folder: &Path, digest: &str, target: &str) {
    let (algorithm, hex) = digest.split_once(':').unwrap();
    let mut path = folder.join(algorithm);
    path.push(hex);
    path.push("link");
    put(&path, target.as_bytes());
}

fn put(path: &Path, bytes: &[u8]) {
    if let Err(error) = fs::write(path, bytes) {
        // The folder is there already for all but the first file in it.
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{}: {error}", path.display());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}
