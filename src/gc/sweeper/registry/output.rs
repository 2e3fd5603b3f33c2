//! The output of `registry garbage-collect`, parsed while it arrives.
//!
//! Distribution 2.8 and 3.x print the same lines. Exit code 0 proves nothing: an unknown flag exits with 0 as well, so only
//! the summary line on stdout, with as many eligible blobs as it counts, is a success. It does not know how the program was
//! run.

use std::collections::{BTreeSet, VecDeque};

use crate::gc::error::Error;
use crate::gc::sweeper::Findings;
use crate::model::{Digest, sanitize};
use crate::process::Stream;
use crate::runtime::OutputSink;

/// Lines of the output that an error shows.
const TAIL_LINES: usize = 8;
/// Characters of one of these lines, and of a line before it is cut. No line that is parsed is longer; a line with the tags
/// of a repository can be.
const LINE_LENGTH: usize = 4096;
/// Characters of the tail, in all.
const TAIL_LENGTH: usize = 1200;

/// The line that a collection prints when it has marked everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) marked: u64,
    pub(crate) blobs: u64,
}

/// The output so far.
#[derive(Debug, Default)]
pub(crate) struct Output {
    stdout: Line,
    stderr: Line,
    eligible: BTreeSet<Digest>,
    unlinked: BTreeSet<Digest>,
    summary: Option<Summary>,
    /// Whether the registry failed because its storage has no folder of repositories or of blobs.
    absent: bool,
    tail: VecDeque<String>,
}

impl OutputSink for Output {
    fn take(&mut self, stream: Stream, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let line = match stream {
                Stream::Stdout => &mut self.stdout,
                Stream::Stderr => &mut self.stderr,
            };
            line.extend(piece);
            if piece.ends_with(b"\n") {
                let line = line.end();
                self.line(stream, &line);
            }
        }
    }
}

impl Output {
    /// The tail of the output, for people.
    fn tail(&self) -> String {
        if self.tail.is_empty() {
            return "it printed nothing".to_owned();
        }
        let tail = Vec::from_iter(self.tail.iter().map(String::as_str)).join(" | ");
        let skip = tail.chars().count().saturating_sub(TAIL_LENGTH);
        format!("it printed: {}", tail.chars().skip(skip).collect::<String>())
    }

    /// The findings, when the process has ended with this code.
    pub(crate) fn finish(mut self, exit: i64) -> Result<Findings, Error> {
        self.flush();
        match self.summary {
            Some(_) if exit != 0 => Err(Error::Failed { exit, tail: self.tail() }),
            Some(summary) if summary.blobs != self.eligible.len() as u64 => {
                Err(Error::Incomplete { counted: summary.blobs, read: self.eligible.len() as u64 })
            }
            Some(summary) => Ok(Findings::Eligible {
                blobs: self.eligible,
                unlinked: self.unlinked,
                marked: summary.marked,
            }),
            None if exit != 0 && self.absent => Ok(Findings::EmptyStorage),
            None => Err(Error::NoSummary { exit, tail: self.tail() }),
        }
    }

    /// The findings of an unknown program, which need not print a summary.
    pub(crate) fn finish_unknown_program(mut self, exit: i64) -> Result<Findings, Error> {
        self.flush();
        if exit != 0 {
            return Err(Error::Failed { exit, tail: self.tail() });
        }
        let marked = self.summary.map_or(0, |summary| summary.marked);
        Ok(Findings::Eligible { blobs: self.eligible, unlinked: self.unlinked, marked })
    }

    fn flush(&mut self) {
        // The last line of a failing registry has no line end.
        for stream in [Stream::Stdout, Stream::Stderr] {
            let line = match stream {
                Stream::Stdout => self.stdout.end(),
                Stream::Stderr => self.stderr.end(),
            };
            if !line.is_empty() {
                self.line(stream, &line);
            }
        }
    }

