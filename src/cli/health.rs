//! `regsweep health`: asks the service on this machine whether it is healthy, as a container's HEALTHCHECK does.
//!
//! It asks no registry and reads no state.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::Context as _;

use super::args::HealthArguments;
use super::exit::Exit;
use crate::config::Config;

/// A service that takes longer to answer is not healthy.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn health(config: &Config, arguments: &HealthArguments) -> anyhow::Result<Exit> {
    let path = if arguments.ready { "readyz" } else { "healthz" };
    let url = format!("http://{}/{path}", local_address(config.listen));
    let client = reqwest::Client::builder().timeout(HEALTH_TIMEOUT).no_proxy().build()?;
    let response = client.get(&url).send().await.with_context(|| format!("{url} does not answer"))?;
    let status = response.status();
    let text = response.text().await.with_context(|| format!("{url} does not answer"))?;
    print_line!("{}", text.trim());
    Ok(if status.is_success() { Exit::Success } else { Exit::Failed })
}

/// The loopback address of a service that listens on all addresses; otherwise its own.
fn local_address(listen: std::net::SocketAddr) -> std::net::SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    (ip, listen.port()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unspecified_addresses_become_loopback() {
        let check = |listen: &str, expected: &str| {
            assert_eq!(local_address(listen.parse().unwrap()).to_string(), expected);
        };
        check("0.0.0.0:9717", "127.0.0.1:9717");
        check("[::]:9717", "[::1]:9717");
        check("10.1.2.3:80", "10.1.2.3:80");
    }
}
