//! A registry's container as the Engine describes it, and the description of a second container made after it.
//!
//! It sends no requests: it reads one answer of the Engine, and writes the body of one request.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, HealthConfig, HostConfig, HostConfigLogConfig,
    RestartPolicy, RestartPolicyNameEnum,
};
use chrono::DateTime;

use crate::runtime::config_path::config_file;
use crate::runtime::error::Error;
use crate::runtime::job::Network;

/// The label that says what regsweep made a container for.
const ROLE: &str = "regsweep.role";
/// The label that names the registry's container.
const REGISTRY: &str = "regsweep.registry";
/// Where the official images of 2.x and 3.x have their configuration.
const IMAGE_CONFIGS: [&str; 2] = ["/etc/docker/registry/config.yml", "/etc/distribution/config.yml"];

/// A container of a registry.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    /// What the operator calls it.
    pub(crate) name: String,
    pub(crate) id: String,
    /// Whether it runs; otherwise it was stopped, or never started.
    pub(crate) runs: bool,
    found: ContainerInspectResponse,
}

impl Container {
    /// Reads the Engine's answer. A container that is neither running nor stopped is an error.
    pub(crate) fn read(name: &str, found: ContainerInspectResponse) -> Result<Self, Error> {
        let state = found.state.clone().unwrap_or_default();
        let refuse =
            |state: &str| Err(Error::ContainerState { container: name.to_owned(), state: state.to_owned() });
        if state.paused == Some(true) {
            return refuse("paused");
        }
        if state.restarting == Some(true) {
            return refuse("restarting");
        }
        let runs = state.running == Some(true);
        let status = state.status.map(|status| status.to_string()).unwrap_or_default();
        // The Engine's "removing" and "dead", and whatever it may be called tomorrow.
        if state.dead == Some(true) || (!runs && !["created", "exited"].contains(&status.as_str())) {
            return refuse(if status.is_empty() { "dead" } else { &status });
        }
        let Some(id) = found.id.clone() else {
            return refuse("without an id");
        };
        Ok(Self { name: name.to_owned(), id, runs, found })
    }

    /// When it was started last, in the Engine's notation.
    pub(crate) fn started_at(&self) -> Option<String> {
        self.found.state.as_ref()?.started_at.clone()
    }

    /// Whether it ended after that moment, which is in the Engine's notation; if that is not known, it did.
    pub(crate) fn finished_after(&self, moment: &str) -> bool {
        let finished = self.found.state.as_ref().and_then(|state| state.finished_at.as_deref());
        let parse = |text: &str| DateTime::parse_from_rfc3339(text).ok();
        match (finished.and_then(parse), parse(moment)) {
            (Some(finished), Some(moment)) => finished > moment,
            _ => true,
        }
    }

    /// An error if a stop or a restart would do more to it than that.
    ///
    /// The Engine (20.10) decides after a restart has begun whether a container with `--rm` is removed, and sometimes
    /// removes it.
    pub(crate) fn refuse_to_stop(&self) -> Result<(), Error> {
        let refuse = |why| Err(Error::NotOurs { container: self.name.clone(), why });
        if self.host().auto_remove == Some(true) {
            return refuse(
                "it was created with --rm, so the Engine would remove it and its anonymous volumes, and can do so even in a restart; create it without --rm",
            );
        }
        // Swarm decides when it runs.
        let labels = self.found.config.as_ref().and_then(|config| config.labels.as_ref());
        if labels.is_some_and(|labels| labels.contains_key("com.docker.swarm.task.id")) {
            return refuse(
                "it is a task of a Swarm service, which would put another in its place; use gc.command and scale the service",
            );
        }
        Ok(())
    }

    /// Its name in the Engine, which a container that replaces it will have, too. It may be configured by its id.
    pub(crate) fn own_name(&self) -> &str {
        let name = self.found.name.as_deref().map(|name| name.trim_start_matches('/'));
        name.filter(|name| !name.is_empty()).unwrap_or(&self.id)
    }

    /// What it runs: a program and its arguments.
    fn command_line(&self) -> impl DoubleEndedIterator<Item = &String> {
        self.found.path.iter().chain(self.found.args.iter().flatten())
    }

    /// Paths at which the registry's program may be, the best first.
    pub(crate) fn programs(&self) -> Vec<String> {
        let own = self.found.path.as_ref().filter(|path| path.starts_with('/'));
        std::iter::once("/bin/registry".to_owned()).chain(own.cloned()).collect()
    }

