//! A Docker Engine of the tests' own, with an image of a registry in it, and containers of that image.
//!
//! One Engine serves all tests. However the tests end, a shell that waits for the end of its input then stops
//! the Engine and removes everything that it ran and stored.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use bollard::models::{ContainerCreateBody, ContainerInspectResponse, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, EventsOptionsBuilder,
    ListContainersOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker, body_full};
use chrono::DateTime;
use futures_util::TryStreamExt as _;

use super::real_registry::make_certificates;
use super::store::Store;

/// The image that every test's registry runs: distribution with deletion on and the in-memory cache that
/// the official images have, an anonymous volume at /var/lib/registry, and a shell.
const IMAGE: &str = "registry:test";
/// Where its configuration is, as in the official image.
pub const CONFIG: &str = "/etc/docker/registry/config.yml";
const CONFIG_TEXT: &str = "version: 0.1\nlog: { level: info }\nstorage:\n  \
    filesystem: { rootdirectory: /var/lib/registry }\n  delete: { enabled: true }\n  \
    cache: { blobdescriptor: inmemory }\nhttp: { addr: 127.0.0.1:5000, secret: tests }\n";
/// Below the ports that systems assign by themselves, so no other program takes one in between.
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// Starts the Engine ($1: its folder, $2: its TLS port), and ends it when the input ends.
const GUARD: &str = r#"
PATH=$PATH:/usr/sbin:/sbin
dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" --host "unix://$1/docker.sock" \
    --host "tcp://127.0.0.1:$2" --tlsverify --tlscacert "$1/ca.pem" --tlscert "$1/server.pem" --tlskey "$1/server.key" \
    --iptables=false --ip6tables=false --bridge=none --shutdown-timeout 2 </dev/null >"$1/log" 2>&1 &
