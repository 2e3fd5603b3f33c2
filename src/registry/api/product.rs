//! The product that a registry is, by its address or its token service.
//!
//! It selects error texts, and what is assumed about a registry before the first answer. The answers of a registry
//! take precedence.

use super::client::Client;
use crate::registry::auth::challenge::Challenge;

/// The products that are handled differently from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Product {
    DockerHub,
    Ghcr,
    GitLab,
    Harbor,
    /// Distribution, zot, or any other.
    Other,
}

impl Product {
    /// By the host in the configuration, and by the name of the token service.
    fn of(host: &str, service: Option<&str>) -> Self {
        match (host, service.unwrap_or_default()) {
            ("docker.io" | "index.docker.io" | "registry-1.docker.io", _) | (_, "registry.docker.io") => {
                Self::DockerHub
            }
            ("ghcr.io", _) | (_, "ghcr.io") => Self::Ghcr,
            ("registry.gitlab.com", _) | (_, "container_registry") => Self::GitLab,
            (_, "harbor-registry") => Self::Harbor,
            _ => Self::Other,
        }
    }

    /// How to delete instead, on a registry that does not support it by this API.
    pub(super) fn alternative(self) -> Option<&'static str> {
        match self {
            Self::DockerHub => Some(
                "Docker Hub does not support deletion by the registry API: set `mode: plan`, and delete what the plan \
                 lists on hub.docker.com or by Docker Hub's own API",
            ),
            Self::Ghcr => Some(
                "the GitHub container registry does not support deletion by the registry API: set `mode: plan`, and delete \
                 the package versions whose digests the plan lists on github.com or by GitHub's own API",
            ),
            Self::GitLab | Self::Harbor | Self::Other => None,
        }
    }
}

impl Client {
    /// The product, as far as it is known yet.
    pub(super) fn product(&self) -> Product {
        let host = self.host();
        match self.authenticator.challenge() {
            Some(Challenge::Token { service, .. }) => Product::of(host, service.as_deref()),
            Some(Challenge::Basic) | None => Product::of(host, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_recognizes_hosts_and_token_services() {
        for (host, service, product) in [
            ("registry-1.docker.io", None, Product::DockerHub),
            ("docker.io", None, Product::DockerHub),
            ("proxy.example.com", Some("registry.docker.io"), Product::DockerHub),
            ("ghcr.io", None, Product::Ghcr),
            ("harbor.example.com", Some("harbor-registry"), Product::Harbor),
            ("registry.example.com", Some("container_registry"), Product::GitLab),
            ("registry.example.com", Some("registry.example.com"), Product::Other),
            ("docker.io.example.com", None, Product::Other),
        ] {
            assert_eq!(Product::of(host, service), product, "{host} {service:?}");
        }
    }
}
