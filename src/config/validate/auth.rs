//! The credentials for a registry as written → validated.
//!
//! It connects to no registry, and never shows a secret.

use super::docker_config::docker_config;
use super::secrets::secret;
use crate::config::diagnostics::{Findings, Path, quoted_list};
use crate::config::env::Env;
use crate::config::schema;
use crate::config::settings::Auth;

pub(crate) fn auth(written: schema::Auth, at: &Path, env: Env<'_>, findings: &mut Findings) -> Option<Auth> {
    let keys = findings.present(
        at,
        &[
            ("basic", written.basic.is_some()),
            ("docker_config", written.docker_config.is_some()),
            ("bearer", written.bearer.is_some()),
        ],
    );
    if keys.len() > 1 {
        findings.add(at, format!("{} cannot be combined: keep one of them", quoted_list(keys)));
    } else if keys.is_empty() && !findings.is_unreadable_within(at) {
        findings.add(
            at,
            "no authentication method: write one of `basic`, `docker_config`, `bearer`, or remove `auth`",
        );
    }
    let basic = written.basic.map(|basic| self::basic(basic, &at.key("basic"), env, findings));
    let bearer =
        written.bearer.map(|token| secret(token, &at.key("bearer"), env, findings).map(Auth::Bearer));
    let file = docker_config(written.docker_config, &at.key("docker_config"), env, findings);
    basic.or(bearer).or(file.map(|file| Some(Auth::DockerConfig(file)))).flatten()
}

fn basic(written: schema::Basic, at: &Path, env: Env<'_>, findings: &mut Findings) -> Option<Auth> {
    let username = findings.required(
        written.username,
        at,
        "username",
        "write the name of a user that is allowed to delete",
    );
    let advice = "write `{ file: PATH }`, `{ env: NAME }` or `{ credential: NAME }`";
    let password = findings.required(written.password, at, "password", advice);
    let password = password.and_then(|place| secret(place, &at.key("password"), env, findings));
    let username = username.filter(|username| {
        // RFC 7617: the user name ends at the first colon.
        let valid = !username.is_empty() && !username.contains(':');
        if !valid {
            findings.add(&at.key("username"), "invalid user name: it must not be empty or contain `:`");
        }
        valid
    });
    Some(Auth::Basic { username: username?, password: password? })
}

#[cfg(test)]
mod tests {
    use crate::config::tests::check_registry as check;

    #[test]
    fn auth_has_exactly_one_method() {
        check(
            "auth: {}",
            &[
                "registries[0].auth: line 1: no authentication method: write one of `basic`, `docker_config`, `bearer`, or remove `auth`",
            ],
        );
        check(
            "auth: ",
            &["registries[0].auth: line 1: the key has no value: add a value, or remove the key"],
        );
        check(
            "auth: { bearer: { env: PASSWORD }, docker_config: /dev/null }",
            &["registries[0].auth: line 1: `docker_config`, `bearer` cannot be combined: keep one of them"],
        );
        check(
            "auth: { basic: {} }",
            &[
                "registries[0].auth.basic.username: line 1: missing: write the name of a user that is allowed to delete",
                "registries[0].auth.basic.password: line 1: missing: write `{ file: PATH }`, `{ env: NAME }` or `{ credential: NAME }`",
            ],
        );
        check(
            "auth: { basic: { username: 'a:b', password: { env: PASSWORD } } }",
            &[
                "registries[0].auth.basic.username: line 1: invalid user name: it must not be empty or contain `:`",
            ],
        );
        check(
            "auth: { docker_config: /nowhere/config.json }",
            &[
                "registries[0].auth.docker_config: line 1: cannot read `/nowhere/config.json`: No such file or directory (os error 2): create the file, or name another",
            ],
        );
        check(
            "auth: { docker_config: / }",
            &["registries[0].auth.docker_config: line 1: `/` is a directory: name a file"],
        );
        check(
            "auth: { basic: x, bearer: { env: PASSWORD } }",
            &[
                "registries[0].auth.basic: line 1: expected a mapping, found a string",
                "registries[0].auth: line 1: `basic`, `bearer` cannot be combined: keep one of them",
            ],
        );
        check(
            "auth: { basic: x }",
            &["registries[0].auth.basic: line 1: expected a mapping, found a string"],
        );
    }
}
