//! Suggestions for misspelt names, and lists of names for messages.
//!
//! It knows no keys: the caller passes the candidates.

/// The longest text that is compared with candidates; a longer one is no misspelt name.
const MAX_NAME_BYTES: usize = 64;

/// The candidate that was probably meant, if one is similar enough.
///
/// It must begin with the same letter: `older_than` is similar to `newer_than`, and the opposite.
pub(crate) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if written.len() > MAX_NAME_BYTES {
        return None;
    }
    let lower = written.to_lowercase();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
    let first = lower.chars().next();
    let (distance, candidate) = candidates
        .into_iter()
        .filter(|candidate| candidate.to_lowercase().chars().next() == first)
        .map(|candidate| (distance(candidate), candidate))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= (written.chars().count() + 1) / 3).then_some(candidate)
}

/// Names in backticks, separated by commas.
pub(crate) fn quoted_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_suggests_only_similar_names() {
        let check = |written: &str, expected: Option<&str>| {
            let known = ["policies", "protect", "registries", "tags", "newer_than"];
            assert_eq!(nearest(written, known), expected, "{written}");
        };
        check("polices", Some("policies"));
        check("registry", Some("registries"));
        check("tag", Some("tags"));
        check("newerThan", Some("newer_than"));
        check("newer-than", Some("newer_than"));
        check("older_than", None);
        check("retention", None);
        check("x", None);
    }
}
