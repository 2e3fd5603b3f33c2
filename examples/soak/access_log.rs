//! The registry's access log, and what it proves about regsweep's deletions.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use crate::Soak;
use crate::model::Push;
use crate::support::image::Content;

/// The client of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Regsweep,
    /// A push, by its number.
    Push(usize),
    Other,
}

/// One request for a repository's tags or manifests. The log has them in the order of their answers.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    who: Who,
    method: String,
    repository: String,
    /// A tag or digest; `None` for the list of tags.
    reference: Option<String>,
    status: u16,
    /// As logged: to the second.
    time: String,
}

impl Line {
    pub(crate) fn is(&self, who: Who, method: &str, status: u16) -> bool {
        self.who == who && self.method == method && self.status == status
    }

    /// The time of the log line.
    fn moment(&self) -> Option<DateTime<Utc>> {
        let time = NaiveDateTime::parse_from_str(&self.time, "%d/%b/%Y:%H:%M:%S");
        time.ok().map(|time| time.and_utc())
    }

    pub(crate) fn concerns(&self, repository: &str, reference: &str) -> bool {
        self.repository == repository && self.reference.as_deref() == Some(reference)
    }

    fn read(line: &str) -> Option<Self> {
        let (before, rest) = line.split_once('"')?;
        let (request, rest) = rest.split_once('"')?;
        let time = before.split_once('[')?.1.split(' ').next()?.to_owned();
        let mut words = request.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.strip_prefix("/v2/")?);
        let status = rest.split_whitespace().next()?.parse().ok()?;
        let agent = rest.rsplit('"').nth(1)?;
        let who = match agent.strip_prefix("soak-push/") {
            Some(number) => Who::Push(number.parse().ok()?),
            None if agent.starts_with("regsweep/") => Who::Regsweep,
            None => Who::Other,
        };
        let path = path.split('?').next()?;
        let (repository, reference) = match path.split_once("/manifests/") {
            Some((repository, reference)) => (repository, Some(reference.to_owned())),
            None => (path.strip_suffix("/tags/list")?, None),
        };
        Some(Self { who, method, repository: repository.to_owned(), reference, status, time })
    }
}

/// The log, with the pushes.
pub(crate) struct AccessLog {
    pub(crate) lines: Vec<Line>,
    pub(crate) pushes: Vec<Push>,
}

/// A deletion by regsweep in the log.
pub(crate) struct Deletion<'a> {
    position: usize,
    pub(crate) repository: &'a str,
    /// The digest of a manifest, or a tag that was deleted alone.
    pub(crate) reference: &'a str,
}

impl AccessLog {
    pub(crate) fn read(soak: &Soak) -> Self {
        let lines = soak.host.access_log().lines().filter_map(Line::read).collect();
        Self { lines, pushes: soak.model.pushes() }
    }

