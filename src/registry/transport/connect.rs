//! HTTP clients from the configuration of a registry.
//!
//! It reads the files that the configuration names, and sends nothing.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::redirect::Policy;

use crate::config;

const USER_AGENT: &str = concat!("regsweep/", env!("CARGO_PKG_VERSION"));

/// No registry takes longer to accept a connection, however long its answers may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A pool of connections to the registry.
pub(super) fn client(registry: &config::Registry, redirects: Policy) -> anyhow::Result<reqwest::Client> {
    Ok(tls(reqwest::Client::builder(), &registry.tls)?
        .user_agent(USER_AGENT)
        .timeout(registry.timeout)
        .connect_timeout(registry.timeout.min(CONNECT_TIMEOUT))
        .pool_max_idle_per_host(registry.concurrency.get())
        .redirect(redirects)
        // The address of the previous request may contain a secret.
        .referer(false)
        .build()?)
}

fn tls(builder: reqwest::ClientBuilder, tls: &config::Tls) -> anyhow::Result<reqwest::ClientBuilder> {
    let read =
        |path: &Path| std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()));
    let mut builder = builder.tls_danger_accept_invalid_certs(tls.insecure_skip_verify);
    if let Some(path) = &tls.ca_file {
        let context = || format!("{} holds no PEM certificates", path.display());
        let authorities = reqwest::Certificate::from_pem_bundle(&read(path)?).with_context(context)?;
        anyhow::ensure!(!authorities.is_empty(), context());
        builder = builder.tls_certs_merge(authorities);
    }
    if let Some(identity) = &tls.identity {
        let mut pem = read(&identity.key_file)?;
        pem.push(b'\n');
        pem.extend(read(&identity.cert_file)?);
        let context = || format!("{} and its key are no PEM identity", identity.cert_file.display());
        builder = builder.identity(reqwest::Identity::from_pem(&pem).with_context(context)?);
    }
    Ok(builder)
}
