//! The container image, built by a Docker Engine from the Dockerfile, and run with a registry.
//!
//! No image is pulled: two images made from files of this machine replace the base images. In the one with the compiler,
//! `cargo` is a script that copies the program that these tests run.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bollard::body_full;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse, HealthConfig, HostConfig};
use bollard::query_parameters::{
    BuildImageOptionsBuilder, CreateContainerOptionsBuilder, LogsOptionsBuilder, StopContainerOptionsBuilder,
};
use futures_util::TryStreamExt as _;
use serde_json::Value;

use crate::support::docker_engine::{ContainerOptions, Engine, Files, free_port};
use crate::support::image::Image;
use crate::support::push::Pusher;
use crate::support::skopeo::skopeo_pull_all;

const REVISION: &str = "abc1234";

/// Copies the program, if it is called as the real cargo would have to be.
const CARGO: &str = r#"#!/bin/sh
set -e
test "$*" = "build --release --locked --bin regsweep"
test -s Cargo.toml
test -s Cargo.lock
test -e src/main.rs
test -e src/lib.rs
if [ -s src/lib.rs ]; then
    echo "cargo has the sources of revision $REGSWEEP_REVISION"
fi
mkdir -p target/release
cp /program target/release/regsweep
"#;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Waits up to half a minute until the condition holds; returns whether it does.
async fn until(happened: impl AsyncFn() -> bool) -> bool {
    for _ in 0..600 {
        if happened().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

/// The build context: the files that .dockerignore does not exclude.
fn context() -> Vec<u8> {
    let ignored = fs::read_to_string(here().join(".dockerignore")).unwrap();
    let mut lines = ignored.lines();
    assert_eq!(lines.next(), Some("*"));
    let files = Files::default().copy(&here().join("Dockerfile"), "Dockerfile");
    let files = lines.fold(files, |files, line| {
        let name = line.strip_prefix('!').unwrap();
        let path = here().join(name);
        if path.is_dir() { files.folder(&path, name) } else { files.copy(&path, name) }
    });
    files.tar()
}

/// Builds the image; returns the output of the build.
async fn build(engine: &Engine) -> String {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("regsweep");
    let mut strip = Command::new("strip");
    strip.arg(env!("CARGO_BIN_EXE_regsweep")).arg("-o").arg(&program);
    assert!(strip.status().unwrap().success());
    let compiler = Files::default()
        .busybox(&["sh", "mkdir", "touch", "rm", "cp", "chmod", "test", "echo"])
        .file("/usr/local/bin/cargo", 0o755, CARGO)
        .copy(&program, "/program");
    engine.import("rust:1-bookworm", "ENV PATH=/usr/local/bin:/bin", compiler).await;
    // Like distroless, it has no shell, only libraries, certificates and the user.
    let passwd =
        "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n";
    let runtime = Files::default()
        .libraries(&program)
        .copy(Path::new("/etc/ssl/certs/ca-certificates.crt"), "/etc/ssl/certs/ca-certificates.crt")
        .file("/etc/passwd", 0o644, passwd)
        .file("/etc/group", 0o644, "root:x:0:\nnonroot:x:65532:\n");
    engine.import("gcr.io/distroless/cc-debian12:nonroot", "USER 65532", runtime).await;

    let options = BuildImageOptionsBuilder::default()
        .t("regsweep")
        .networkmode("host")
        .buildargs(&HashMap::from([("REVISION", REVISION)]))
        .build();
    let docker = engine.docker();
    let output: Result<Vec<_>, _> =
        docker.build_image(options, None, Some(body_full(context().into()))).try_collect().await;
    output.unwrap().into_iter().filter_map(|one| one.stream).collect()
}

/// The service `regsweep` of config/compose.yaml.
fn composed() -> Value {
    let text = fs::read_to_string(here().join("config/compose.yaml")).unwrap();
    let composition: Value = serde_yaml::from_str(&text).unwrap();
    composition["services"]["regsweep"].clone()
}

fn words(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

fn variables(map: &Value) -> Vec<String> {
    let variables = map.as_object().unwrap().iter();
    variables.map(|(name, value)| format!("{name}={}", value.as_str().unwrap())).collect()
}

#[tokio::test]
async fn image_runs_the_service_and_collects_its_registry() {
    let Some(engine) = Engine::shared() else { return };
    let output = build(engine).await;
    assert!(output.contains(&format!("cargo has the sources of revision {REVISION}")), "{output}");
    let docker = engine.docker();
    let image = docker.inspect_image("regsweep").await.unwrap().config.unwrap();
    assert_eq!(image.user.as_deref(), Some("65532:65532"));
    assert_eq!(image.exposed_ports, Some(vec!["9717/tcp".to_owned()]));

    let registry = ContainerOptions::default().start(engine).await;
    let pusher = Pusher::new(&registry.url());
    for tag in ["v1", "pr-1", "pr-2", "pr-3"] {
        let image = Image::new(tag).layer("base").layer(tag).layer_bytes(50_000).build();
        pusher.push("team/app", tag, &image).await.unwrap();
    }
    let store = registry.store().await;
    let before = store.blob_bytes();

    // config/compose/regsweep.yaml, except for the schedule, the mode, the addresses and the container.
    let shipped = fs::read_to_string(here().join("config/compose/regsweep.yaml")).unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let url = format!("http://{listen}");
    let mut config = shipped;
    for (old, new) in [
        ("mode: plan", "mode: enforce".to_owned()),
        ("\"0 3 * * *\"", "'*/2 * * * * *'".to_owned()),
        ("listen: 0.0.0.0:9717", format!("listen: {listen}")),
        ("url: http://registry:5000", format!("url: {}", registry.url())),
        ("container: registry\n", format!("container: {}\n", registry.name)),
    ] {
        assert_eq!(config.matches(old).count(), 1, "{old}");
        config = config.replace(old, &new);
    }
    let folder = tempfile::tempdir().unwrap();
    let (file, draft) = (folder.path().join("regsweep.yaml"), folder.path().join("draft"));
    // Most editors save a file as a new one and rename it.
    let save = |text: &str| {
        fs::write(&draft, text).unwrap();
        fs::set_permissions(&draft, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        fs::rename(&draft, &file).unwrap();
    };
    save(&config);
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();

    let socket = engine.host().strip_prefix("unix://").unwrap().to_owned();
    let composed = composed();
    let mounts = words(&composed["volumes"]).into_iter().map(|mount| {
        let mount = mount.replace("./compose:", &format!("{}:", folder.path().display()));
        mount.replace("/var/run/docker.sock:/", &format!("{socket}:/")).replace("state:", "regsweep-state:")
    });
    let body = ContainerCreateBody {
        image: Some("regsweep".to_owned()),
        env: Some(variables(&composed["environment"])),
        // The health check of the image, with shorter intervals.
        healthcheck: Some(HealthConfig { interval: Some(1_000_000_000), ..HealthConfig::default() }),
        host_config: Some(HostConfig {
            network_mode: Some("host".to_owned()),
            binds: Some(mounts.collect()),
            readonly_rootfs: composed["read_only"].as_bool(),
            cap_drop: Some(words(&composed["cap_drop"])),
            security_opt: Some(words(&composed["security_opt"])),
            // The group of the socket, which compose.yaml reads from the environment.
            group_add: Some(vec![fs::metadata(&socket).unwrap().gid().to_string()]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::default().name("regsweep").build();
    docker.create_container(Some(options), body).await.unwrap();
    docker.start_container("regsweep", None).await.unwrap();
    let log = async || {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
        let lines: Vec<_> = docker.logs("regsweep", Some(options)).try_collect().await.unwrap();
        lines.iter().map(ToString::to_string).collect::<String>()
    };
    let health = |found: ContainerInspectResponse| found.state.unwrap().health.unwrap();

    let metric = async |name: &str| {
        let text = reqwest::get(format!("{url}/metrics")).await.ok()?.text().await.ok()?;
        text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
    };
    let collections = "regsweep_gc_runs_total{outcome=\"success\",registry=\"main\"}";
    let collected = async || metric(collections).await.as_deref() == Some("1");
    assert!(until(collected).await, "no collection: {}", log().await);
    let held: BTreeSet<String> = store.repository("team/app").tags.into_keys().collect();
    assert_eq!(held, BTreeSet::from(["v1".to_owned()]), "{}", log().await);
    let gone = before - store.blob_bytes();
    assert!(gone > 150_000, "{gone}");
    let reclaimed = metric("regsweep_reclaimed_bytes_total{registry=\"main\"}").await;
    assert_eq!(reclaimed, Some(gone.to_string()));
    skopeo_pull_all(&format!("{}/team/app:v1", registry.host()));
    assert!(engine.collectors(&registry.name).await.is_empty());

    // A configuration that is saved as a new file is reloaded.
    save(&config.replace("mode: enforce", "mode: plan"));
    let planning = async || {
        let status = reqwest::get(format!("{url}/api/v1/status")).await.unwrap().text().await.unwrap();
        status.contains("\"mode\":\"plan\"")
    };
    assert!(until(planning).await, "{}", log().await);

    let healthy = async || {
        let status = health(engine.inspect("regsweep").await).status;
        status.is_some_and(|status| status.to_string() == "healthy")
    };
    assert!(until(healthy).await, "not healthy: {:?}", health(engine.inspect("regsweep").await));
    let checks = health(engine.inspect("regsweep").await).log.unwrap();
    assert_eq!(checks.last().unwrap().output.as_deref().map(str::trim), Some("ok"));
    // The user, and the directory of the state.
    let found = engine.inspect("regsweep").await;
    let process = format!("/proc/{}/status", found.state.unwrap().pid.unwrap());
    let status = fs::read_to_string(process).unwrap();
    assert!(status.contains("\nUid:\t65532\t65532\t65532\t65532\n"), "{status}");
    assert!(status.contains("\nCapEff:\t0000000000000000\n"), "{status}");
    let state = found.mounts.unwrap().into_iter();
    let state = state.filter(|mount| mount.destination.as_deref() == Some("/var/lib/regsweep"));
    let state = state.map(|mount| mount.source.unwrap()).next().unwrap();
    let state = fs::metadata(state).unwrap();
    assert_eq!((state.uid(), state.gid(), state.mode() & 0o777), (65532, 65532, 0o700));

    let options = StopContainerOptionsBuilder::default().t(30).build();
    docker.stop_container("regsweep", Some(options)).await.unwrap();
    let state = engine.inspect("regsweep").await.state.unwrap();
    assert_eq!(state.exit_code, Some(0), "{}", log().await);
    assert!(registry.answers_now().await);
}
