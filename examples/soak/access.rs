//! The registry's own access log, and what it proves about what regsweep did.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use crate::Soak;
use crate::support::image::Content;
use crate::model::Push;

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Regsweep,
    /// A push, by its number.
    Push(usize),
    Other,
}

/// One request that concerns a repository's tags or manifests, in the order in which they were answered.
#[derive(Debug, Clone)]
pub struct Line {
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
    pub fn is(&self, who: Who, method: &str, status: u16) -> bool {
        self.who == who && self.method == method && self.status == status
    }

    /// When it was logged.
    fn moment(&self) -> Option<DateTime<Utc>> {
        let time = NaiveDateTime::parse_from_str(&self.time, "%d/%b/%Y:%H:%M:%S");
        time.ok().map(|time| time.and_utc())
    }

    pub fn concerns(&self, repository: &str, reference: &str) -> bool {
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

/// The log, with what was pushed.
pub struct Access {
    pub lines: Vec<Line>,
    pub pushes: Vec<Push>,
}

/// What regsweep deleted, as the log has it.
pub struct Deletion<'a> {
    position: usize,
    pub repository: &'a str,
    /// The digest of a manifest, or a tag that went alone, where the registry can do that.
    pub reference: &'a str,
}

impl Access {
    pub fn read(soak: &Soak) -> Self {
        let lines = soak.host.access_log().lines().filter_map(Line::read).collect();
        Self { lines, pushes: soak.model.pushes() }
    }

    pub fn deletions(&self) -> impl Iterator<Item = Deletion<'_>> {
        self.lines.iter().enumerate().filter(|(_, line)| line.is(Who::Regsweep, "DELETE", 202)).filter_map(
            |(position, line)| {
                let reference = line.reference.as_deref()?;
                Some(Deletion { position, repository: &line.repository, reference })
            },
        )
    }

    pub fn deleted(&self) -> usize {
        self.deletions().count()
    }

    /// The last time that regsweep listed the tags of a repository before this.
    fn look_before(&self, repository: &str, position: usize) -> Option<usize> {
        self.lines[..position].iter().rposition(|line| {
            line.reference.is_none() && line.repository == repository && line.is(Who::Regsweep, "GET", 200)
        })
    }

    /// The first time that regsweep was told after this which manifest has a tag.
    fn answer_after(&self, repository: &str, tag: &str, position: usize) -> Option<usize> {
        let mut after = (position..).zip(&self.lines[position..]);
        after.find(|(_, line)| answers(line, repository, tag)).map(|(found, _)| found)
    }

    /// What a deletion went by: a tag that goes alone is asked for right before, for all else the tags are listed.
    fn justified(&self, deletion: &Deletion) -> Option<usize> {
        let Deletion { position, repository, reference } = *deletion;
        if is_digest(reference) {
            return self.look_before(repository, position);
        }
        self.lines[..position].iter().rposition(|line| answers(line, repository, reference))
    }

    /// From its first manifest to the success of a push.
    fn span_of(&self, push: usize) -> Option<(usize, usize)> {
        let reference = Some(self.pushes.get(push)?.reference.as_str());
        let first = self.lines.iter().position(|line| line.who == Who::Push(push))?;
        let last = self.lines.iter().rposition(|line| {
            line.is(Who::Push(push), "PUT", 201) && line.reference.as_deref() == reference
        })?;
        Some((first, last))
    }

    /// Whether something below what was pushed was deleted by regsweep, which could not know of the push
    /// when it looked for the last time: no registry can refuse a deletion for what has changed since. It
    /// is no excuse if the deletion was sent once before.
    pub fn race(&self, push: usize) -> Option<String> {
        let (begin, done) = self.span_of(push)?;
        let pushed = self.pushes.get(push)?;
        let mut family: BTreeSet<&str> =
            pushed.content.tree().iter().map(|part| part.digest.as_str()).collect();
        family.insert(&pushed.reference);
        self.deletions()
            .filter(|one| one.repository == pushed.repository && family.contains(one.reference))
            .filter(|one| one.position > begin)
            .find_map(|one| {
                let look = self.justified(&one)?;
                let again = self.lines[look..one.position].iter().any(|line| {
                    (line.who, line.method.as_str()) == (Who::Regsweep, "DELETE")
                        && line.concerns(one.repository, one.reference)
                });
                (look < done && !again).then(|| {
                    let time = |position: usize| self.lines[position].time.as_str();
                    format!("looked {}, pushed {}, deleted {}", time(look), time(done), time(one.position))
                })
            })
    }

