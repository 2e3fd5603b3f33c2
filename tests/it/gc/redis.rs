//! Collections of a registry that keeps its cache in a real Redis, which a restart of the registry does not empty.

use regsweep::config::{self, Cache, ClientCertificate, Gc, Method, RedisTls};

use super::harness::{
    Filled, TestRecoveryLog, assert_sound, collect, collected, collector, docker, fill, until,
};
use crate::gc::commands::Host;
use crate::support::docker_engine::{ContainerOptions, Engine};
use crate::support::push::Pusher;
use crate::support::real_registry::RealRegistry;
use crate::support::redis::Redis;
use crate::support::registry_program::registry_program;
use crate::support::skopeo::skopeo_pull_all;

fn at(redis: &Redis, db: u16) -> config::Redis {
    config::Redis {
        host: "127.0.0.1".to_owned(),
        port: redis.port(),
        username: None,
        password: None,
        db,
        tls: None,
    }
}

/// A registry of this host with its cache in a database of Redis.
async fn host(redis: &Redis, db: u16) -> (Host, Gc) {
    let host = Host::of(RealRegistry::options().redis(&redis.address(), db)).await;
    // Some of the garbage is known to another repository, too.
    let (pusher, gone) = (Pusher::new(&host.registry.url()), &host.filled.gone);
    for blob in &gone.blobs {
        pusher.put_blob("team/other", blob).await.unwrap();
    }
    let mut gc = host.gc(&[registry_program(), "garbage-collect", &host.config()]);
    gc.redis = Some(at(redis, db));
    (host, gc)
}

/// The keys that name garbage, and the sets that contain it.
async fn stale(redis: &Redis, db: u16, filled: &Filled) -> Vec<String> {
    let mut stale = Vec::new();
    for key in redis.keys(db).await {
        let mut named = filled.garbage.keys().any(|digest| key.ends_with(digest.as_str()));
        if key.ends_with("::blobs") {
            let members: Vec<String> = redis.ask(db, &["SMEMBERS", &key]).await;
            named |=
                members.iter().any(|member| filled.garbage.keys().any(|digest| digest.as_str() == member));
        }
        if named {
            stale.push(key);
        }
    }
    stale
}

#[tokio::test]
async fn image_pushed_after_a_collection_is_complete_with_a_cache_in_redis() {
    let redis = Redis::start();
    let (host, gc) = host(&redis, 3).await;
    let _: () = redis.ask(3, &["SET", "another application", "1"]).await;
    let before = redis.keys(3).await;
    let named = stale(&redis, 3, &host.filled).await;
    assert!(named.iter().any(|key| key == "repository::team/other::blobs"), "{named:?}");
    let recovery_log = TestRecoveryLog::default();
    let done = collected(host.collect(&gc, &recovery_log).await.unwrap());
    assert_eq!(done.removed, host.filled.garbage.keys().cloned().collect());
    assert!(recovery_log.stale.lock().unwrap().is_empty());
    // Exactly the entries of swept blobs are removed.
    assert_eq!(stale(&redis, 3, &host.filled).await, [""; 0]);
    let swept = |key: &String| named.contains(key) && !key.ends_with("team/app::blobs");
    let kept: Vec<String> = before.into_iter().filter(|key| !swept(key)).collect();
    assert_eq!(redis.keys(3).await, kept);
    assert_sound(&host.host(), &host.filled).await;
    Pusher::new(&host.registry.url()).push("team/other", "again", &host.filled.gone).await.unwrap();
    skopeo_pull_all(&format!("{}/team/other:again", host.host()));
}

#[tokio::test]
async fn cache_that_cannot_be_cleared_refuses_the_collection() {
    let (redis, guarded) = (Redis::start(), Redis::with(&["--requirepass", "open sesame"]));
    let (host, gc) = host(&redis, 0).await;
    let check = async |change: &dyn Fn(&mut Gc), kind: &str, words: &str| {
        let mut gc = gc.clone();
        change(&mut gc);
        let recovery_log = TestRecoveryLog::default();
        let error = host.collect(&gc, &recovery_log).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(recovery_log.calls().is_empty() && host.commands_run().is_empty() && host.nothing_is_gone());
    };
    check(&|gc| gc.redis = None, "cache_in_redis", "gc.redis").await;
    check(&|gc| (gc.redis, gc.cache) = (None, Some(Cache::InMemory)), "cache_in_redis", "gc.redis").await;
    check(&|gc| gc.redis = Some(at(&redis, 1)), "other_cache", "database 0: set gc.redis.db to that").await;
    check(&|gc| gc.redis = Some(at(&guarded, 0)), "redis", "NOAUTH").await;
    let mut gone = Redis::start();
    gone.stop();
    check(&|gc| gc.redis = Some(at(&gone, 0)), "redis", "refused").await;
    // An empty Redis may belong to another registry.
    let empty = Redis::start();
    check(&|gc| gc.redis = Some(at(&empty, 0)), "no_cache", "is it the one").await;
    let replica = Redis::with(&["--replicaof", "127.0.0.1", &gone.port().to_string()]);
    check(&|gc| gc.redis = Some(at(&replica, 0)), "redis", "read only replica").await;
}