    pub(crate) fn deletions(&self) -> impl Iterator<Item = Deletion<'_>> {
        self.lines.iter().enumerate().filter(|(_, line)| line.is(Who::Regsweep, "DELETE", 202)).filter_map(
            |(position, line)| {
                let reference = line.reference.as_deref()?;
                Some(Deletion { position, repository: &line.repository, reference })
            },
        )
    }

    pub(crate) fn deleted(&self) -> usize {
        self.deletions().count()
    }

    /// The last time that regsweep listed the tags of a repository before this.
    fn scan_before(&self, repository: &str, position: usize) -> Option<usize> {
        self.lines[..position].iter().rposition(|line| {
            line.reference.is_none() && line.repository == repository && line.is(Who::Regsweep, "GET", 200)
        })
    }

    /// The first answer to regsweep after this that names the manifest of a tag.
    fn answer_after(&self, repository: &str, tag: &str, position: usize) -> Option<usize> {
        let mut after = (position..).zip(&self.lines[position..]);
        after.find(|(_, line)| answers(line, repository, tag)).map(|(found, _)| found)
    }

    /// The request that justified a deletion: the tag itself where it is deleted alone, else the list of tags.
    fn justified(&self, deletion: &Deletion) -> Option<usize> {
        let Deletion { position, repository, reference } = *deletion;
        if is_digest(reference) {
            return self.scan_before(repository, position);
        }
        self.lines[..position].iter().rposition(|line| answers(line, repository, reference))
    }

    /// The lines of a push, from its first manifest to its success.
    fn span_of(&self, push: usize) -> Option<(usize, usize)> {
        let reference = Some(self.pushes.get(push)?.reference.as_str());
        let first = self.lines.iter().position(|line| line.who == Who::Push(push))?;
        let last = self.lines.iter().rposition(|line| {
            line.is(Who::Push(push), "PUT", 201) && line.reference.as_deref() == reference
        })?;
        Some((first, last))
    }

    /// Describes a race: regsweep deleted something of a push that was not complete at its recheck. No registry can
    /// refuse a deletion because of a later change. A deletion that was sent before is no race.
    pub(crate) fn race(&self, push: usize) -> Option<String> {
        let (begin, done) = self.span_of(push)?;
        let pushed = self.pushes.get(push)?;
        let mut parts: BTreeSet<&str> =
            pushed.content.tree().iter().map(|part| part.digest.as_str()).collect();
        parts.insert(&pushed.reference);
        self.deletions()
            .filter(|one| one.repository == pushed.repository && parts.contains(one.reference))
            .filter(|one| one.position > begin)
            .find_map(|one| {
                let recheck = self.justified(&one)?;
                let again = self.lines[recheck..one.position].iter().any(|line| {
                    (line.who, line.method.as_str()) == (Who::Regsweep, "DELETE")
                        && line.concerns(one.repository, one.reference)
                });
                (recheck < done && !again).then(|| {
                    let time = |position: usize| self.lines[position].time.as_str();
                    format!(
                        "scanned {}, pushed {}, deleted {}",
                        time(recheck),
                        time(done),
                        time(one.position)
                    )
                })
            })
    }

    /// Whether regsweep deleted one of these just after a push began.
    pub(crate) fn was_deleted_after(&self, push: usize, references: &[String]) -> bool {
        let (Some((begin, done)), Some(pushed)) = (self.span_of(push), self.pushes.get(push)) else {
            return true;
        };
        let soon = |position: usize| match (self.lines[done].moment(), self.lines[position].moment()) {
            (Some(done), Some(deleted)) => deleted - done <= TimeDelta::seconds(2),
            _ => true,
        };
        self.deletions()
            .filter(|one| one.repository == pushed.repository)
            .filter(|one| references.iter().any(|reference| reference == one.reference))
            .any(|one| one.position > begin && soon(one.position))
    }

    /// Whether any push of this manifest was in such a race.
    pub(crate) fn was_in_race(&self, repository: &str, digest: &str) -> bool {
        let same = |push: &Push| push.repository == repository && push.content.digest == digest;
        let pushes = self.pushes.iter().enumerate().filter(|(_, push)| same(push));
        pushes.into_iter().any(|(number, _)| self.race(number).is_some())
    }

    /// Whether the pushed content existed already in an earlier scan, so that scans cannot detect the push.
    pub(crate) fn was_unseen(&self, push: usize) -> bool {
        let (Some((begin, _)), Some(pushed)) = (self.span_of(push), self.pushes.get(push)) else {
            return false;
        };
        let digest = &pushed.content.digest;
        let mut scans = Vec::new();
        let mut there = false;
        for line in self.lines[..begin].iter().filter(|line| line.repository == pushed.repository) {
            match (line.who, line.method.as_str(), line.reference.as_deref(), line.status) {
                (Who::Regsweep, "GET", None, 200) => scans.push(there),
                (Who::Push(number), "PUT", Some(reference), 201) if reference == pushed.reference => {
                    there = reference.starts_with("sha256:")
                        || self.pushes.get(number).is_some_and(|one| one.content.digest == *digest);
                }
                (_, "DELETE", Some(gone), 202) if gone == digest || gone == pushed.reference => there = false,
                _ => {}
            }
        }
        // A scan may fail, and then the scan before it counts.
        scans.iter().rev().take(4).any(|there| *there)
    }

    /// Whether the tag of a push was moved or deleted before regsweep read it, so that scans cannot detect the push.
    pub(crate) fn moved_on(&self, push: usize) -> bool {
        let (Some((_, done)), Some(pushed)) = (self.span_of(push), self.pushes.get(push)) else {
            return false;
        };
        let (repository, tag) = (&pushed.repository, &pushed.reference);
        let until = self.answer_after(repository, tag, done).unwrap_or(self.lines.len());
        let digest = &pushed.content.digest;
        !is_digest(tag)
            && self.lines[done..until].iter().any(|line| match line.who {
                Who::Push(number) if line.method == "PUT" && line.status == 201 => {
                    line.concerns(repository, tag)
                        && self.pushes.get(number).is_some_and(|other| other.content.digest != *digest)
                }
                who => {
                    line.is(who, "DELETE", 202)
                        && (line.concerns(repository, tag)
                            || (who == Who::Other && line.concerns(repository, digest)))
                }
            })
    }

    /// Whether the registry failed in a deletion by regsweep, and may have done a part of it.
    pub(crate) fn is_half(&self, repository: &str, reference: &str) -> bool {
        self.lines
            .iter()
            .any(|line| line.is(Who::Regsweep, "DELETE", 500) && line.concerns(repository, reference))
    }

    /// Whether a manifest was found after the deletion of a journal entry, without any of its tags. It may have been
    /// deleted and pushed again.
    pub(crate) fn lost_its_tags(
        &self,
        repository: &str,
        digest: &str,
        tags: &[String],
        at: DateTime<Utc>,
    ) -> bool {
        let holds = |tag: &str, position: usize| {
            let mut before = self.lines[..position].iter().rev();
            let last = before
                .find(|line| line.method == "PUT" && line.status == 201 && line.concerns(repository, tag));
            let Some(Line { who: Who::Push(number), .. }) = last else { return false };
            self.pushes.get(*number).is_some_and(|push| push.content.digest == digest)
        };
        let after = |line: &Line| line.moment().is_some_and(|moment| moment >= at - TimeDelta::seconds(1));
        self.lines.iter().enumerate().any(|(position, line)| {
            ["HEAD", "GET"].iter().any(|method| line.is(Who::Regsweep, method, 200))
                && line.concerns(repository, digest)
                && after(line)
                && tags.iter().all(|tag| !holds(tag, position))
        })
    }

    /// Whether it was pushed again a moment after regsweep deleted it.
    pub(crate) fn was_pushed_again(&self, repository: &str, reference: &str) -> bool {
        let pushed = |line: &Line| match line.who {
            Who::Push(number) if line.method == "PUT" && line.status == 201 => {
                let own = line.reference.as_deref() == Some(reference);
                own || self.pushes.get(number).is_some_and(|push| {
                    line.reference.as_deref() == Some(&push.reference) && push.content.digest == reference
                })
            }
            _ => false,
        };
        self.deletions().filter(|one| (one.repository, one.reference) == (repository, reference)).any(|one| {
            let after = self.lines[one.position..].iter();
            after.take(600).any(|line| line.repository == repository && pushed(line))
        })
    }

    /// The requests that concern a content, for messages.
    pub(crate) fn describe(&self, repository: &str, content: &Content) -> String {
        let parts: BTreeSet<&str> = content.tree().iter().map(|part| part.digest.as_str()).collect();
        let mut text = Vec::new();
        for (position, line) in
            self.lines.iter().enumerate().filter(|(_, line)| line.repository == repository)
        {
            let of_push = |number: usize| {
                let push = self.pushes.get(number)?;
                let own = line.reference.as_deref() == Some(push.reference.as_str());
                (own && parts.contains(push.content.digest.as_str())).then_some(push.content.digest.as_str())
            };
            let reference = line.reference.as_deref().unwrap_or("the list");
            let pushed = match line.who {
                Who::Push(number) if line.method == "PUT" => of_push(number),
                _ => None,
            };
            if pushed.is_some() || (line.method == "DELETE" && parts.contains(reference)) {
                let scan = self.scan_before(repository, position).map(|scan| self.lines[scan].time.as_str());
                text.push(format!(
                    "    {position} {} {:?} {} {reference} {} {} (last scan {})",
                    line.time,
                    line.who,
                    line.method,
                    line.status,
                    pushed.unwrap_or_default(),
                    scan.unwrap_or("never")
                ));
            }
        }
        text.join("\n")
    }
}

/// Whether this answer told regsweep the manifest of a tag. 304: it has not changed.
fn answers(line: &Line, repository: &str, tag: &str) -> bool {
    line.concerns(repository, tag) && [200, 304].iter().any(|status| line.is(Who::Regsweep, "GET", *status))
}

fn is_digest(reference: &str) -> bool {
    reference.contains(':')
}