    fn line(&mut self, stream: Stream, line: &str) {
        if stream == Stream::Stdout {
            let blob = line.strip_prefix("blob eligible for deletion: ");
            if let Some(digest) = blob.and_then(|digest| Digest::parse(digest).ok()) {
                self.eligible.insert(digest);
                return;
            }
            let link = line.split_once(": layer link eligible for deletion: ");
            if let Some(digest) = link.and_then(|(_, digest)| Digest::parse(digest).ok()) {
                self.unlinked.insert(digest);
                return;
            }
            if let Some(summary) = summary(line) {
                self.summary = Some(summary);
            }
        }
        self.absent |= stream == Stream::Stderr && says_nothing_is_stored(line);
        if !line.trim().is_empty() {
            if self.tail.len() == TAIL_LINES {
                self.tail.pop_front();
            }
            self.tail.push_back(sanitize(line, LINE_LENGTH));
        }
    }
}

/// `N blobs marked, M blobs and K manifests eligible for deletion`
fn summary(line: &str) -> Option<Summary> {
    let (marked, rest) = line.split_once(" blobs marked, ")?;
    let (blobs, rest) = rest.split_once(" blobs and ")?;
    let manifests = rest.strip_suffix(" manifests eligible for deletion")?;
    manifests.parse::<u64>().ok()?;
    Some(Summary { marked: marked.parse().ok()?, blobs: blobs.parse().ok()? })
}

/// Whether the registry failed because one of the two folders that hold everything is not there. Other
/// folders that are not there (`_layers` of a repository, distribution issue 4443) are damage.
fn says_nothing_is_stored(line: &str) -> bool {
    let Some((before, path)) = line.split_once("Path not found: ") else { return false };
    let path = path.trim_end();
    before.contains("failed to garbage collect")
        && (path.ends_with("docker/registry/v2/repositories") || path.ends_with("docker/registry/v2/blobs"))
}

/// A line that is not complete yet.
#[derive(Debug, Default)]
struct Line(Vec<u8>);

