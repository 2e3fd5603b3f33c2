//! No secret in logs, errors, metrics, the page or the API, at any log level.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use regsweep::config;

use super::harness::{Installation, SECRET, assert_hidden, auths, base64, pair};
use crate::support::docker_engine::free_port;
use crate::support::fake_registry::{Auth, Bearer, FakeRegistry, Personality};
use crate::support::image::Image;
use crate::support::real_registry::RealRegistry;
use crate::support::regsweep::ProgramOutput;

/// All secrets: those in the configuration, and the tokens granted for them.
fn secrets() -> Vec<String> {
    let pairs = ["ann", "<token>", "AWS"].map(|user| base64(&format!("{user}:{SECRET}")));
    // The base64 form of any longer text that contains the secret contains one of these.
    let parts = [0, 1, 2].map(|shift| {
        let coded = base64(&format!("{}{SECRET}", &"___"[..shift]));
        coded[4..coded.len() - 4].to_owned()
    });
    let tokens = (1..10).map(|number| format!("token-{number}"));
    let plain = [SECRET.to_owned(), base64(SECRET)];
    plain.into_iter().chain(pairs).chain(parts).chain(tokens).collect()
}

/// A registry that only Ann may use, with this authentication.
fn locked(auth: Auth) -> FakeRegistry {
    let fake = FakeRegistry::options(Personality::V3_1).auth(auth).start();
    for (tag, name) in [("keep", "kept"), ("old", "expired")] {
        fake.push("app", tag, &Image::new(name).created("2020-01-01T00:00:00Z").build());
    }
    fake
}

fn bearer(password: &str, refresh_token: &str) -> Auth {
    let Auth::Bearer(bearer) = Auth::bearer("ann", password) else { unreachable!() };
    Auth::Bearer(Bearer { refresh_token: Some(refresh_token.into()), rotates: true, ..bearer })
}

/// Helpers and a Docker configuration with every form of credentials; one of them is for this registry.
fn installation(fake: &FakeRegistry, form: &str) -> Installation {
    let installation = Installation::new().env("RUST_LOG", "trace").env("SECRET", SECRET);
    let host = fake.host();
    let answer = |user: &str| format!("echo '{{\"Username\":\"{user}\",\"Secret\":\"{SECRET}\"}}'");
    installation.helper("basic", &answer("ann"));
    installation.helper("identity", &answer("<token>"));
    installation.helper("broken", &format!("{}; exit 1", answer("ann")));
    let helper = |name: &str| format!("{{\"credHelpers\":{{\"{host}\":\"{name}\"}}}}");
    let config = match form {
        "basic" | "bearer" => {
            let lines = if form == "basic" {
                "auth: { basic: { username: ann, password: { env: SECRET } } }"
            } else {
                "auth: { bearer: { env: SECRET } }"
            };
            installation.configure(&fake.url(), lines);
            return installation;
        }
        "docker" => auths(&host, &pair("ann", SECRET)),
        "identity" => auths(&host, &format!("{{\"identitytoken\":\"{SECRET}\"}}")),
        "registrytoken" => auths(&host, &format!("{{\"registrytoken\":\"{SECRET}\"}}")),
        "malformed" => auths(&host, &format!("{{\"auth\":\"{SECRET}\"}}")),
        "helper" => helper("basic"),
        "identity helper" => helper("identity"),
        "broken helper" => helper("broken"),
        other => panic!("{other}"),
    };
    installation.configure_docker(&fake.url(), &config);
    installation
}

#[track_caller]
fn check(ran: &ProgramOutput, case: &str) {
    assert!(ran.stderr.contains("TRACE"), "{case}: {}", ran.stderr);
    assert_hidden(&[&ran.stdout, &ran.stderr], &secrets());
}

#[test]
fn secrets_are_shown_by_no_command_at_any_log_level() {
    let refused = Auth::basic("ann", "other");
    for (form, auth, code) in [
        ("basic", Auth::basic("ann", SECRET), 0),
        ("basic", bearer(SECRET, SECRET), 0),
        ("docker", bearer(SECRET, SECRET), 0),
        ("identity", bearer("other", SECRET), 0),
        ("helper", Auth::basic("ann", SECRET), 0),
        ("identity helper", bearer("other", SECRET), 0),
        ("basic", refused.clone(), 1),
        ("docker", bearer("other", "other"), 1),
        ("identity", bearer("other", "other"), 1),
        ("bearer", refused.clone(), 1),
        ("registrytoken", refused.clone(), 1),
        ("helper", refused.clone(), 1),
        ("identity helper", refused.clone(), 1),
        ("broken helper", refused.clone(), 1),
    ] {
        let case = format!("{form} {auth:?}");
        let fake = locked(auth);
        let ran = installation(&fake, form).run(&["run"]);
        check(&ran, &case);
        assert_eq!(ran.code, Some(code), "{case}: {}", ran.stderr);
    }
    let fake = locked(refused);
    let ran = installation(&fake, "malformed").run(&["run"]).exits(1);
    assert_hidden(&[&ran.stdout, &ran.stderr], &secrets());
}

