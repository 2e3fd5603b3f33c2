//! Ten thousand tags over HTTP are planned without an error and counted correctly.

use serial_test::serial;

use crate::support::image::{Content, Image};
use crate::support::real_registry::RealRegistry;
use crate::support::regsweep::Regsweep;

const REPOSITORIES: usize = 200;
const TAGS: usize = 50;

#[test]
#[serial(cpu)]
fn ten_thousand_tags_are_planned_without_an_error() {
    let registry = RealRegistry::options().in_memory().start();
    // One in ten expires. All repositories hold the same images, which share a base layer.
    let images: Vec<(String, Content)> = (0..TAGS)
        .map(|number| {
            let tag = if number % 10 == 0 { format!("old-{number}") } else { format!("v{number}") };
            let image = Image::new(&tag).created("2020-01-01T00:00:00Z").layer("base").build();
            (tag, image)
        })
        .collect();
    let mut store = registry.store();
    for repository in 0..REPOSITORIES {
        for (tag, image) in &images {
            store.write(&format!("team{}/app{repository}", repository % 7), &[tag], image);
        }
    }
    let (expired, kept): (Vec<_>, Vec<_>) = images.iter().partition(|(tag, _)| tag.starts_with("old"));
    let own = |images: &[&(String, Content)]| -> usize {
        images.iter().map(|(_, image)| image.manifest.len() + image.blobs[0].len()).sum()
    };
    // The shared layer stays with what is kept.
    let (bytes, referenced) = (own(&expired), own(&kept) + images[0].1.blobs[1].len());
    let rules = "\
policies:
  - { name: all, repositories: '.*', rules: [{ name: old, tags: 'old-.*', keep: none }] }
";
    let plan = Regsweep::new(&registry.url(), rules).run(&["plan", "--output", "json"]).exits(0);
    let json = plan.json();
    let totals = serde_json::json!({
        "repositories": REPOSITORIES, "tags": REPOSITORIES * TAGS, "manifests": REPOSITORIES * TAGS,
        "delete": REPOSITORIES * TAGS / 10, "untag": 0, "expired_bytes": REPOSITORIES * bytes,
        "referenced_bytes": REPOSITORIES * referenced,
    });
    assert_eq!(json["totals"], totals);
    assert_eq!((&json["failures"], &json["refusals"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert_eq!(registry.mutating_requests(), []);
}
