//! Where a registry says to go on: the `Link` headers of a list, and the `Location` of an upload.

use url::Url;

use crate::model::sanitize;

/// Of a header that is not understood, this much is shown.
const SHOWN: usize = 200;

/// The next page of a list that was read from `current`, by all the `Link` headers of the answer. `Err` says
/// what is wrong with them.
///
/// A proxy may add headers and links of its own, before or behind the registry's (RFC 8288, RFC 9110 5.3). One
/// that cannot be read could be the one that leads on, so it is an error and never "there is no next page".
pub(super) fn next<'a>(
    current: &Url,
    headers: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Option<Url>, String> {
    let mut next = None;
    for header in headers {
        let text = std::str::from_utf8(header).map_err(|_| unreadable(header, "it is no text"))?;
        for link in links(text).map_err(|why| unreadable(header, why))? {
            if !link.is_next {
                continue;
            }
            let target = onward(current, link.target)?;
            if next.as_ref().is_some_and(|known| *known != target) {
                return Err("it is said to go on at two addresses".to_owned());
            }
            next = Some(target);
        }
    }
    Ok(next)
}

fn unreadable(header: &[u8], why: &str) -> String {
    let header = sanitize(&String::from_utf8_lossy(header), SHOWN);
    format!("the Link header \"{header}\" may name the next page and cannot be read: {why}")
}

/// The address that an answer from `current` names, on the same host.
///
/// Registries send relative and absolute addresses; behind a proxy that ends TLS, absolute ones often
/// have the wrong scheme or port. So only path and query are taken, and credentials never follow a
/// header to another host. `Err` says what is wrong with the address.
pub(super) fn onward(current: &Url, target: &str) -> Result<Url, String> {
    let target = current.join(target).map_err(|error| format!("{target:?} is no address: {error}"))?;
    if target.host_str() != current.host_str() {
        return Err(format!("it is said to go on at another host: {:?}", target.host_str()));
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

/// Every link of one header: `<target>; parameter; parameter=value, <target> …`. A comma or semicolon between
/// angle brackets or quotes separates nothing.
fn links(header: &str) -> Result<Vec<Link<'_>>, &'static str> {
    let mut links = Vec::new();
    // The elements of a list may be empty (RFC 9110 5.6.1).
    let between = |c: char| c == ',' || is_blank(c);
    let mut rest = header.trim_start_matches(between);
    while !rest.is_empty() {
        let (target, behind) = rest
            .strip_prefix('<')
            .ok_or("a link does not begin with \"<\"")?
            .split_once('>')
            .ok_or("a \"<\" is not closed")?;
        let (is_next, behind) = parameters(behind.trim_start_matches(is_blank))?;
        links.push(Link { target, is_next });
        rest = behind.trim_start_matches(between);
    }
    Ok(links)
}

/// Whether the parameters of a link say that it leads to the next page, and what follows them.
fn parameters(mut rest: &str) -> Result<(bool, &str), &'static str> {
    let mut is_next = None;
    loop {
        rest = match rest.chars().next() {
            None | Some(',') => return Ok((is_next.unwrap_or_default(), rest)),
            Some(';') => rest[1..].trim_start_matches(is_blank),
            Some(_) => return Err("something else stands where \";\" or \",\" should"),
        };
        let end = rest.find(|c: char| is_blank(c) || "=;,".contains(c)).unwrap_or(rest.len());
        let name = &rest[..end];
        rest = rest[end..].trim_start_matches(is_blank);
        let Some(behind) = rest.strip_prefix('=') else { continue };
        let (value, behind) = value(behind.trim_start_matches(is_blank))?;
        rest = behind.trim_start_matches(is_blank);
        // A second `rel` must be ignored (RFC 8288 3.3).
        if name.eq_ignore_ascii_case("rel") && is_next.is_none() {
            is_next = Some(value.split(is_blank).any(|relation| relation.eq_ignore_ascii_case("next")));
        }
    }
}

/// The value at the beginning, and what follows it. Escapes stay as they are: no relation needs one.
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
        let next = next(&current, headers.iter().map(|header| header.as_bytes()))?;
        Ok(next.map(String::from))
    }

    #[track_caller]
    fn check(header: &str, expected: Option<&str>) {
        assert_eq!(find(&[header]), Ok(expected.map(str::to_owned)), "{header}");
    }

    const NEXT: &str = "https://registry.example.com/v2/_catalog?last=b&n=2";

    #[test]
    fn the_next_page_may_be_relative_or_absolute() {
        for header in [
            r#"</v2/_catalog?last=b&n=2>; rel="next""#,
            r#"<_catalog?last=b&n=2>; rel=next"#,
            r#"<https://registry.example.com/v2/_catalog?last=b&n=2>; rel="next""#,
        ] {
            check(header, Some(NEXT));
        }
    }

    #[test]
    fn it_may_be_any_of_several_links_however_they_are_written() {
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
    fn it_may_stand_in_any_of_several_headers() {
        let (preload, next) = (r#"</x.css>; rel=preload"#, r#"</v2/_catalog?last=b&n=2>; rel="next""#);
        for headers in [&[preload, next][..], &[next, preload], &[preload, preload, next], &["", next, next]]
        {
            assert_eq!(find(headers), Ok(Some(NEXT.to_owned())), "{headers:?}");
        }
        assert_eq!(find(&[preload, preload]), Ok(None));
        assert_eq!(find(&[]), Ok(None));
    }

    #[test]
    fn a_proxy_that_ends_tls_does_not_lead_astray() {
        check(
            r#"<http://registry.example.com:5000/v2/_catalog?last=a,b&n=2>; rel="next""#,
            Some("https://registry.example.com/v2/_catalog?last=a,b&n=2"),
        );
    }

    #[test]
    fn without_a_next_there_is_none() {
        for header in
            ["", r#"</v2/_catalog>; rel="prev""#, "</x>", "</x>; rel=prev; rel=next", "</x>; rel=nextdoor"]
        {
            check(header, None);
        }
    }

    #[test]
    fn what_cannot_be_read_is_never_the_end_of_the_list() {
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
        assert!(next(&current, [&b"</\xff>; rel=next"[..]]).is_err());
    }

    #[test]
    fn another_host_is_an_error() {
        assert!(find(&[r#"<https://evil.example.net/v2/_catalog>; rel="next""#]).is_err());
        assert!(find(&[r#"<//evil.example.net/v2/>; rel="next""#]).is_err());
    }
}