#[tokio::test]
async fn unknown_cache_must_be_configured() {
    let redis = Redis::start();
    let (host, gc) = host(&redis, 0).await;
    let mut unknown =
        host.gc(&["sh", "-c", &format!("{} garbage-collect {}", registry_program(), host.config())]);
    let error = host.collect(&unknown, &TestRecoveryLog::default()).await.unwrap_err();
    assert_eq!(error.kind(), "cache_unknown", "{error}");
    unknown = host.gc(&[registry_program(), "garbage-collect", "/nowhere/config.yml"]);
    let error = host.collect(&unknown, &TestRecoveryLog::default()).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/config.yml cannot be read here"), "{error}");
    assert!(host.commands_run().is_empty() && host.nothing_is_gone());
    // The configured cache counts where the registry's own configuration cannot be read.
    let inside = format!(
        "exec {} $(echo \"$@\" | sed 's|/nowhere/config.yml|{}|')",
        registry_program(),
        host.config()
    );
    let mut stated = host.gc(&[&host.program_of(&inside), "garbage-collect", "/nowhere/config.yml"]);
    stated.redis = gc.redis;
    collected(host.collect(&stated, &TestRecoveryLog::default()).await.unwrap());
    assert_eq!(stale(&redis, 0, &host.filled).await, [""; 0]);
    assert_sound(&host.host(), &host.filled).await;
}

#[tokio::test]
async fn redis_with_password_and_certificates_is_cleared() {
    let redis = Redis::tls();
    let settings = config::Redis {
        tls: Some(RedisTls {
            ca_file: Some(redis.file("ca.pem")),
            identity: Some(ClientCertificate {
                cert_file: redis.file("server.pem"),
                key_file: redis.file("server.key"),
            }),
        }),
        ..at(&redis, 0)
    };
    // The registry itself does not speak TLS to Redis (2.8), so this cache stays empty.
    let host = Host::of(RealRegistry::options().cache()).await;
    let mut gc = host.gc(&[registry_program(), "garbage-collect", &host.config()]);
    gc.redis = Some(settings.clone());
    let error = host.collect(&gc, &TestRecoveryLog::default()).await.unwrap_err();
    assert_eq!(error.kind(), "no_cache", "{error}");
    gc.redis = Some(config::Redis { tls: Some(RedisTls { ca_file: None, identity: None }), ..settings });
    let error = host.collect(&gc, &TestRecoveryLog::default()).await.unwrap_err();
    assert_eq!(error.kind(), "redis", "{error}");

    let redis = Redis::with(&["--requirepass", "open sesame"]);
    gc.redis = Some(config::Redis { password: Some("open sesame".into()), ..at(&redis, 0) });
    let error = host.collect(&gc, &TestRecoveryLog::default()).await.unwrap_err();
    assert_eq!(error.kind(), "no_cache", "{error}");
}

#[tokio::test]
async fn cache_in_redis_of_a_container_is_cleared() {
    for method in [Method::Offline, Method::Exec] {
        let Some(engine) = Engine::shared() else { return };
        let redis = Redis::start();
        let env = [
            "REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR=redis".to_owned(),
            format!("REGISTRY_REDIS_ADDR={}", redis.address()),
            "REGISTRY_REDIS_DB=2".to_owned(),
        ];
        let container =
            ContainerOptions { env: env.to_vec(), ..ContainerOptions::default() }.start(engine).await;
        let filled = fill(&container.url()).await;
        let mut gc = docker(&container, method);
        let started = container.state().await;
        let error = collect(&gc, &container, &TestRecoveryLog::default()).await.unwrap_err();
        assert_eq!(error.kind(), "cache_in_redis", "{error}");
        assert_eq!(container.state().await, started);
        gc.redis = Some(at(&redis, 2));
        assert!(!stale(&redis, 2, &filled).await.is_empty());
        collected(collect(&gc, &container, &TestRecoveryLog::default()).await.unwrap());
        assert_eq!(stale(&redis, 2, &filled).await, [""; 0]);
        assert_sound(&container.host(), &filled).await;
    }
}