impl Line {
    fn extend(&mut self, bytes: &[u8]) {
        let room = LINE_LENGTH.saturating_sub(self.0.len());
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end(&mut self) -> String {
        let line = std::mem::take(&mut self.0);
        String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const C: &str = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";

    fn read(stdout: &str, stderr: &str, exit: i64) -> Result<Findings, Error> {
        let mut output = Output::default();
        output.take(Stream::Stderr, stderr.as_bytes());
        output.take(Stream::Stdout, stdout.as_bytes());
        output.finish(exit)
    }

    fn eligible(blobs: &[&str], marked: u64) -> Findings {
        unlinked(blobs, &[], marked)
    }

    fn unlinked(blobs: &[&str], unlinked: &[&str], marked: u64) -> Findings {
        let digests = |texts: &[&str]| texts.iter().map(|digest| Digest::parse(digest).unwrap()).collect();
        Findings::Eligible { blobs: digests(blobs), unlinked: digests(unlinked), marked }
    }

    /// The output of 2.8, in its order.
    fn two_eight() -> String {
        format!(
            "team/app\nteam/app: marking manifest {C} \nteam/app: marking blob {C}\nteam/app: marking blob {C}\n\n\
             2 blobs marked, 2 blobs and 0 manifests eligible for deletion\n\
             blob eligible for deletion: {B}\nblob eligible for deletion: {A}\n"
        )
    }

    #[test]
    fn output_of_2_8_is_read() {
        let log = format!(
            "time=\"2026-01-01T00:00:00Z\" level=info msg=\"Deleting blob: /docker/registry/v2/blobs/{A}\"\n"
        );
        assert_eq!(read(&two_eight(), &log, 0).unwrap(), eligible(&[A, B], 2));
    }

    #[test]
    fn output_of_3_x_is_read() {
        let stdout = format!(
            "team/app\nmanifest tags path of repository other does not exist\nteam/app: marking manifest {C} \n\
             manifest eligible for deletion: {{team/app {B} [v1 v2]}}\n\n\
             1 blobs marked, 1 blobs and 1 manifests eligible for deletion\nblob eligible for deletion: {A}\n\
             team/app: layer link eligible for deletion: {B}\n"
        );
        assert_eq!(read(&stdout, "", 0).unwrap(), unlinked(&[A], &[B], 1));
    }

    #[test]
    fn output_without_eligible_blobs_is_a_success() {
        let stdout = "\n7 blobs marked, 0 blobs and 0 manifests eligible for deletion\n";
        assert_eq!(read(stdout, "", 0).unwrap(), eligible(&[], 7));
    }

    #[test]
    fn carriage_returns_end_lines_too() {
        assert_eq!(read(&two_eight().replace('\n', "\r\n"), "", 0).unwrap(), eligible(&[A, B], 2));
    }

    #[test]
    fn frames_may_split_lines_anywhere() {
        let text = two_eight();
        for size in 1..text.len() {
            let mut output = Output::default();
            for frame in text.as_bytes().chunks(size) {
                output.take(Stream::Stdout, frame);
                output.take(Stream::Stderr, b"noise without an end");
            }
            assert_eq!(output.finish(0).unwrap(), eligible(&[A, B], 2), "frames of {size}");
        }
    }

    #[test]
    fn last_line_without_an_end_counts() {
        assert_eq!(read(two_eight().trim_end(), "", 0).unwrap(), eligible(&[A, B], 2));
    }

    #[test]
    fn exit_code_0_without_a_summary_is_a_failure_that_shows_the_output() {
        let check = |stdout: &str, stderr: &str, shown: &str| {
            let error = read(stdout, stderr, 0).unwrap_err();
            assert_eq!(error.kind(), "no_summary");
            assert!(error.to_string().contains(shown), "{error}");
        };
        check("", "Error: unknown flag: --quiet\nUsage:\n", "unknown flag: --quiet");
        check("", "", "it printed nothing");
        check("hello\n", "", "hello");
        // The text of a summary on the other stream, or in a longer line, is no summary.
        check("", "1 blobs marked, 0 blobs and 0 manifests eligible for deletion\n", "1 blobs marked");
        check("x 1 blobs marked, 0 blobs and 0 manifests eligible for deletion.\n", "", "1 blobs marked");
        check("many blobs marked, 0 blobs and 0 manifests eligible for deletion\n", "", "many blobs marked");
    }

    #[test]
    fn nonzero_exit_code_is_a_failure_whatever_was_printed() {
        let error =
            read(&two_eight(), "failed to garbage collect: failed to delete: no space", 1).unwrap_err();
        assert_eq!(error.kind(), "failed");
        assert!(error.to_string().contains("no space"), "{error}");
    }

    #[test]
    fn incomplete_list_is_an_error() {
        let cut = two_eight().replace(&format!("blob eligible for deletion: {B}\n"), "");
        assert_eq!(read(&cut, "", 0).unwrap_err().kind(), "incomplete");
        let damaged = two_eight().replace(B, "sha256:bb");
        assert_eq!(read(&damaged, "", 0).unwrap_err().kind(), "incomplete");
    }

    #[test]
    fn fresh_storage_is_empty_and_damaged_storage_is_a_failure() {
        let failure = "failed to garbage collect: failed to mark: filesystem: Path not found: ";
        let root = "/docker/registry/v2";
        let read = |path: &str, exit| read("", &format!("{failure}{path}"), exit);
        assert_eq!(read(&format!("{root}/repositories"), 1).unwrap(), Findings::EmptyStorage);
        assert_eq!(read(&format!("{root}/blobs"), 1).unwrap(), Findings::EmptyStorage);
        let layers = format!("{root}/repositories/team/app/_layers");
        assert_eq!(read(&layers, 1).unwrap_err().kind(), "no_summary");
        assert_eq!(read(&format!("{root}/repositories"), 0).unwrap_err().kind(), "no_summary");
    }

    #[test]
    fn long_lines_use_no_memory_and_errors_stay_short() {
        let mut output = Output::default();
        for _ in 0..1000 {
            output.take(Stream::Stderr, &[b'x'; 9000]);
        }
        assert!(output.stderr.0.len() <= LINE_LENGTH);
        let text = output.finish(1).unwrap_err().to_string();
        assert!(text.len() < 2 * TAIL_LENGTH, "{}", text.len());
    }
}