    /// Paths at which the registry's configuration may be, the best first.
    pub(crate) fn configs(&self, configured: Option<&str>) -> Vec<String> {
        if let Some(file) = configured {
            return vec![self.absolute(file)];
        }
        if let Some(file) = config_file(self.command_line()) {
            return vec![self.absolute(file)];
        }
        match self.env().iter().find_map(|variable| variable.strip_prefix("REGISTRY_CONFIGURATION_PATH=")) {
            Some(file) if !file.is_empty() => vec![self.absolute(file)],
            _ => IMAGE_CONFIGS.map(str::to_owned).to_vec(),
        }
    }

    /// An error if a second container would not see this folder through the volumes of this one.
    pub(crate) fn refuse_unshared(&self, root: &str) -> Result<(), Error> {
        let mounts = self.found.mounts.iter().flatten();
        // The deepest mount is the one that the folder is on.
        let holding = mounts
            .filter_map(|mount| Some((mount.destination.as_deref()?, mount)))
            .filter(|(destination, _)| Path::new(root).starts_with(destination))
            .max_by_key(|(destination, _)| destination.len());
        match holding {
            Some((_, mount)) if mount.typ.as_ref().is_none_or(|kind| kind != "tmpfs") => Ok(()),
            _ => Err(Error::NotShared { container: self.name.clone(), root: root.to_owned() }),
        }
    }

