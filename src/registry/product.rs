//! Which product a registry is, as far as its address or its token service tells.
//!
//! It decides words, and what may be hoped for before anybody has asked. What a registry answers counts
//! for more.

use super::auth::Challenge;
use super::transport::Transport;

/// The products that differ from the others where it matters.
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
    /// By the host that the configuration names, and by the name that its token service goes by.
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

    /// Where to delete instead, on a registry that never does it by this API.
    pub(super) fn other_way(self) -> Option<&'static str> {
        match self {
            Self::DockerHub => Some(
                "Docker Hub does not delete by the registry API: delete on hub.docker.com or by Docker Hub's \
                 own API what the plan names, and set `mode: plan`",
            ),
            Self::Ghcr => Some(
                "the GitHub container registry does not delete by the registry API: delete on github.com or by \
                 GitHub's own API the package versions whose digests the plan names, and set `mode: plan`",
            ),
            Self::GitLab | Self::Harbor | Self::Other => None,
        }
    }
}

impl Transport {
    /// The product, as far as it is known by now.
    pub(super) fn product(&self) -> Product {
        let host = self.base.host_str().unwrap_or_default();
        match self.session.challenge() {
            Some(Challenge::Token { service, .. }) => Product::of(host, service.as_deref()),
            Some(Challenge::Basic) | None => Product::of(host, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_known_by_its_host_or_its_token_service() {
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
