//! The files that are shipped with the program: unit, image, alerts, dashboard, example configurations.

mod image;
mod project;
mod systemd;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use chrono::DateTime;
use regsweep::config;
use regsweep::metrics::Metrics;
use regsweep::plan::Plan;
use regsweep::policy::Mode;
use regsweep::report::{PlanDocument, RunReport};
use serde_json::Value;

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(shipped(path)).unwrap()
}

/// Runs a program that must succeed; returns its output.
#[track_caller]
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect(program);
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {printed}");
    printed
}

#[test]
fn unit_is_valid() {
    // The program in `ExecStart=` is not installed on the machine of the tests.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("regsweep.service");
    let unit = text("systemd/regsweep.service");
    assert!(unit.contains("\nExecStart=/usr/local/bin/regsweep serve\n"));
    std::fs::write(&copy, unit.replace("/usr/local/bin/regsweep", "/bin/true")).unwrap();
    assert_eq!(run("systemd-analyze", &["verify", copy.to_str().unwrap()]), "");
}

/// A copy of the unit with the drop-in for `gc.command` appended, as systemd merges them.
fn unit_with_commands() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("regsweep.service");
    let unit = text("systemd/regsweep.service").replace("/usr/local/bin/regsweep", "/bin/true");
    std::fs::write(&copy, format!("{unit}\n{}", text("systemd/regsweep-command.conf"))).unwrap();
    (folder, copy)
}

#[test]
fn unit_with_the_command_drop_in_is_valid_and_has_a_low_exposure() {
    let (_folder, unit) = unit_with_commands();
    assert_eq!(run("systemd-analyze", &["verify", unit.to_str().unwrap()]), "");
    let output = run("systemd-analyze", &["security", "--offline=true", unit.to_str().unwrap()]);
    let (_, level) = output.split_once("exposure level for regsweep.service: ").unwrap();
    let level: f64 = level.split(' ').next().unwrap().parse().unwrap();
    assert!(level <= 3.0, "{output}");
    // The unit and the documentation name the drop-in.
    let name = "regsweep-command.conf";
    for path in ["systemd/regsweep.service", "docs/collection.md"] {
        assert!(text(path).contains(name), "{path} does not name {name}");
    }
}

#[test]
fn unit_sends_the_stop_signal_to_regsweep_only() {
    // By default, systemd also sends it to the command that starts the registry again.
    assert!(text("systemd/regsweep.service").contains("\nKillMode=mixed\n"));
}

#[test]
fn unit_has_a_low_exposure() {
    let unit = shipped("systemd/regsweep.service");
    let output = run("systemd-analyze", &["security", "--offline=true", unit.to_str().unwrap()]);
    let (_, level) = output.split_once("exposure level for regsweep.service: ").unwrap();
    let level: f64 = level.split(' ').next().unwrap().parse().unwrap();
    assert!(level <= 2.0, "{output}");
}

/// Every name of a metric in a text.
fn metric_names(text: &str) -> BTreeSet<String> {
    let names = regex::Regex::new(r"\b(?:regsweep|process)_[a-z_]+\b").unwrap();
    names.find_iter(text).map(|found| found.as_str().to_owned()).collect()
}

/// The names of all exported metrics.
fn exported() -> BTreeSet<String> {
    let metrics = Metrics::new("0", "").unwrap();
    metrics.registry("main", &["apps"]);
    metrics.up("main", true);
    // Metrics that only exist once they have a value.
    metrics.run_timeout("main", Duration::from_secs(1));
    let plan = Plan::new("main", DateTime::UNIX_EPOCH, Vec::new(), Vec::new(), &Default::default());
    metrics.planned(&PlanDocument::of(&plan));
    metrics.run_finished(&RunReport::of_plan(&plan), Duration::ZERO, DateTime::UNIX_EPOCH);
    metrics.uncollected("main", 0);
    metrics.registry("other", &[]);
    metrics.reclaimable("other", 0);
    metrics.collection_below_minimum("other");
    metrics.next_collection("other", None);
    let text = metrics.encode().unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

/// Every expression of the dashboard, with Grafana's variables filled in.
fn dashboard_expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&text("config/grafana/regsweep.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let fill = |target: &Value| {
        let expression = target["expr"].as_str().unwrap();
        let spans = expression.replace("$__rate_interval", "5m").replace("$__interval", "1h");
        spans.replace("$__range", "30d").replace("$registry", ".*")
    };
    targets.map(fill).collect()
}

#[test]
fn prometheus_configuration_is_valid() {
    run("promtool", &["check", "config", shipped("config/prometheus/prometheus.yml").to_str().unwrap()]);
}

