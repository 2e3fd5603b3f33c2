//! The metrics as Prometheus scrapes them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::harness::{busy, get};

/// Every metric with its labels.
const METRICS: [(&str, &[&str]); 41] = [
    ("build_info", &["revision", "version"]),
    ("config_last_reload_successful", &[]),
    ("config_last_reload_success_timestamp_seconds", &[]),
    ("unknown_registries", &[]),
    ("registry_up", &["registry"]),
    ("registry_stopped", &["registry"]),
    ("repositories", &["registry"]),
    ("tags", &["registry"]),
    ("manifests", &["registry"]),
    ("referenced_bytes", &["registry"]),
    ("expired_manifests", &["registry"]),
    ("expired_bytes", &["registry"]),
    ("held_back_manifests", &["registry"]),
    ("held_back_bytes", &["registry"]),
    ("runs_total", &["outcome", "registry"]),
    ("run_duration_seconds_sum", &["registry"]),
    ("run_duration_seconds_bucket", &["registry", "le"]),
    ("last_run_timestamp_seconds", &["registry"]),
    ("last_success_timestamp_seconds", &["registry"]),
    ("next_run_timestamp_seconds", &["registry"]),
    ("run_started_timestamp_seconds", &["registry"]),
    ("run_timeout_seconds", &["registry"]),
    ("last_run_outcome", &["outcome", "registry"]),
    ("last_run_refusals", &["limit", "registry"]),
    ("deleted_manifests_total", &["policy", "registry"]),
    ("deleted_tags_total", &["policy", "registry"]),
    ("repository_failures_total", &["kind", "registry"]),
    ("limit_refusals_total", &["limit", "registry"]),
    ("gc_runs_total", &["outcome", "registry"]),
    ("gc_duration_seconds_bucket", &["registry", "le"]),
    ("gc_downtime_seconds_bucket", &["registry", "le"]),
    ("gc_last_success_timestamp_seconds", &["registry"]),
    ("gc_last_run_successful", &["registry"]),
    ("gc_next_timestamp_seconds", &["registry"]),
    ("reclaimed_bytes_total", &["registry"]),
    ("reclaimed_blobs_total", &["registry"]),
    ("reclaimable_bytes", &["registry"]),
    ("deleted_uncollected_bytes", &["registry"]),
    ("registry_requests_total", &["code", "method", "registry"]),
    ("registry_request_duration_seconds_bucket", &["method", "registry", "le"]),
    ("registry_retries_total", &["registry"]),
];

#[tokio::test]
async fn metrics_pass_promtool() {
    let response = get(&format!("{}/metrics", busy().await)).await;
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4");
    let text = response.text().await.unwrap();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool (Debian: prometheus) is installed");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && printed.is_empty(), "{printed}");
}

#[tokio::test]
async fn metrics_have_their_labels_and_are_documented() {
    let text = get(&format!("{}/metrics", busy().await)).await.text().await.unwrap();
    for (name, labels) in METRICS {
        let name = format!("regsweep_{name}");
        let line = text.lines().find(|line| line.split(['{', ' ']).next() == Some(&name));
        let line = line.unwrap_or_else(|| panic!("no {name}"));
        let inside = line.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
        let found: Vec<&str> = inside.split(',').filter_map(|label| Some(label.split_once('=')?.0)).collect();
        assert_eq!(found, labels, "{line}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family =
            name.strip_suffix("_count").map_or_else(|| name.to_owned(), |name| format!("{name}_sum"));
        let bucket = family.replace("_sum", "_bucket");
        let known =
            |(own, _): &(&str, _)| [family.as_str(), &bucket].contains(&format!("regsweep_{own}").as_str());
        assert!(name.starts_with("process_") || METRICS.iter().any(known), "{name} is not in the design");
    }
    assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
    let documented = include_str!("../../../docs/metrics.md");
    for (name, _) in METRICS {
        let name = name.trim_end_matches("_sum").trim_end_matches("_bucket");
        assert!(documented.contains(&format!("| `{name}` |")), "docs/metrics.md does not know {name}");
    }
}
