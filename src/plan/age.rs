//! When each manifest was made, as far as anybody can believe it.
//!
//! It judges evidence and knows no rules.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use super::graph::Graph;
use crate::model::{Facts, Kind};

/// The first public release of Docker. Reproducible builds claim 1970, 1980 or the year 1; no image
/// is truly older than the tool that made the first one.
const FIRST_IMAGE: (i32, u32, u32) = (2013, 3, 20);

/// When each manifest was made; `None` where there is no believable evidence.
///
/// An index that does not say is as old as the youngest thing below it.
pub(super) fn created(graph: &Graph<'_>, now: DateTime<Utc>) -> Vec<Option<DateTime<Utc>>> {
    let own: Vec<Option<DateTime<Utc>>> = graph
        .nodes
        .iter()
        .map(|manifest| match &manifest.facts {
            Facts::Known { created, .. } => created.filter(|created| believable(*created, now)),
            Facts::Unknown { .. } => None,
        })
        .collect();
    let below = |node: usize| graph.family(node).filter_map(|member| own[member]).max();
    let of = |node: usize| match graph.nodes[node].kind {
        Kind::Index => own[node].or_else(|| below(node)),
        Kind::Image | Kind::Artifact => own[node],
    };
    (0..graph.nodes.len()).map(of).collect()
}

fn believable(created: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    let (year, month, day) = FIRST_IMAGE;
    let first = NaiveDate::from_ymd_opt(year, month, day).map(|date| date.and_time(NaiveTime::MIN).and_utc());
    first.is_some_and(|first| first <= created) && created <= now
}
