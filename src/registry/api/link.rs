//! The next URL in an answer: from the `Link` headers of a list, or the `Location` of an upload.
//!
//! It stays on the same host.

use url::Url;

use crate::model::sanitize;

/// Characters of an invalid header that are shown.
const MAX_SHOWN: usize = 200;

/// The next page of the list at `current`, by all `Link` headers of the answer. `Err` says what is wrong with them.
///
/// A proxy may add headers and links of its own, before or after the registry's (RFC 8288, RFC 9110 5.3). An invalid
/// link could be the one to the next page, so it is an error and never means "no next page".
pub(crate) fn next_page<'a>(
    current: &Url,
    headers: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Option<Url>, String> {
    let mut next = None;
    for header in headers {
        let text = std::str::from_utf8(header).map_err(|_| invalid(header, "it is not text"))?;
        for link in links(text).map_err(|why| invalid(header, why))? {
            if !link.is_next {
                continue;
            }
            let target = resolve_same_host(current, link.target)?;
            if next.as_ref().is_some_and(|known| *known != target) {
                return Err("the Link headers name two next pages".to_owned());
            }
            next = Some(target);
        }
    }
    Ok(next)
}

fn invalid(header: &[u8], why: &str) -> String {
    let header = sanitize(&String::from_utf8_lossy(header), MAX_SHOWN);
    format!("the Link header \"{header}\" may name the next page and is invalid: {why}")
}

/// The URL that an answer from `current` names, on the same host.
///
/// Registries send relative and absolute URLs; behind a proxy that terminates TLS, absolute ones often have the wrong
/// scheme or port. So only path and query are used, and credentials are never sent to another host. `Err` says what
/// is wrong with the URL.
pub(super) fn resolve_same_host(current: &Url, target: &str) -> Result<Url, String> {
    let target = current.join(target).map_err(|error| format!("{target:?} is not a URL: {error}"))?;
    if target.host_str() != current.host_str() {
        return Err(format!("the next URL is on another host: {:?}", target.host_str()));
    }
    let mut next = current.clone();
    next.set_path(target.path());
    next.set_query(target.query());
    Ok(next)
}

/// One link of a header.
struct Link<'a> {
    target: &'a str,
    is_next: bool,
}

/// All links of one header: `<target>; parameter; parameter=value, <target> …`. A comma or semicolon between
/// angle brackets or quotes is no separator.
fn links(header: &str) -> Result<Vec<Link<'_>>, &'static str> {
    let mut links = Vec::new();
    // The elements of a list may be empty (RFC 9110 5.6.1).
    let is_separator = |c: char| c == ',' || is_blank(c);
    let mut rest = header.trim_start_matches(is_separator);
    while !rest.is_empty() {
        let (target, after) = rest
            .strip_prefix('<')
            .ok_or("a link does not begin with \"<\"")?
            .split_once('>')
            .ok_or("a \"<\" is not closed")?;
        let (is_next, after) = parameters(after.trim_start_matches(is_blank))?;
        links.push(Link { target, is_next });
        rest = after.trim_start_matches(is_separator);
    }
    Ok(links)
}

/// Whether the parameters of a link say that it is the next page, and the text after them.
fn parameters(mut rest: &str) -> Result<(bool, &str), &'static str> {
    let mut is_next = None;
    loop {
        rest = match rest.chars().next() {
            None | Some(',') => return Ok((is_next.unwrap_or_default(), rest)),
            Some(';') => rest[1..].trim_start_matches(is_blank),
            Some(_) => return Err("there is no \";\" or \",\" where one should be"),
        };
        let end = rest.find(|c: char| is_blank(c) || "=;,".contains(c)).unwrap_or(rest.len());
        let name = &rest[..end];
        rest = rest[end..].trim_start_matches(is_blank);
        let Some(after) = rest.strip_prefix('=') else { continue };
        let (value, after) = value(after.trim_start_matches(is_blank))?;
        rest = after.trim_start_matches(is_blank);
        // A second `rel` must be ignored (RFC 8288 3.3).
        if name.eq_ignore_ascii_case("rel") && is_next.is_none() {
            is_next = Some(value.split(is_blank).any(|relation| relation.eq_ignore_ascii_case("next")));
        }
    }
}