#[test]
fn secrets_are_not_shown_over_tls() {
    // It uses HTTP/2, which has logs of its own.
    let registry = RealRegistry::options().tls().htpasswd("ann", SECRET).start();
    registry.store().write("app", &["keep"], &Image::new("kept").build());
    let installation = Installation::new().env("RUST_LOG", "trace").env("SECRET", SECRET);
    let tls = format!("tls: {{ ca_file: {} }}", registry.ca_file().display());
    let auth = "auth: { basic: { username: ann, password: { env: SECRET } } }";
    installation.configure(&registry.url(), &format!("{tls}\n{auth}"));
    check(&installation.run(&["plan"]).exits(0), "HTTP/2");
}

/// A service that is killed when the value is dropped.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The answer of the service; `None` while there is none.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn secrets_are_in_no_answer_of_the_service() {
    for (form, auth, word) in [
        (
            "identity helper",
            bearer("other", SECRET),
            "regsweep_last_success_timestamp_seconds{registry=\"main\"}",
        ),
        ("docker", bearer("other", "other"), "regsweep_runs_total{outcome=\"failed\",registry=\"main\"}"),
    ] {
        let fake = locked(auth);
        let installation = installation(&fake, form);
        let port = free_port();
        let text = installation.read("regsweep.yaml");
        let head = format!("listen: 127.0.0.1:{port}\nschedule: '* * * * * *'\n");
        installation.file("regsweep.yaml", &(head + &text));
        let log = std::fs::File::create(installation.path("log")).unwrap();
        let child = installation.command(&["serve"]).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let service = Service(child);
        let seen = || {
            let metrics = get(port, "/metrics")?;
            let line = metrics.lines().find(|line| line.contains(word))?;
            (!line.ends_with(" 0")).then_some(metrics)
        };
        let mut tries = 0;
        while seen().is_none() {
            tries += 1;
            assert!(tries < 600, "{form}: {:?} {}", get(port, "/metrics"), installation.read("log"));
            std::thread::sleep(Duration::from_millis(100));
        }
        let pages = [
            "/",
            "/metrics",
            "/readyz",
            "/healthz",
            "/runs/1",
            "/api/v1/status",
            "/api/v1/plan",
            "/api/v1/history",
            "/api/v1/runs",
        ];
        for page in pages {
            let answer = get(port, page).unwrap();
            assert!(answer.len() > 100, "{page}: {answer}");
            assert_hidden(&[&answer], &secrets());
        }
        drop(service);
        let log = installation.read("log");
        assert!(log.contains("TRACE"), "{log}");
        assert_hidden(&[&log], &secrets());
    }
}

#[test]
fn secrets_are_not_in_the_debug_output_of_the_configuration() {
    for form in ["basic", "bearer", "docker", "identity"] {
        let fake = FakeRegistry::start(Personality::V3_1);
        let installation = installation(&fake, form);
        let env = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
        let config = config::parse(&installation.read("regsweep.yaml"), "f", &env).unwrap();
        assert_hidden(&[&format!("{config:?} {config:#?}")], &secrets());
    }
}

#[test]
fn secrets_are_needed_only_by_commands_that_connect_to_registries() {
    let registry = RealRegistry::options().htpasswd("ann", SECRET).start();
    let fill = crate::support::push::Pusher::new(&registry.url()).basic("ann", SECRET);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let image = Image::new("expired").created("2020-01-01T00:00:00Z").build();
    runtime.block_on(fill.push("app", "old", &image)).unwrap();
    // As with `systemd-run --property LoadCredential=registry:PATH`, and without it.
    let by_hand = Installation::new();
    by_hand.file("credentials/registry", SECRET);
    let listen = free_port();
    by_hand.configure(
        &registry.url(),
        "auth: { basic: { username: ann, password: { credential: registry } } }\ntls: { ca_file: /nowhere/ca.pem }",
    );
    let strict = by_hand.read("regsweep.yaml").replace("    tls: { ca_file: /nowhere/ca.pem }\n", "");
    let as_the_unit = |arguments: &[&str]| {
        let mut command = by_hand.command(arguments);
        ProgramOutput::from(
            command.env("CREDENTIALS_DIRECTORY", by_hand.path("credentials")).output().unwrap(),
        )
    };
    let lenient = format!("listen: 127.0.0.1:{listen}\n{}", by_hand.read("regsweep.yaml"));
    by_hand.file("regsweep.yaml", &strict);
    as_the_unit(&["run"]).exits(0);
    assert!(registry.store().repository("app").tags.is_empty());

    by_hand.file("regsweep.yaml", &lenient);
    let history = by_hand.run(&["history"]).exits(0);
    assert!(history.stdout.contains("run 1 of main"), "{}", history.stdout);
    let health = by_hand.run(&["health"]).exits(1);
    assert!(health.stderr.contains("does not answer"), "{}", health.stderr);
    let checked = by_hand.run(&["check"]).exits(0);
    for told in ["$CREDENTIALS_DIRECTORY is not set", "cannot read `/nowhere/ca.pem`"] {
        assert!(checked.stdout.contains(told), "{}", checked.stdout);
    }
    // An invalid configuration is an error for every command.
    by_hand.file("regsweep.yaml", &lenient.replace("credential: registry", "credential: registry, env: X"));
    assert!(by_hand.run(&["history"]).exits(78).stderr.contains("keep one of them"));

    by_hand.file("regsweep.yaml", &strict);
    assert!(by_hand.run(&["undo", "1"]).exits(78).stderr.contains("$CREDENTIALS_DIRECTORY is not set"));
    as_the_unit(&["undo", "1"]).exits(0);
    assert_eq!(registry.store().repository("app").tags.len(), 1);
}
