//! Where a registry says to go on: the `Link` header of a list, and the `Location` of an upload.

use url::Url;

/// The next page of a list that was read from `current`. `Err` says what is wrong with the header.
pub(super) fn next(current: &Url, header: &str) -> Result<Option<Url>, String> {
    let Some(target) = links(header).find(|(_, parameters)| is_next(parameters)).map(|(target, _)| target)
    else {
        return Ok(None);
    };
    onward(current, target).map(Some)
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

/// Each `<target>` of the header with the parameters behind it. A comma or semicolon inside the angle
/// brackets belongs to the target.
fn links(header: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = header;
    std::iter::from_fn(move || {
        let start = rest.find('<')? + 1;
        let end = start + rest[start..].find('>')?;
        let target = &rest[start..end];
        let parameters = &rest[end + 1..];
        let stop = parameters.find(",<").or_else(|| parameters.find(", <")).unwrap_or(parameters.len());
        rest = &parameters[stop..];
        Some((target, &parameters[..stop]))
    })
}

fn is_next(parameters: &str) -> bool {
    parameters.split(';').any(|parameter| {
        parameter.trim().split_once('=').is_some_and(|(key, value)| {
            let relations = value.trim().trim_matches('"');
            key.trim().eq_ignore_ascii_case("rel")
                && relations.split(' ').any(|relation| relation.eq_ignore_ascii_case("next"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, expected: Option<&str>) {
        let current = Url::parse("https://registry.example.com/v2/_catalog?n=2").unwrap();
        let found = next(&current, header).unwrap();
        assert_eq!(found.as_ref().map(Url::as_str), expected, "{header}");
    }

    #[test]
    fn the_next_page_may_be_relative_or_absolute() {
        let expected = Some("https://registry.example.com/v2/_catalog?last=b&n=2");
        check(r#"</v2/_catalog?last=b&n=2>; rel="next""#, expected);
        check(r#"<_catalog?last=b&n=2>; rel=next"#, expected);
        check(r#"<https://registry.example.com/v2/_catalog?last=b&n=2>; rel="next""#, expected);
        check(r#"</first>; rel="first", </v2/_catalog?last=b&n=2>; title="x"; rel="next last""#, expected);
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
        check("", None);
        check(r#"</v2/_catalog>; rel="prev""#, None);
        check("garbage", None);
        check("<unclosed; rel=next", None);
    }

    #[test]
    fn another_host_is_an_error() {
        let current = Url::parse("https://registry.example.com/v2/_catalog").unwrap();
        assert!(next(&current, r#"<https://evil.example.net/v2/_catalog>; rel="next""#).is_err());
        assert!(next(&current, r#"<//evil.example.net/v2/>; rel="next""#).is_err());
    }
}
