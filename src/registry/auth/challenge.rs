//! The `WWW-Authenticate` headers of a registry that refuses a request.

/// How a registry wants requests to be authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Token { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// The challenge to answer, among all that a 401 contains. A token service comes first: a registry that has one
    /// expects its tokens.
    pub(crate) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut chosen = None;
        for header in headers {
            for challenge in http_auth::parse_challenges(header).unwrap_or_default() {
                let parameter = |name: &str| {
                    let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                    found.map(|(_, value)| value.to_unescaped())
                };
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    let realm = parameter("realm")?;
                    let (service, scope) = (parameter("service"), parameter("scope"));
                    return Some(Self::Token { realm, service, scope });
                }
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    chosen = Some(Self::Basic);
                }
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[&str], expected: Option<Challenge>) {
        assert_eq!(Challenge::choose(headers.iter().copied()), expected, "{headers:?}");
    }

    #[test]
    fn choose_reads_basic_and_token_challenges() {
        check(&[r#"Basic realm="x""#], Some(Challenge::Basic));
        check(
            &[
                r#"Bearer realm="https://auth.example.com/token",service="my.svc",scope="repository:a/b:pull,push""#,
            ],
            Some(Challenge::Token {
                realm: "https://auth.example.com/token".into(),
                service: Some("my.svc".into()),
                scope: Some("repository:a/b:pull,push".into()),
            }),
        );
    }

    #[test]
    fn choose_prefers_a_token_service_to_basic() {
        let token = Some(Challenge::Token { realm: "https://a/t".into(), service: None, scope: None });
        check(&[r#"Basic realm="x""#, r#"Bearer realm="https://a/t""#], token);
    }

    #[test]
    fn choose_ignores_everything_else() {
        check(&[], None);
        check(&["", "Digest realm=\"x\"", "Bearer", "\u{7f}=,,"], None);
    }
}
