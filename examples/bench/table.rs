//! The measurements as a Markdown table, and a line about the machine.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Duration;

use super::load::Scan;
use super::measure::PlanCost;
use crate::support::registry_program::registry_program;

/// The measurements of one size, cold or warm.
pub(crate) struct Row {
    pub(crate) tags: usize,
    pub(crate) scan: Scan,
    /// Requests of the load generator.
    pub(crate) sent: usize,
    pub(crate) load: Vec<Duration>,
    pub(crate) ran: Vec<PlanCost>,
    /// The shell loop's time, scaled to all tags.
    pub(crate) looped: Option<Duration>,
}

impl Row {
    pub(crate) fn new(tags: usize, scan: Scan) -> Self {
        Self { tags, scan, sent: 0, load: Vec::new(), ran: Vec::new(), looped: None }
    }
}

/// The table: medians of all rounds, and the highest memory of any.
pub(crate) fn markdown(rows: &[Row], looped: usize) -> String {
    let mut text = format!(
        "| tags | scan | requests | `regsweep plan` | CPU | peak memory | requests of wrk | wrk | ratio \
         | `skopeo inspect` loop, scaled from {looped} tags |\n\
         |---:|---|---:|---:|---:|---:|---:|---:|---:|---:|\n"
    );
    for row in rows {
        let wall = median(row.ran.iter().map(|ran| ran.wall));
        let cpu = median(row.ran.iter().map(|ran| ran.cpu));
        let load = median(row.load.iter().copied());
        // The ratio of each round: the machine's load is the same for both runs of a round, and may differ in the next.
        let ratio = median(row.ran.iter().zip(&row.load).map(|(ran, load)| ran.wall.div_duration_f64(*load)));
        let peak = row.ran.iter().map(|ran| ran.peak_kib).max().unwrap_or_default();
        let requests = row.ran.last().and_then(|ran| ran.requests);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.2} s | {:.2} s | {:.0} MB | {} | {:.2} s | {:.2} | {} |",
            row.tags,
            row.scan.name(),
            requests.map_or_else(|| "?".to_owned(), |requests| requests.to_string()),
            wall.as_secs_f64(),
            cpu.as_secs_f64(),
            peak as f64 * 1024.0 / 1e6,
            row.sent,
            load.as_secs_f64(),
            ratio,
            row.looped.map_or_else(String::new, |looped| format!("{:.0} s", looped.as_secs_f64())),
        );
    }
    text += "\nMedians of all rounds, also of their ratios; of memory the highest. A cold scan begins with an empty state \
             directory, a warm one with what the cold one left there.";
    text
}

/// The median; of an even number of values the upper one of the two in the middle.
fn median<T: PartialOrd + Copy>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_by(|one, other| one.partial_cmp(other).unwrap());
    values[values.len() / 2]
}

/// One line about the machine.
pub(crate) fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let kib: f64 = value(&memory, "MemTotal", ':').trim_end_matches(" kB").parse().unwrap_or_default();
    format!(
        "Machine: {}, {} cores, {:.0} GB memory, {}, distribution {}, {}; load before: {}",
        value(&cpus, "model name", ':'),
        std::thread::available_parallelism().map_or(0, usize::from),
        kib * 1024.0 / 1e9,
        value(&system, "PRETTY_NAME", '=').trim_matches('"'),
        version(registry_program(), "--version", 2),
        ["wrk", &version("wrk", "-v", 1)].join(" ").replace("debian/", ""),
        load.split(' ').next().unwrap_or_default(),
    )
}

/// The value after a name at the beginning of a line.
fn value<'a>(text: &'a str, name: &str, separator: char) -> &'a str {
    let lines = text.lines().filter_map(|line| line.split_once(separator));
    lines.filter(|(found, _)| found.trim() == name).map(|(_, value)| value.trim()).next().unwrap_or("?")
}

/// The word at this position in the first line of a program's version output.
fn version(program: &str, argument: &str, place: usize) -> String {
    let printed =
        Command::new(program).arg(argument).output().map(|output| output.stdout).unwrap_or_default();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    printed.split_whitespace().nth(place).unwrap_or("?").to_owned()
}