#[test]
fn every_alert_fires_and_resolves() {
    let alerts = shipped("config/prometheus/alerts.yaml");
    run("promtool", &["check", "rules", alerts.to_str().unwrap()]);
    let tests = shipped("config/prometheus/alerts_test.yaml");
    run("promtool", &["test", "rules", tests.to_str().unwrap()]);
    let alerts: Value = serde_yaml::from_str(&text("config/prometheus/alerts.yaml")).unwrap();
    let tests: Value = serde_yaml::from_str(&text("config/prometheus/alerts_test.yaml")).unwrap();
    let rules = alerts["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() > 9);
    for rule in rules {
        let alert = rule["alert"].as_str().unwrap();
        // One test per alert: not firing, firing, and resolved again.
        let seen = tests["tests"].as_array().unwrap().iter().map(|test| {
            let looks = test["alert_rule_test"].as_array().unwrap();
            let mut looks: Vec<(u64, bool)> = looks
                .iter()
                .filter(|look| look["alertname"] == alert)
                .map(|look| (minutes(&look["eval_time"]), !look["exp_alerts"].as_array().unwrap().is_empty()))
                .collect();
            looks.sort_unstable();
            looks.into_iter().map(|(_, fires)| fires).collect::<Vec<_>>()
        });
        let seen: Vec<Vec<bool>> = seen.filter(|looks| !looks.is_empty()).collect();
        assert_eq!(
            seen,
            [[false, true, false]],
            "{alert} is not tested to be silent, to fire and to resolve"
        );
    }
}

/// The minutes of a time such as `15h30m`.
fn minutes(eval_time: &Value) -> u64 {
    let text = eval_time.as_str().unwrap();
    let (hours, minutes) = text.split_once('h').unwrap_or(("0", text));
    let minutes = if minutes.is_empty() { "0" } else { minutes.strip_suffix('m').unwrap() };
    hours.parse::<u64>().unwrap() * 60 + minutes.parse::<u64>().unwrap()
}

#[test]
fn dashboard_expressions_are_valid() {
    let expressions = dashboard_expressions();
    assert!(expressions.len() > 20);
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, expression) in expressions.iter().enumerate() {
        let expression = Value::from(expression.as_str());
        writeln!(rules, "      - {{ record: 'panel:{number}', expr: {expression} }}").unwrap();
    }
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(file.path(), rules).unwrap();
    run("promtool", &["check", "rules", file.path().to_str().unwrap()]);
}

#[test]
fn alerts_and_dashboard_use_only_exported_metrics() {
    let exported = exported();
    for path in [
        "config/prometheus/alerts.yaml",
        "config/prometheus/alerts_test.yaml",
        "config/grafana/regsweep.json",
    ] {
        let named = metric_names(&text(path));
        assert!(named.len() > 5, "{path}");
        let missing: Vec<&String> = named.difference(&exported).collect();
        assert!(missing.is_empty(), "{path} names {missing:?}");
    }
}

#[test]
fn small_configuration_is_valid_and_in_the_readme() {
    let small = text("config/small.yaml");
    let config = config::load(&shipped("config/small.yaml"), &|_| None).unwrap();
    assert_eq!(config.advice(), [""; 0]);
    assert_eq!(config.mode, Mode::Plan, "a first try deletes nothing");
    let readme = text("README.md");
    assert!(readme.contains("config/small.yaml /etc/regsweep/config.yaml"), "the README installs it");
    let body = small.split_once('\n').unwrap().1;
    assert!(readme.contains(body), "the README shows it verbatim");
}

#[test]
fn compose_configuration_is_valid_and_local() {
    let config = config::load(&shipped("config/compose/regsweep.yaml"), &|_| None).unwrap();
    assert!(config.listen.ip().is_unspecified(), "the port of a container is published");
    assert_eq!(config.mode, Mode::Plan, "a first try deletes nothing");
    let compose: Value = serde_yaml::from_str(&text("config/compose.yaml")).unwrap();
    let services = &compose["services"];
    assert_eq!(services["registry"]["container_name"], "registry");
    for service in services.as_object().unwrap().values() {
        let volumes = service["volumes"].as_array().unwrap();
        for volume in volumes.iter().filter_map(Value::as_str).filter_map(|text| text.strip_prefix("./")) {
            let path = volume.split(':').next().unwrap();
            assert!(shipped("config").join(path).exists(), "{path} is mounted and does not exist");
        }
        for port in service["ports"].as_array().unwrap() {
            assert!(
                port.as_str().unwrap().starts_with("127.0.0.1:"),
                "{port} is published to other machines"
            );
        }
    }
}
