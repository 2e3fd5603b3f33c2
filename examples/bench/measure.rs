//! Runs a program and measures its time, its CPU time and its memory.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::CONCURRENCY;
use super::filling::Filled;

/// The cost of a `regsweep plan`.
#[derive(Debug, Clone)]
pub(crate) struct PlanCost {
    /// From its start to its end.
    pub(crate) wall: Duration,
    /// CPU time, user and system.
    pub(crate) cpu: Duration,
    /// The peak of its resident memory, in KiB.
    pub(crate) peak_kib: u64,
    /// The number of requests that it reports.
    pub(crate) requests: Option<u64>,
}

/// Runs `regsweep plan` with rules that need the age of every image.
pub(crate) fn plan(program: &Path, url: &str, folder: &Path, state: &Path) -> PlanCost {
    let (config, text, costs) = (folder.join("config.yaml"), folder.join("text"), folder.join("costs"));
    let yaml = format!(
        "state_dir: {}\n\
         registries: [{{ name: main, url: '{url}', concurrency: {CONCURRENCY} }}]\n\
         limits: {{ max_deletions: 1000000, max_percent: 100 }}\n\
         policies:\n\
         - name: all\n  \
           repositories: '.*'\n  \
           rules: [{{ name: recent, tags: '.*', keep: {{ newest: 20, newer_than: 660d }} }}]\n",
        state.display()
    );
    fs::write(&config, yaml).unwrap();
    let mut command = Command::new("/usr/bin/time");
    command.args(["--format", "%U %S %M", "--output"]).arg(&costs).arg(program);
    command.args(["plan", "--config"]).arg(&config).env_remove("RUST_LOG").env_remove("STATE_DIRECTORY");
    command.stdin(Stdio::null()).stdout(File::create(&text).unwrap());
    let begin = Instant::now();
    let status = command.status().expect("/usr/bin/time; `make bench` installs it");
    let wall = begin.elapsed();
    assert!(status.success(), "{}: {status}", program.display());
    let costs = fs::read_to_string(&costs).unwrap();
    let costs: Vec<f64> = costs.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [user, system, peak] = costs.as_slice() else { panic!("/usr/bin/time printed {costs:?}") };
    PlanCost {
        wall,
        cpu: Duration::from_secs_f64(user + system),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size in KiB")]
        peak_kib: *peak as u64,
        requests: requests(&fs::read_to_string(&text).unwrap()),
    }
}

/// Finds `read with N requests`.
fn requests(output: &str) -> Option<u64> {
    let (_, rest) = output.rsplit_once("read with ")?;
    rest.split(' ').next()?.parse().ok()
}

/// The time of a shell loop that runs `skopeo inspect` for so many tags.
pub(crate) fn skopeo_loop(host: &str, filled: &Filled, tags: usize) -> Duration {
    let references: Vec<String> = filled.references().take(tags).collect();
    let script = "for image; do \
        skopeo inspect --tls-verify=false --no-tags --format '{{.Created}}' \"docker://$image\" || exit 1; \
        done";
    let begin = Instant::now();
    let status = Command::new("sh")
        .args(["-c", script, "sh"])
        .args(references.iter().map(|reference| format!("{host}/{reference}")))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "skopeo inspect: {status}");
    begin.elapsed()
}