/// The value at the start, and the text after it. Escapes are not decoded: no relation has one.
fn value(rest: &str) -> Result<(&str, &str), &'static str> {
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find(|c: char| is_blank(c) || ";,".contains(c)).unwrap_or(rest.len());
        return Ok(rest.split_at(end));
    };
    let mut escaped = false;
    let end = quoted.find(|c: char| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    let end = end.ok_or("a quote is not closed")?;
    Ok((&quoted[..end], &quoted[end + 1..]))
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(headers: &[&str]) -> Result<Option<String>, String> {
        let current = Url::parse("https://registry.example.com/v2/_catalog?n=2").unwrap();
        let next = next_page(&current, headers.iter().map(|header| header.as_bytes()))?;
        Ok(next.map(String::from))
    }

    #[track_caller]
    fn check(header: &str, expected: Option<&str>) {
        assert_eq!(find(&[header]), Ok(expected.map(str::to_owned)), "{header}");
    }

    const NEXT: &str = "https://registry.example.com/v2/_catalog?last=b&n=2";

    #[test]
    fn next_page_may_be_relative_or_absolute() {
        for header in [
            r#"</v2/_catalog?last=b&n=2>; rel="next""#,
            r#"<_catalog?last=b&n=2>; rel=next"#,
            r#"<https://registry.example.com/v2/_catalog?last=b&n=2>; rel="next""#,
        ] {
            check(header, Some(NEXT));
        }
    }

    #[test]
    fn next_page_may_be_any_link_in_any_spelling() {
        for header in [
            r#"</first>; rel="first", </v2/_catalog?last=b&n=2>; title="x"; rel="next last""#,
            r#"</x.css>;rel=preload;as=style,</v2/_catalog?last=b&n=2>;rel=next"#,
            r#"</x.css>; rel=preload; as=style ,</v2/_catalog?last=b&n=2>;rel="prev NEXT""#,
            r#"</x>; rel=preconnect; crossorigin, </v2/_catalog?last=b&n=2> ; REL = "next" ; title=x, "#,
            r#"</x>; title="a, </b>; rel=next \" </c>", </v2/_catalog?last=b&n=2>; rel=next; rel=prev"#,
            r#", ,</v2/_catalog?last=b&n=2>; rel=next, <_catalog?last=b&n=2>; rel="next";"#,
        ] {
            check(header, Some(NEXT));
        }
    }

    #[test]
    fn next_page_may_be_in_any_header() {
        let (preload, next) = (r#"</x.css>; rel=preload"#, r#"</v2/_catalog?last=b&n=2>; rel="next""#);
        for headers in [&[preload, next][..], &[next, preload], &[preload, preload, next], &["", next, next]]
        {
            assert_eq!(find(headers), Ok(Some(NEXT.to_owned())), "{headers:?}");
        }
        assert_eq!(find(&[preload, preload]), Ok(None));
        assert_eq!(find(&[]), Ok(None));
    }

    #[test]
    fn next_page_ignores_the_scheme_and_port_of_a_proxy() {
        check(
            r#"<http://registry.example.com:5000/v2/_catalog?last=a,b&n=2>; rel="next""#,
            Some("https://registry.example.com/v2/_catalog?last=a,b&n=2"),
        );
    }

    #[test]
    fn next_page_is_none_without_a_next_link() {
        for header in
            ["", r#"</v2/_catalog>; rel="prev""#, "</x>", "</x>; rel=prev; rel=next", "</x>; rel=nextdoor"]
        {
            check(header, None);
        }
    }

    #[test]
    fn next_page_is_an_error_for_an_invalid_link() {
        for header in [
            "garbage",
            "<unclosed; rel=next",
            r#"</x>; rel="next"#,
            "</x> rel=next",
            r#"</x>; rel="prev"next"#,
            "/v2/_catalog?last=b>; rel=next",
            r#"</x.css>; rel=preload, garbage"#,
            r#"</a>; rel=next, </b>; rel=next"#,
        ] {
            assert!(find(&[header]).is_err(), "{header}");
            assert!(find(&["</x.css>; rel=preload", header]).is_err(), "{header}");
        }
        let current = Url::parse("https://registry.example.com/v2/_catalog").unwrap();
        assert!(next_page(&current, [&b"</\xff>; rel=next"[..]]).is_err());
    }

    #[test]
    fn next_page_on_another_host_is_an_error() {
        assert!(find(&[r#"<https://evil.example.net/v2/_catalog>; rel="next""#]).is_err());
        assert!(find(&[r#"<//evil.example.net/v2/>; rel="next""#]).is_err());
    }
}
