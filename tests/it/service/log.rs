//! The log of the service.

use serde_json::Value;

use super::harness::{EACH_SECOND, Host, Installation, fill};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletion_is_one_log_event() {
    let host = Host::start().await;
    let filled = fill(&host.registry.url(), host.registry.store()).await;
    let installation = Installation::new(EACH_SECOND, &[format!("url: {}", host.registry.url())]);
    let serving = installation.serve().await;
    serving.until_metric("deleted_manifests_total", &["policy=\"apps\""], 4.0).await;
    let log = serving.stop().await;
    let events: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let deletions: Vec<&Value> =
        events.iter().filter(|event| event["message"] == "deleted a manifest").collect();
    assert_eq!(deletions.len(), 4, "{log}");
    for (number, old) in filled.old.iter().enumerate() {
        let of: Vec<_> = deletions.iter().filter(|event| event["digest"] == old.digest.as_str()).collect();
        let [event] = of.as_slice() else { panic!("{log}") };
        assert_eq!(event["registry"], "main");
        assert_eq!(event["repository"], "team/app");
        assert_eq!(event["policy"], "apps");
        assert_eq!(event["level"], "INFO");
        assert_eq!(event["already_gone"], false);
        assert!(event["bytes"].as_u64().unwrap() > 0);
        for (field, word) in [("tags", format!("build-{number}")), ("rules", "builds".into())] {
            assert!(event[field].to_string().contains(&word), "{event}");
        }
        assert!(event["reasons"].to_string().len() > 4, "{event}");
    }
}
