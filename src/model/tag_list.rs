//! Tags in one line, as reasons, tables and the page show them.

use super::name::Tag;

/// Tags beyond this number are counted instead of listed.
const LISTED: usize = 4;

/// The first tags, and the number of the others.
pub fn tag_list(tags: &[Tag]) -> String {
    let listed = tags.iter().take(LISTED).map(Tag::short).collect::<Vec<_>>().join(", ");
    match tags.len() {
        0 => "untagged".to_owned(),
        total if total > LISTED => format!("{listed} and {} more", total - LISTED),
        _ => listed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        let check = |count: usize, expected: &str| {
            let tags: Vec<Tag> =
                (1..=count).map(|number| Tag::parse(&format!("v{number}")).unwrap()).collect();
            assert_eq!(tag_list(&tags), expected);
        };
        check(0, "untagged");
        check(1, "v1");
        check(4, "v1, v2, v3, v4");
        check(6, "v1, v2, v3, v4 and 2 more");
    }
}