engine=$!
read -r end
kill $engine
wait $engine
while read -r device place rest; do
    case $place in "$1"/*) umount -l "$place" ;; esac
done </proc/self/mounts
rm -rf "$1"
"#;

/// A running Engine.
#[derive(Debug)]
pub struct Engine {
    folder: PathBuf,
    tls_port: u16,
    /// Its input is open as long as this process is.
    _guard: Child,
}

impl Engine {
    /// The Engine of this test binary, or `None` where none can run. With `CI=true` that is a failure.
    pub fn shared() -> Option<&'static Self> {
        static ENGINE: OnceLock<Option<Engine>> = OnceLock::new();
        ENGINE.get_or_init(|| match Self::launch() {
            Ok(engine) => Some(engine),
            Err(why) => {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "no Docker Engine: {why}");
                print_uncaptured(&format!("SKIPPED, there is no Docker Engine: {why}"));
                None
            }
        });
        let engine = ENGINE.get().unwrap().as_ref();
        if engine.is_none() {
            let test = std::thread::current().name().unwrap_or_default().to_owned();
            print_uncaptured(&format!("SKIPPED: {test}, as no Docker Engine can run here"));
        }
        engine
    }

    /// Its address.
    pub fn host(&self) -> String {
        format!("unix://{}/docker.sock", self.folder.display())
    }

    /// The socket on which it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// Its address over TLS, and the folder with what a client needs for that.
    pub fn tls(&self) -> (String, &Path) {
        (format!("tcp://127.0.0.1:{}", self.tls_port), &self.folder)
    }

    /// A client.
    pub fn docker(&self) -> Docker {
        Docker::connect_with_unix(&self.host(), 60, API_DEFAULT_VERSION).unwrap()
    }

    /// A container's properties.
    pub async fn inspect(&self, container: &str) -> ContainerInspectResponse {
        self.docker().inspect_container(container, None).await.unwrap()
    }

    /// The containers that regsweep made for this registry, running or not.
    pub async fn collectors(&self, container: &str) -> Vec<String> {
        let filters = HashMap::from([("label", vec![format!("regsweep.registry={container}")])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let found = self.docker().list_containers(Some(options)).await.unwrap();
        found.into_iter().filter_map(|one| one.id).collect()
    }

    /// Waits until a collector is made for a registry's container after this moment of the Engine's clock.
    pub async fn collector_made(&self, container: &str, after: &str) {
        let filters = HashMap::from([
            ("label", vec![format!("regsweep.registry={container}")]),
            ("event", vec!["create".to_owned()]),
        ]);
        let options = EventsOptionsBuilder::default().since(after).filters(&filters).build();
        let made = self.docker().events(Some(options)).try_next().await.unwrap();
        made.expect("the Engine reports a collector");
    }

    /// The Engine's clock: seconds and nanoseconds since 1970.
    pub async fn time(&self) -> String {
        let time = self.docker().info().await.unwrap().system_time.unwrap();
        DateTime::parse_from_rfc3339(&time).unwrap().format("%s%.9f").to_string()
    }

    fn launch() -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("engine").tempdir().unwrap().keep();
        make_certificates(&folder);
        fs::copy(folder.join("server.pem"), folder.join("cert.pem")).unwrap();
        fs::copy(folder.join("server.key"), folder.join("key.pem")).unwrap();
        let tls_port = free_port();
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(&folder)
            .arg(tls_port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let engine = Self { folder, tls_port, _guard: guard };
        // The caller may be in a runtime already, so this one gets a thread of its own.
        std::thread::scope(|scope| {
            let ready = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let answer = engine.answers().await;
                    if answer.is_ok() {
                        engine.import_registry().await;
                    }
                    answer
                })
            });
            ready.join().unwrap()
        })?;
        Ok(engine)
    }

    async fn answers(&self) -> Result<(), String> {
        for _ in 0..600 {
            // Without a socket there is no client either.
            if let Ok(docker) = Docker::connect_with_unix(&self.host(), 60, API_DEFAULT_VERSION)
                && docker.ping().await.is_ok()
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(5).collect();
        Err(format!("dockerd does not answer (it is in docker.io, and needs root and cgroups): {tail:?}"))
    }

    /// Makes an image of these files. `changes` are instructions as in a Dockerfile.
    pub async fn import(&self, image: &str, changes: &str, files: Files) {
        let (repository, tag) = image.split_once(':').unwrap();
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo(repository)
            .tag(tag)
            .changes(vec![changes.to_owned()]);
        let body = body_full(files.tar().into());
        let done: Result<Vec<_>, _> =
            self.docker().create_image(Some(options.build()), Some(body), None).try_collect().await;
        done.unwrap_or_else(|error| panic!("the image {image} cannot be imported: {error}"));
    }

    async fn import_registry(&self) {
        let changes = format!(
            "VOLUME /var/lib/registry\nENTRYPOINT [\"/bin/registry\"]\nCMD [\"serve\", \"{CONFIG}\"]"
        );
        let program = Path::new(super::registry_program::registry_program());
        let files = Files::default()
            .libraries(program)
            .copy(program, "/usr/bin/docker-registry")
            .copy(program, "/bin/registry")
            .busybox(&["sh", "sleep", "touch"])
            .file(CONFIG, 0o644, CONFIG_TEXT)
            .file("/tmp/.keep", 0o644, "");
        self.import(IMAGE, &changes, files).await;
    }
}

/// Where a registry's container has its storage.
#[derive(Debug, Clone, Default)]
pub enum Volume {
    /// On the volume that the image asks for.
    #[default]
    Anonymous,
    /// On a volume with a name.
    Named,
    /// In a folder of the host.
    Bind,
}

/// A registry's container to be made.
#[derive(Debug, Clone, Default)]
pub struct ContainerOptions {
    /// Where it stores.
    pub volume: Volume,
    /// A shell script instead of the program; the program is still at /usr/bin/docker-registry.
    pub script: Option<String>,
    /// More variables of the environment.
    pub env: Vec<String>,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// As with `docker run --rm`.
    pub auto_remove: bool,
    /// Another configuration file, mounted over the image's own.
    pub config: Option<String>,
}

impl ContainerOptions {
    /// Creates it, starts it and waits until it answers.
    pub async fn start(self, engine: &'static Engine) -> Container {
        let container = self.create(engine).await;
        engine.docker().start_container(&container.name, None).await.unwrap();
        assert!(container.answers().await, "the registry does not answer");
        container
    }

    /// Creates it.
    pub async fn create(self, engine: &'static Engine) -> Container {
        let port = free_port();
        let name = format!("registry-{port}");
        let folder = engine.folder.join(&name);
        fs::create_dir(&folder).unwrap();
        let place = "/var/lib/registry";
        let mut binds = match self.volume {
            Volume::Anonymous => Vec::new(),
            Volume::Named => vec![format!("{name}:{place}")],
            Volume::Bind => vec![format!("{}:{place}", folder.join("store").display())],
        };
        if let Some(script) = &self.script {
            let file = folder.join("script");
            fs::write(&file, script).unwrap();
            fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            binds.push(format!("{}:/bin/registry:ro", file.display()));
        }
        if let Some(config) = &self.config {
            fs::write(folder.join("config.yml"), config).unwrap();
            binds.push(format!("{}:{CONFIG}:ro", folder.join("config.yml").display()));
        }
        let address = format!("REGISTRY_HTTP_ADDR=127.0.0.1:{port}");
        let body = ContainerCreateBody {
            image: Some(IMAGE.to_owned()),
            env: Some([vec![address], self.env].concat()),
            labels: Some(self.labels.into_iter().collect()),
            host_config: Some(HostConfig {
                network_mode: Some("host".to_owned()),
                binds: Some(binds),
                auto_remove: Some(self.auto_remove),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        engine.docker().create_container(Some(options), body).await.unwrap();
        Container { engine, name, port }
    }
}

/// A registry's container.
#[derive(Debug)]
pub struct Container {
    /// The Engine that runs it.
    pub engine: &'static Engine,
    /// Its name.
    pub name: String,
    /// Where it listens on the loopback.
    pub port: u16,
}

impl Container {
    /// The registry's address, as in the name of an image.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The registry's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.host())
    }

    /// Whether the registry answers within half a minute.
    pub async fn answers(&self) -> bool {
        for _ in 0..600 {
            if self.answers_now().await {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// Whether the registry answers.
    pub async fn answers_now(&self) -> bool {
        reqwest::get(format!("{}/v2/", self.url())).await.is_ok_and(|answer| answer.status().is_success())
    }

    /// Whether it runs, and when it was started.
    pub async fn state(&self) -> (bool, String) {
        let state = self.engine.inspect(&self.name).await.state.unwrap();
        (state.running.unwrap(), state.started_at.unwrap())
    }

    /// Its storage.
    pub async fn store(&self) -> Store {
        let mounts = self.engine.inspect(&self.name).await.mounts.unwrap();
        let place = mounts.iter().find(|one| one.destination.as_deref() == Some("/var/lib/registry"));
        Store::at(place.unwrap().source.clone().unwrap())
    }
}

/// The files of an image, as a tar archive.
pub struct Files(tar::Builder<Vec<u8>>);

impl Default for Files {
    fn default() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }
}

impl Files {
    /// With this file.
    pub fn file(mut self, path: &str, mode: u32, bytes: impl AsRef<[u8]>) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(bytes.as_ref().len() as u64);
        self.0.append_data(&mut header, path.trim_start_matches('/'), bytes.as_ref()).unwrap();
        self
    }

    /// With a file of this machine.
    pub fn copy(self, source: &Path, target: &str) -> Self {
        let bytes = fs::read(source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        self.file(target, 0o755, bytes)
    }

    /// With a folder of this machine.
    pub fn folder(mut self, source: &Path, target: &str) -> Self {
        self.0.append_dir_all(target, source).unwrap();
        self
    }

    /// With the libraries that a program of this machine needs.
    pub fn libraries(self, program: &Path) -> Self {
        let libraries = Command::new("ldd").arg(program).output().unwrap().stdout;
        let text = String::from_utf8(libraries).unwrap();
        let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
        paths.fold(self, |files, path| files.copy(Path::new(path), path))
    }

    /// With a shell and other tools.
    pub fn busybox(self, applets: &[&str]) -> Self {
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new);
        let busybox = busybox.into_iter().find(|path| path.is_file());
        let mut files = self.copy(busybox.expect("busybox-static is not installed"), "/bin/busybox");
        for applet in applets {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            files.0.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
        }
        files
    }

    /// The archive.
    pub fn tar(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// Prints past the test harness, which hides the output of tests that pass.
fn print_uncaptured(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A free port of the loopback. No other test takes it, also not of another run on this machine: each process
/// holds a socket that is named after its port as long as it lives.
pub fn free_port() -> u16 {
    static HELD: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    loop {
        let first = u16::try_from(std::process::id() % 1000).unwrap() * 10;
        let port = 21_000 + (first + NEXT_PORT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let name = SocketAddr::from_abstract_name(format!("regsweep-test-port-{port}")).unwrap();
        let Ok(held) = UnixListener::bind_addr(&name) else { continue };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            HELD.lock().unwrap().push(held);
            return port;
        }
    }
}