    /// Whether one of these was deleted by regsweep in the moment after a push had begun.
    pub fn was_deleted_after(&self, push: usize, references: &[String]) -> bool {
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

    /// Whether any push of this met such a deletion.
    pub fn was_raced(&self, repository: &str, digest: &str) -> bool {
        let same = |push: &Push| push.repository == repository && push.content.digest == digest;
        let pushes = self.pushes.iter().enumerate().filter(|(_, push)| same(push));
        pushes.into_iter().any(|(number, _)| self.race(number).is_some())
    }

    /// Whether what a push brought was there already when regsweep looked before it, so that nobody who
    /// only looks can tell that there was a push.
    pub fn was_unseen(&self, push: usize) -> bool {
        let (Some((begin, _)), Some(pushed)) = (self.span_of(push), self.pushes.get(push)) else {
            return false;
        };
        let digest = &pushed.content.digest;
        let mut looks = Vec::new();
        let mut there = false;
        for line in self.lines[..begin].iter().filter(|line| line.repository == pushed.repository) {
            match (line.who, line.method.as_str(), line.reference.as_deref(), line.status) {
                (Who::Regsweep, "GET", None, 200) => looks.push(there),
                (Who::Push(number), "PUT", Some(reference), 201) if reference == pushed.reference => {
                    there = reference.starts_with("sha256:")
                        || self.pushes.get(number).is_some_and(|one| one.content.digest == *digest);
                }
                (_, "DELETE", Some(gone), 202) if gone == digest || gone == pushed.reference => there = false,
                _ => {}
            }
        }
        // Some looks come to nothing, and then the one before is what is remembered.
        looks.iter().rev().take(4).any(|there| *there)
    }

    /// Whether the tag of a push was pushed to something else, or deleted, before regsweep asked for it, so that
    /// nobody who only looks can tell that there was the push.
    pub fn moved_on(&self, push: usize) -> bool {
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

    /// Whether the registry failed in a deletion of it that regsweep sent, and may have done the half of it.
    pub fn is_half(&self, repository: &str, reference: &str) -> bool {
        self.lines
            .iter()
            .any(|line| line.is(Who::Regsweep, "DELETE", 500) && line.concerns(repository, reference))
    }

    /// Whether a manifest was found after the deletion that an entry tells of, with none of its tags. It stands then for
    /// one that was deleted and pushed again, and nobody can tell whether that is so.
    pub fn lost_its_tags(&self, repository: &str, digest: &str, tags: &[String], at: DateTime<Utc>) -> bool {
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

    /// Whether something was pushed again a moment after regsweep had deleted it.
    pub fn came_back(&self, repository: &str, reference: &str) -> bool {
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

    /// What happened to a content, for people.
    pub fn story(&self, repository: &str, content: &Content) -> String {
        let family: BTreeSet<&str> = content.tree().iter().map(|part| part.digest.as_str()).collect();
        let mut text = Vec::new();
        for (position, line) in
            self.lines.iter().enumerate().filter(|(_, line)| line.repository == repository)
        {
            let of_push = |number: usize| {
                let push = self.pushes.get(number)?;
                let own = line.reference.as_deref() == Some(push.reference.as_str());
                (own && family.contains(push.content.digest.as_str())).then_some(push.content.digest.as_str())
            };
            let reference = line.reference.as_deref().unwrap_or("the list");
            let pushed = match line.who {
                Who::Push(number) if line.method == "PUT" => of_push(number),
                _ => None,
            };
            if pushed.is_some() || (line.method == "DELETE" && family.contains(reference)) {
                let look = self.look_before(repository, position).map(|look| self.lines[look].time.as_str());
                text.push(format!(
                    "    {position} {} {:?} {} {reference} {} {} (last look {})",
                    line.time,
                    line.who,
                    line.method,
                    line.status,
                    pushed.unwrap_or_default(),
                    look.unwrap_or("never")
                ));
            }
        }
        text.join("\n")
    }
}

/// Whether regsweep was told here which manifest a tag has. 304: that it is still the same.
fn answers(line: &Line, repository: &str, tag: &str) -> bool {
    line.concerns(repository, tag) && [200, 304].iter().any(|status| line.is(Who::Regsweep, "GET", *status))
}

fn is_digest(reference: &str) -> bool {
    reference.contains(':')
}