#[tokio::test]
async fn cache_in_redis_is_cleared_after_a_kill_before_the_registry_is_restored() {
    let redis = Redis::start();
    let (host, mut gc) = host(&redis, 0).await;
    let store = host.registry.store();
    // When everything is swept, the sweep does not end, and the collection is killed.
    let program = host.program(&format!("{} \"$@\"; sleep 600", registry_program()));
    gc.collector = host.gc(&[&program, "garbage-collect", &host.config()]).collector;
    let recovery_log = std::thread::scope(|scope| {
        let run = || {
            let recovery_log = TestRecoveryLog::default();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let garbage = || host.filled.garbage.keys();
                let swept = async || garbage().all(|digest| !store.has_blob(digest.as_str()));
                tokio::select! {
                    () = until("a sweep", swept) => {}
                    ended = host.collect(&gc, &recovery_log) => panic!("{ended:?}"),
                }
            });
            runtime.shutdown_background();
            recovery_log
        };
        scope.spawn(run).join().unwrap()
    });
    let left = recovery_log.stale.lock().unwrap().clone();
    assert_eq!(left, host.filled.garbage.keys().cloned().collect());
    let next = collector(&gc);
    next.clear_cache(&left).await.unwrap();
    assert_eq!(stale(&redis, 0, &host.filled).await, [""; 0]);
    next.restore(|| host.answers()).await.unwrap();
    assert_sound(&host.host(), &host.filled).await;
}

#[tokio::test]
async fn registry_stays_down_until_its_cache_is_cleared() {
    let redis = Redis::start();
    let (host, gc) = host(&redis, 0).await;
    let port = redis.port().to_string();
    let password = move |old: &str, new: &str| {
        let arguments = ["-p", &port, "-a", old, "config", "set", "requirepass", new];
        let output = std::process::Command::new("redis-cli").args(arguments).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("OK"), "{output:?}");
    };
    let lock = password.clone();
    // Redis accepts clients when the collection begins, and refuses them when it sweeps.
    let recovery_log = TestRecoveryLog::with(move |call| {
        if call == "sweeping" {
            lock("", "changed");
        }
        Ok(())
    });
    let refused = async || {
        let output = std::process::Command::new("redis-cli")
            .args(["-p", &redis.port().to_string(), "-a", "changed", "info", "errorstats"])
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        let count =
            output.split("errorstat_NOAUTH:count=").nth(1).and_then(|rest| rest.split_whitespace().next());
        count.and_then(|count| count.parse::<u32>().ok()).is_some_and(|count| count > 2)
    };
    let watch = async {
        until("some tries to clear it", refused).await;
        assert_eq!(host.commands_run(), ["before"]);
        assert!(!host.answers_now().await);
        assert_eq!(*recovery_log.stale.lock().unwrap(), host.filled.garbage.keys().cloned().collect());
        password("changed", "");
    };
    let (done, ()) = tokio::join!(host.collect(&gc, &recovery_log), watch);
    collected(done.unwrap());
    assert_eq!(host.commands_run(), ["before", "after"]);
    assert_eq!(stale(&redis, 0, &host.filled).await, [""; 0]);
    assert_sound(&host.host(), &host.filled).await;
}

#[tokio::test]
async fn cache_entries_of_links_that_3_x_removes_are_cleared() {
    let redis = Redis::start();
    let (host, mut gc) = host(&redis, 0).await;
    // The line that 3.x prints for a layer that one repository no longer needs and another does.
    let kept = host.filled.kept[0].1.config_digest();
    assert!(redis.keys(0).await.contains(&format!("repository::team/app::blobs::{kept}")));
    let link = format!("docker-registry \"$@\"; echo 'team/app: layer link eligible for deletion: {kept}'");
    gc.collector = host.gc(&[&host.program_of(&link), "garbage-collect", &host.config()]).collector;
    collected(host.collect(&gc, &TestRecoveryLog::default()).await.unwrap());
    let named: Vec<String> = redis.keys(0).await.into_iter().filter(|key| key.ends_with(&kept)).collect();
    assert_eq!(named, [""; 0]);
    let member: bool = redis.ask(0, &["SISMEMBER", "repository::team/app::blobs", &kept]).await;
    assert!(!member);
    assert_sound(&host.host(), &host.filled).await;
}
