//! The unit and its drop-in under a real systemd, booted in separate namespaces.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::image::Image;
use crate::support::push::Pusher;
use crate::support::real_registry::RealRegistry;

/// A booted systemd. It is killed on drop.
struct Machine {
    unshare: Child,
    shared: tempfile::TempDir,
    /// The lock that allows one at a time: they share the control groups of this machine.
    _lock: File,
}

impl Machine {
    /// Boots systemd. The scripts find the shared directory at `$shared` and at `/run/shared`.
    fn boot(shared: tempfile::TempDir, prepare: &str, scenario: &str) -> Self {
        let lock = File::create(std::env::temp_dir().join("regsweep-booted.lock")).unwrap();
        lock.lock().unwrap();
        let path = shared.path();
        std::fs::write(path.join("prepare.sh"), prepare).unwrap();
        std::fs::write(path.join("scenario.sh"), format!("trap 'touch /run/shared/done' EXIT\n{scenario}\n"))
            .unwrap();
        let boot = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/packaging/boot.sh");
        let log = File::create(path.join("console")).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--fork", "--kill-child", "--pid", "--mount", "--ipc", "--uts", "--net", "--cgroup"]);
        command.arg("bash").arg(boot).arg(path).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Self { unshare: command.spawn().unwrap(), shared, _lock: lock }
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.shared.path().join(name)).unwrap_or_default()
    }

    /// Waits for the end of the scenario and returns its output; `None` if systemd cannot be booted, as in many
    /// containers.
    fn output(mut self) -> Option<String> {
        let started = |machine: &Self| machine.shared.path().join("output").exists();
        for _ in 0..4800 {
            if self.shared.path().join("done").exists() {
                return Some(self.read("output"));
            }
            if self.unshare.try_wait().unwrap().is_some() {
                assert!(
                    !started(&self),
                    "systemd has exited: {}{}",
                    self.read("console"),
                    self.read("output")
                );
                break;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        assert!(
            !started(&self),
            "the scenario does not end: {}{}{}",
            self.read("console"),
            self.read("output"),
            self.read("regsweep")
        );
        #[allow(clippy::print_stderr, reason = "a skipped test is reported")]
        {
            eprintln!("SKIPPED, because systemd cannot be booted here: {}", self.read("console"));
        }
        None
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

const CONFIG: &str = "\
mode: enforce
schedule: '*/2 * * * * *'
registries:
  - name: main
    url: http://localhost:5000
    gc:
      command:
        before: [systemctl, stop, docker-registry]
        run: [docker-registry, garbage-collect, /etc/docker/registry/config.yml]
        after: [systemctl, start, docker-registry]
protect: { newer_than: 0s, at_least: 0 }
limits: { max_percent: 100 }
policies:
  - { name: all, repositories: '.*', rules: [{ name: old, tags: 'old.*', keep: none }] }
";

const REGISTRY: &str = "\
version: 0.1
storage: { filesystem: { rootdirectory: /var/lib/docker-registry }, delete: { enabled: true } }
http: { addr: ':5000' }
";

/// The storage of a registry with one image that is kept and one that is deleted.
async fn registry_with_images() -> RealRegistry {
    let mut registry = RealRegistry::start();
    let pusher = Pusher::new(&registry.url());
    for tag in ["v1", "old"] {
        let image = Image::new(tag).layer(tag).layer_bytes(50_000).build();
        pusher.push("team/app", tag, &image).await.unwrap();
    }
    registry.stop();
    registry
}

/// A script that installs the program, the unit, this configuration and a registry with this storage.
fn prepare(shared: &Path, config: &str, registry: &RealRegistry) -> String {
    for (name, text) in [("config.yaml", config), ("registry.yml", REGISTRY)] {
        std::fs::write(shared.join(name), text).unwrap();
    }
    format!(
        "install -D {program} $root/usr/local/bin/regsweep
         install -D --mode 644 {shipped}/regsweep.service $units/regsweep.service
         mkdir $units/regsweep.service.d
         printf '[Service]\\nStandardError=file:/run/shared/regsweep\\n' >$units/regsweep.service.d/test.conf
         install -D --mode 644 $shared/config.yaml $root/etc/regsweep/config.yaml
         install -D --mode 644 $shared/registry.yml $root/etc/docker/registry/config.yml
         rm -rf $root/var/lib/docker-registry && cp -r {store} $root/var/lib/docker-registry
         chown -R docker-registry: $root/var/lib/docker-registry\n",
        program = env!("CARGO_BIN_EXE_regsweep"),
        shipped = shipped("systemd").display(),
        store = registry.store_path().display(),
    )
}

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[tokio::test]
async fn readme_install_starts_a_service_that_plans_the_registry() {
    let registry = registry_with_images().await;
    let shared = tempfile::tempdir().unwrap();
    // The README installs regsweep from a checkout.
    let prepare = prepare(shared.path(), "", &registry)
        + &format!(
            "rm -rf $root/usr/local/bin/regsweep $root/etc/regsweep $units/regsweep.service $units/regsweep.service.d
             install -D {program} $shared/checkout/target/release/regsweep
             cp -r {config} {systemd} $shared/checkout",
            program = env!("CARGO_BIN_EXE_regsweep"),
            config = shipped("config").display(),
            systemd = shipped("systemd").display(),
        );
    let readme = std::fs::read_to_string(shipped("README.md")).unwrap();
    let begin = readme.find("$ install target/release/regsweep").unwrap();
    let commands = readme[begin..begin + readme[begin..].find("```").unwrap()].lines();
    let commands = commands.map(|line| format!("{}\n", line.trim_start_matches("$ ")));
    let scenario = format!(
        "systemctl start dbus.socket docker-registry || exit
         for try in $(seq 600); do curl --silent localhost:5000/v2/ && break; sleep 0.1; done
         cd /run/shared/checkout && set -e
         {}
         set +e
         for try in $(seq 600); do
           curl --silent localhost:9717/api/v1/plan | grep team/app && break
           sleep 0.1
         done
         systemctl is-active regsweep
         curl --silent localhost:5000/v2/team/app/tags/list",
        commands.collect::<String>()
    );
    let Some(output) = Machine::boot(shared, &prepare, &scenario).output() else { return };
    // The registry lists tags in the order of its file system.
    for part in ["\"team/app\"", "\nactive\n", "\"old\"", "\"v1\""] {
        assert!(output.contains(part), "no {part} in: {output}");
    }
}

#[tokio::test]
async fn readme_undo_command_uses_the_state_and_the_secrets_of_the_service() {
    let registry = registry_with_images().await;
    let shared = tempfile::tempdir().unwrap();
    let (head, rest) = CONFIG.split_once("    gc:\n").unwrap();
    let rest = &rest[rest.find("protect:").unwrap()..];
    let auth = "    auth: { basic: { username: ann, password: { credential: registry } } }\n";
    let prepare = prepare(shared.path(), &format!("{head}{auth}{rest}"), &registry)
        + "echo hunter2 >$root/etc/regsweep/registry.password; chmod 600 $root/etc/regsweep/registry.password
           echo LoadCredential=registry:/etc/regsweep/registry.password >>$units/regsweep.service.d/test.conf";
    let readme = std::fs::read_to_string(shipped("README.md")).unwrap();
    let begin = readme.find("$ systemd-run --pipe").unwrap() + 2;
    let recipe = &readme[begin..begin + readme[begin..].find("$ systemctl start").unwrap()];
    assert!(recipe.contains(" undo 12 "), "{recipe}");
    let scenario = format!(
        "systemctl start dbus.socket docker-registry && systemctl start regsweep || exit
         gone() {{ ! curl --silent localhost:5000/v2/team/app/tags/list | grep --quiet old; }}
         for try in $(seq 600); do gone && break; sleep 0.1; done
         gone && echo deleted
         systemctl stop regsweep
         {}
         curl --silent localhost:5000/v2/team/app/tags/list
         systemctl start regsweep && systemctl is-active regsweep",
        recipe.replace(" undo 12 ", " undo 1 ")
    );
    let Some(output) = Machine::boot(shared, &prepare, &scenario).output() else { return };
    for part in ["deleted\n", "main: restored 1 of 1 deletion;", "\"old\"", "\nactive\n"] {
        assert!(output.contains(part), "no {part} in: {output}");
    }
}

#[tokio::test]
async fn commands_with_the_drop_in_collect_a_registry_service() {
    let registry = registry_with_images().await;
    let shared = tempfile::tempdir().unwrap();
    let drop_in = shipped("systemd/regsweep-command.conf");
    let prepare = prepare(shared.path(), CONFIG, &registry)
        + &format!("install --mode 644 {} $units/regsweep.service.d/command.conf", drop_in.display());
    let scenario = "
        systemctl start docker-registry && systemctl start regsweep ||
          { systemctl status --no-pager regsweep; cat /run/shared/regsweep; exit; }
        collected='gc_runs_total{outcome=\"success\",registry=\"main\"} 1'
        for try in $(seq 600); do
          curl --silent localhost:9717/metrics | grep \"$collected\" && break
          sleep 0.1
        done
        curl --silent localhost:9717/metrics | grep -E '^regsweep_(reclaimed_bytes_total|gc_runs_total)'
        curl --silent localhost:5000/v2/team/app/tags/list
        systemctl is-active docker-registry
        grep -E '^(Uid|CapEff|NoNewPrivs):' /proc/$(systemctl show --property MainPID --value regsweep)/status";
    let Some(output) = Machine::boot(shared, &prepare, scenario).output() else { return };
    let expected = [
        "regsweep_gc_runs_total{outcome=\"success\",registry=\"main\"} 1",
        "regsweep_gc_runs_total{outcome=\"failed\",registry=\"main\"} 0",
        "{\"name\":\"team/app\",\"tags\":[\"v1\"]}",
        "\nactive\n",
        // CAP_DAC_OVERRIDE, and nothing else.
        "CapEff:\t0000000000000002",
        "NoNewPrivs:\t1",
    ];
    for part in expected {
        assert!(output.contains(part), "no {part} in: {output}");
    }
    let reclaimed = output
        .lines()
        .find_map(|line| line.strip_prefix("regsweep_reclaimed_bytes_total{registry=\"main\"} "));
    assert!(reclaimed.unwrap().parse::<u64>().unwrap() > 50_000, "{output}");
}
