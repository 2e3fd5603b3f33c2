//! Writes a store like that of a large registry: repositories of up to 500 tags, shared base layers, and for each
//! tag a configuration, a layer and a manifest of its own, created over the last two years.

use std::fmt::Write as _;
use std::path::Path;
use std::thread;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use crate::support::image::{Content, OCI_MANIFEST, digest};
use crate::support::store::Store;

/// Tags of the repositories, repeated: a thousand in five.
const REPOSITORIES: [usize; 5] = [500, 250, 100, 100, 50];
/// Base layers that all images of a team share.
const BASE_LAYERS: usize = 5;
/// Steps in the history of a configuration.
const STEPS: usize = 12;

/// The written content.
pub(crate) struct Filled {
    pub(crate) repositories: Vec<Repository>,
}

/// One repository.
pub(crate) struct Repository {
    pub(crate) name: String,
    /// Newest first.
    pub(crate) tags: Vec<Tagged>,
}

/// A tag, with the digests of its manifest and configuration.
pub(crate) struct Tagged {
    pub(crate) tag: String,
    pub(crate) digest: String,
    pub(crate) config: String,
}

impl Filled {
    /// Writes so many tags into the storage below this directory.
    pub(crate) fn write(rootdirectory: &Path, tags: usize, now: DateTime<Utc>) -> Self {
        let mut left = tags;
        let counts = REPOSITORIES.iter().cycle().map_while(|&count| {
            let count = count.min(left);
            left -= count;
            (count > 0).then_some(count)
        });
        Self::write_repositories(rootdirectory, counts, now)
    }

    /// Writes repositories of so many tags.
    pub(crate) fn write_repositories(
        rootdirectory: &Path,
        counts: impl Iterator<Item = usize>,
        now: DateTime<Utc>,
    ) -> Self {
        let shape: Vec<(usize, usize)> = counts.enumerate().collect();
        let halves = shape.split_at(shape.len() / 2);
        let write = |half: &[(usize, usize)]| -> Vec<Repository> {
            let mut store = Store::at(rootdirectory);
            let write = |&(number, count): &(usize, usize)| {
                let name = format!("team-{}/app-{number}", number % 7);
                let tags = (0..count).map(|position| {
                    let tag = format!("1.{position}.0-build.{}", position * 37 % 1000);
                    // Two years, evenly, the youngest a few hours old.
                    let age = TimeDelta::hours(5)
                        + TimeDelta::days(730) * i32::try_from(position).unwrap()
                            / i32::try_from(count).unwrap();
                    let content = image(&format!("{name}:{tag}"), number % 7, now - age);
                    store.write(&name, &[&tag], &content);
                    Tagged { tag, config: content.config_digest(), digest: content.digest }
                });
                let tags = tags.collect();
                Repository { name, tags }
            };
            half.iter().map(write).collect()
        };
        let repositories = thread::scope(|scope| {
            let second = scope.spawn(|| write(halves.1));
            let mut repositories = write(halves.0);
            repositories.extend(second.join().unwrap());
            repositories
        });
        Self { repositories }
    }

    /// `repository:tag` of everything.
    pub(crate) fn references(&self) -> impl Iterator<Item = String> {
        let all = self.repositories.iter();
        all.flat_map(|one| one.tags.iter().map(move |tagged| format!("{}:{}", one.name, tagged.tag)))
    }
}

/// An image with a manifest and a configuration of usual size. Its layers have a few bytes.
fn image(name: &str, team: usize, created: DateTime<Utc>) -> Content {
    let created = created.to_rfc3339_opts(SecondsFormat::Nanos, true);
    let mut layers: Vec<Vec<u8>> =
        (0..BASE_LAYERS).map(|layer| format!("base layer {layer} of team {team}").into_bytes()).collect();
    layers.push(format!("layer of {name}").into_bytes());
    let digests: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    let config = config(name, &created, &digests).into_bytes();
    let mut manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":["#,
        digest(&config),
        config.len(),
    );
    for (position, (layer, digest)) in layers.iter().zip(&digests).enumerate() {
        let comma = if position == 0 { "" } else { "," };
        let _ = write!(
            manifest,
            r#"{comma}{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{digest}","size":{}}}"#,
            layer.len(),
        );
    }
    manifest += "]}";
    let manifest = manifest.into_bytes();
    let blobs = [config].into_iter().chain(layers).collect();
    let digest = digest(&manifest);
    Content { manifest, media_type: OCI_MANIFEST, digest, blobs, children: Vec::new(), platform: None }
}

fn config(name: &str, created: &str, layers: &[String]) -> String {
    let mut config = format!(
        r#"{{"architecture":"amd64","os":"linux","created":"{created}","config":{{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","LANG=C.UTF-8"],"Entrypoint":["/usr/local/bin/app"],"WorkingDir":"/srv","Labels":{{"org.opencontainers.image.ref.name":"{name}","org.opencontainers.image.vendor":"team"}}}},"history":["#,
    );
    for step in 0..STEPS {
        let comma = if step == 0 { "" } else { "," };
        let empty = if step < STEPS - layers.len() { r#","empty_layer":true"# } else { "" };
        let _ = write!(
            config,
            r#"{comma}{{"created":"{created}","created_by":"RUN /bin/sh -c make install-step-{step} PREFIX=/usr/local # buildkit","comment":"buildkit.dockerfile.v0"{empty}}}"#,
        );
    }
    let _ = write!(config, r#"],"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#, layers.join(r#"",""#));
    config
}
