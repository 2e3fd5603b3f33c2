//! TLS files of a connection as written → validated.
//!
//! It checks that the files exist, and does not read them.

use std::path::PathBuf;

use super::secrets::existing;
use crate::config::diagnostics::{Findings, Path};
use crate::config::schema;
use crate::config::settings::{ClientCertificate, Tls};

pub(crate) fn tls(written: Option<schema::Tls>, at: &Path, findings: &mut Findings) -> Tls {
    let Some(written) = written else {
        return Tls { ca_file: None, identity: None, insecure_skip_verify: false };
    };
    Tls {
        ca_file: existing(written.ca_file, &at.key("ca_file"), findings),
        identity: identity(written.cert_file, written.key_file, at, findings),
        insecure_skip_verify: written.insecure_skip_verify.unwrap_or(false),
    }
}

/// A client certificate, which needs both files.
pub(crate) fn identity(
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    at: &Path,
    findings: &mut Findings,
) -> Option<ClientCertificate> {
    let keys = findings.present(at, &[("cert_file", cert_file.is_some()), ("key_file", key_file.is_some())]);
    match keys.as_slice() {
        ["cert_file"] => findings.add(&at.key("key_file"), "missing: `cert_file` needs its private key"),
        ["key_file"] => findings.add(&at.key("cert_file"), "missing: `key_file` needs its certificate"),
        _ => {}
    }
    let cert_file = existing(cert_file, &at.key("cert_file"), findings);
    let key_file = existing(key_file, &at.key("key_file"), findings);
    cert_file.zip(key_file).map(|(cert_file, key_file)| ClientCertificate { cert_file, key_file })
}

#[cfg(test)]
mod tests {
    use crate::config::tests::check_registry as check;

    #[test]
    fn tls_files_exist_and_certificates_have_keys() {
        check("tls: {}", &[]);
        check("tls: { ca_file: /dev/null, insecure_skip_verify: true }", &[]);
        check("tls: { cert_file: /dev/null, key_file: /dev/null }", &[]);
        check(
            "tls: { cert_file: /dev/null }",
            &["registries[0].tls.key_file: line 1: missing: `cert_file` needs its private key"],
        );
        check(
            "tls: { key_file: /dev/null }",
            &["registries[0].tls.cert_file: line 1: missing: `key_file` needs its certificate"],
        );
        check(
            "tls: { ca_file: /nowhere/ca, cert_file: /nowhere/cert, key_file: /nowhere/key }",
            &[
                "registries[0].tls.ca_file: line 1: cannot read `/nowhere/ca`: No such file or directory (os error 2): create the file, or name another",
                "registries[0].tls.cert_file: line 1: cannot read `/nowhere/cert`: No such file or directory (os error 2): create the file, or name another",
                "registries[0].tls.key_file: line 1: cannot read `/nowhere/key`: No such file or directory (os error 2): create the file, or name another",
            ],
        );
        check(
            "tls: { cert_file: [], key_file: /dev/null }",
            &["registries[0].tls.cert_file: line 1: expected a string, found a list"],
        );
    }
}