    /// A second container that runs `command` with the image, volumes, environment and rights of this one.
    pub(crate) fn second(&self, command: &[String], network: Network) -> ContainerCreateBody {
        let config = self.found.config.clone().unwrap_or_default();
        let host = self.host();
        let network = match network {
            Network::None => Some("none".to_owned()),
            Network::Registry => host.network_mode.clone(),
        };
        // The Engine's defaults may rotate a log, which loses the beginning of a long one.
        let log = HashMap::from([("max-size".to_owned(), "1t".to_owned())]);
        let labels = [(ROLE, "collector"), (REGISTRY, self.name.as_str())];
        ContainerCreateBody {
            image: self.found.image.clone(),
            entrypoint: command.first().map(|program| vec![program.clone()]),
            cmd: Some(command.iter().skip(1).cloned().collect()),
            env: config.env,
            user: config.user,
            working_dir: config.working_dir,
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..HealthConfig::default()
            }),
            host_config: Some(HostConfig {
                volumes_from: Some(vec![self.id.clone()]),
                network_mode: network,
                restart_policy: Some(RestartPolicy {
                    name: Some(RestartPolicyNameEnum::NO),
                    maximum_retry_count: None,
                }),
                auto_remove: Some(false),
                log_config: Some(HostConfigLogConfig {
                    typ: Some("json-file".to_owned()),
                    config: Some(log),
                }),
                userns_mode: host.userns_mode.clone(),
                security_opt: host.security_opt.clone(),
                privileged: host.privileged,
                cap_add: host.cap_add.clone(),
                cap_drop: host.cap_drop.clone(),
                group_add: host.group_add.clone(),
                runtime: host.runtime.clone(),
                dns: host.dns.clone(),
                extra_hosts: host.extra_hosts.clone(),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    fn host(&self) -> HostConfig {
        self.found.host_config.clone().unwrap_or_default()
    }

    /// The variables of its environment, each as `NAME=value`.
    pub(crate) fn env(&self) -> &[String] {
        self.found.config.as_ref().and_then(|config| config.env.as_deref()).unwrap_or_default()
    }

    /// The folder that its relative paths begin in.
    pub(crate) fn folder(&self) -> &str {
        let folder = self.found.config.as_ref().and_then(|config| config.working_dir.as_deref());
        folder.filter(|folder| !folder.is_empty()).unwrap_or("/")
    }

    fn absolute(&self, file: &str) -> String {
        if file.starts_with('/') {
            file.to_owned()
        } else {
            format!("{}/{file}", self.folder().trim_end_matches('/'))
        }
    }
}

/// The labels by which the containers are found again that were made for this registry.
pub(crate) fn labels(name: &str) -> [String; 2] {
    [format!("{ROLE}=collector"), format!("{REGISTRY}={name}")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspected(json: &str) -> Result<Container, Error> {
        Container::read("registry", serde_json::from_str(json).unwrap())
    }

    fn running(rest: &str) -> Container {
        let state = r#""Id": "c0ffee", "State": {"Status": "running", "Running": true}"#;
        inspected(&format!("{{{state}, {rest}}}")).unwrap()
    }

    #[test]
    fn containers_that_neither_run_nor_are_stopped_are_refused() {
        let check = |state: &str, expected: Result<bool, &str>| {
            let read = inspected(&format!(r#"{{"Id": "c0ffee", "State": {state}}}"#));
            match expected {
                Ok(runs) => assert_eq!(read.unwrap().runs, runs),
                Err(word) => assert!(read.unwrap_err().to_string().contains(&format!("is {word}"))),
            }
        };
        check(r#"{"Status": "running", "Running": true}"#, Ok(true));
        check(r#"{"Status": "exited", "Running": false}"#, Ok(false));
        check(r#"{"Status": "created", "Running": false}"#, Ok(false));
        check(r#"{"Status": "paused", "Running": true, "Paused": true}"#, Err("paused"));
        check(r#"{"Status": "restarting", "Running": true, "Restarting": true}"#, Err("restarting"));
        check(r#"{"Status": "removing", "Running": false}"#, Err("removing"));
        check(r#"{"Status": "dead", "Dead": true}"#, Err("dead"));
        check("{}", Err("dead"));
    }

    #[test]
    fn containers_that_a_stop_would_remove_or_replace_are_refused() {
        let check = |rest: &str, why: Option<&str>| match (running(rest).refuse_to_stop(), why) {
            (Err(error), Some(why)) => assert!(error.to_string().contains(why), "{error}"),
            (result, why) => assert!(result.is_ok() && why.is_none(), "{rest}"),
        };
        check(r#""HostConfig": {"AutoRemove": true}"#, Some("--rm"));
        check(r#""Config": {"Labels": {"com.docker.swarm.task.id": "x"}}"#, Some("Swarm"));
        check(r#""HostConfig": {"AutoRemove": false}, "Config": {"Labels": {"a": "b"}}"#, None);
    }

    #[test]
    fn configuration_paths_are_read_from_arguments_and_environment() {
        let check = |rest: &str, configured: Option<&str>, expected: &[&str]| {
            assert_eq!(running(rest).configs(configured), expected, "{rest}");
        };
        let library = r#""Path": "/entrypoint.sh", "Args": ["/etc/docker/registry/config.yml"]"#;
        check(library, None, &["/etc/docker/registry/config.yml"]);
        check(library, Some("/c.yml"), &["/c.yml"]);
        let upstream = r#""Path": "registry", "Args": ["serve", "/etc/distribution/config.yml"]"#;
        check(upstream, None, &["/etc/distribution/config.yml"]);
        let relative =
            r#""Path": "registry", "Args": ["serve", "my.yaml"], "Config": {"WorkingDir": "/srv/"}"#;
        check(relative, None, &["/srv/my.yaml"]);
        let variable = r#""Args": ["serve"], "Config": {"Env": ["A=b", "REGISTRY_CONFIGURATION_PATH=/e"]}"#;
        check(variable, None, &["/e"]);
        check(r#""Args": ["serve"]"#, None, &IMAGE_CONFIGS);
    }

    #[test]
    fn storage_that_a_second_container_does_not_see_is_refused() {
        let check = |mounts: &str, root: &str, shared: bool| {
            let container = running(&format!(r#""Mounts": [{mounts}]"#));
            assert_eq!(container.refuse_unshared(root).is_ok(), shared, "{mounts} {root}");
        };
        let volume = r#"{"Type": "volume", "Destination": "/var/lib/registry"}"#;
        check(volume, "/var/lib/registry", true);
        check(volume, "/var/lib/registry/deep", true);
        check(volume, "/var/lib/registry-two", false);
        check(volume, "/data", false);
        check("", "/data", false);
        check(r#"{"Type": "tmpfs", "Destination": "/data"}"#, "/data", false);
        let over =
            r#"{"Type": "bind", "Destination": "/data"}, {"Type": "tmpfs", "Destination": "/data/in"}"#;
        check(over, "/data/in/store", false);
    }

    #[test]
    fn second_container_has_the_network_only_if_the_job_needs_it() {
        let container = running(r#""HostConfig": {"NetworkMode": "storage-net"}"#);
        let check = |network: Network, expected: &str| {
            let body = container.second(&["/bin/registry".to_owned()], network);
            assert_eq!(body.host_config.unwrap().network_mode.unwrap(), expected);
        };
        check(Network::None, "none");
        check(Network::Registry, "storage-net");
    }
}
